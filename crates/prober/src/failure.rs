//! Why a probe failed.

use std::fmt;
use std::io;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host is there, but nobody listens on the port.
    Refused,
    /// No connection: the name or the host is not reached.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before the answer was whole, or what came is not HTTP.
    Broken,
    /// The answer is larger than is read.
    TooLarge,
    /// Nothing within the deadline.
    Silent,
    /// It answers, and says that it is not healthy.
    Unhealthy,
    /// It cannot be asked at all: its URL or its certificates are wrong.
    NotAsked,
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For who decides by it.
    pub kind: Kind,
    /// What was seen, for the user.
    pub seen: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, seen: impl Into<String>) -> Self {
        Self { kind, seen: seen.into() }
    }

    pub(crate) fn connecting(address: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            _ => Kind::Unreachable,
        };
        Self::new(kind, format!("cannot connect to {address}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.seen)
    }
}

impl std::error::Error for Failure {}
