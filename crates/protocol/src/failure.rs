//! Why an operation has no answer: the classes that reports, thresholds and tests share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a failed operation. Append only: the discriminant is stored in spool files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum FailureClass {
    /// The connection was refused, unreachable or not made within the connect deadline.
    Connect = 0,
    /// The TLS handshake failed, or was not done within the connect deadline.
    Tls = 1,
    /// The peer reset or closed the connection before the answer was whole.
    Reset = 2,
    /// No whole answer within the request's deadline.
    Timeout = 3,
    /// The bytes received are not HTTP.
    Malformed = 4,
    /// Head or body larger than the limits.
    TooLarge = 5,
    /// The guest ended the operation as failed.
    Guest = 6,
    /// This host had no port, descriptor or memory left for the connection: the generator's fault, not the target's.
    Exhausted = 7,
}

impl FailureClass {
    /// All classes, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Timeout,
        Self::Malformed,
        Self::TooLarge,
        Self::Guest,
        Self::Exhausted,
    ];

    /// The name in messages, metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Guest => "guest",
            Self::Exhausted => "exhausted",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
