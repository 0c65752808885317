//! TLS towards targets.

use std::path::PathBuf;

use serde::Serialize;

/// TLS towards a target, by load and by probes of the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tls {
    /// PEM file with the certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with our certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Do not verify the peer. The report says so.
    pub insecure: bool,
    /// Server name to ask for instead of the URL's host.
    pub server_name: Option<String>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// The highest version that is spoken; not below `min_version`.
    pub max_version: TlsVersion,
    /// New connections resume a session where the target lets them; `false` = each handshake is a full one.
    pub resumption: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: None,
            client: None,
            insecure: false,
            server_name: None,
            min_version: TlsVersion::One2,
            max_version: TlsVersion::One3,
            resumption: true,
        }
    }
}

impl Tls {
    /// Whether this version may be spoken.
    #[must_use]
    pub fn allows(&self, version: TlsVersion) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    One2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    One3,
}

impl TlsVersion {
    /// All of them, the lowest first.
    pub const ALL: [Self; 2] = [Self::One2, Self::One3];

    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One2 => "1.2",
            Self::One3 => "1.3",
        }
    }
}
