//! What is measured: which clients, how many connections, for how long.

use super::clients::Client;

/// A situation in which clients are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// As fast as they can, over few connections.
    Closed,
    /// As fast as they can, over ten thousand.
    Connections,
    /// 1 KB of JSON, which k6 and Gauntlet parse and look into.
    Json,
    /// HTTPS.
    Tls,
    /// HTTP/2 over TLS, 32 requests at once on each connection.
    Http2,
    /// 5 000 requests a second on a schedule.
    Paced,
    /// As many as a generator may be expected to hold, on a schedule over ten thousand connections.
    PacedHard,
    /// Ten and twenty thousand users who keep something.
    Memory,
}

/// Requests at once on a connection of HTTP/2.
pub(super) const STREAMS: u32 = 32;

/// Requests a second in [`Case::Paced`].
pub(super) const PACED_RATE: f64 = 5_000.0;

/// Requests a second in [`Case::PacedHard`] at most …
pub(super) const HARD_RATE: f64 = 50_000.0;
/// … and this share of what wrk reaches.
pub(super) const HARD_SHARE: f64 = 0.8;

impl Case {
    const ALL: [Self; 8] = [
        Self::Closed,
        Self::Connections,
        Self::Json,
        Self::Tls,
        Self::Http2,
        Self::Paced,
        Self::PacedHard,
        Self::Memory,
    ];

    /// As the command line has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Connections => "connections",
            Self::Json => "json",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Paced => "paced",
            Self::PacedHard => "paced-hard",
            Self::Memory => "memory",
        }
    }

    pub(super) fn named(name: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name).ok_or_else(|| {
            anyhow::anyhow!("--case {name}: there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }

    pub(super) const fn connections(self) -> u32 {
        match self {
            Self::Closed | Self::Json | Self::Tls => 64,
            Self::Http2 => 8,
            Self::Paced => 2_500,
            Self::Connections | Self::PacedHard | Self::Memory => 10_000,
        }
    }

    pub(super) const fn seconds(self) -> u32 {
        match self {
            Self::Paced | Self::PacedHard => 60,
            // Making so many connections is a part of what a process costs: a small one.
            Self::Connections | Self::Memory => 10,
            Self::Closed | Self::Json | Self::Tls | Self::Http2 => 5,
        }
    }

    pub(super) const fn wants_nginx(self) -> bool {
        matches!(self, Self::Tls | Self::Http2)
    }

    pub(super) const fn is_paced(self) -> bool {
        matches!(self, Self::Paced | Self::PacedHard)
    }

    /// Who takes part, in the order of each round.
    pub(super) fn clients(self, nginx: bool) -> Vec<Client> {
        use Client::{
            GauntletBody, GauntletNone, GauntletStatus, GauntletUsers, H2load, Hey, K6, Oha, Raw, Wrk,
        };
        match self {
            Self::Closed if nginx => vec![Raw, Wrk, Oha, Hey, K6, GauntletNone, GauntletStatus],
            Self::Closed => vec![Raw, Wrk, Oha, Hey, K6, GauntletNone, GauntletStatus, GauntletBody],
            Self::Connections => vec![Raw, Wrk, Oha, GauntletStatus],
            Self::Json => vec![Raw, Wrk, Oha, K6, GauntletBody],
            Self::Tls => vec![Wrk, Oha, GauntletStatus],
            Self::Http2 => vec![H2load, Oha, GauntletStatus],
            Self::Paced | Self::PacedHard => vec![Raw, GauntletStatus],
            Self::Memory => vec![GauntletUsers],
        }
    }

    /// Whom the others are compared with.
    pub(super) const fn reference(self) -> Client {
        match self {
            Self::Http2 => Client::H2load,
            Self::Paced | Self::PacedHard => Client::Raw,
            Self::Memory => Client::GauntletUsers,
            Self::Closed | Self::Connections | Self::Json | Self::Tls => Client::Wrk,
        }
    }
}
