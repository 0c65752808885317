//! What is wrong with a request, in Toxiproxy's words and statuses; where it has none, in ours.

use std::io;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON, or not of the right shape.
    #[error("bad request body: {0}")]
    Body(String),
    /// A field without which there is nothing to do.
    #[error("missing required field: {0}")]
    Missing(String),
    /// There is no such stream.
    #[error("stream was invalid, can be either upstream or downstream")]
    Stream,
    /// There is no such type of toxic.
    #[error("invalid toxic type")]
    Type,
    /// There is no such proxy.
    #[error("proxy not found")]
    NoProxy,
    /// The proxy has no such toxic.
    #[error("toxic not found")]
    NoToxic,
    /// There is a proxy of that name.
    #[error("proxy already exists")]
    ProxyExists,
    /// The proxy has a toxic of that name.
    #[error("toxic already exists")]
    ToxicExists,
    /// The address is open to others, and the API has no token.
    #[error("listen: found {0}, expected a loopback address: start with --token-file to allow others")]
    NotLoopback(String),
    /// The address cannot be listened on.
    #[error("listen {address}: {source}: expected a free address of this machine, such as 127.0.0.1:0")]
    Listen {
        /// As given.
        address: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Body(_) | Self::Missing(_) | Self::Stream | Self::Type => 400,
            Self::NotLoopback(_) => 403,
            Self::NoProxy | Self::NoToxic => 404,
            Self::ProxyExists | Self::ToxicExists => 409,
            Self::Listen { .. } => 500,
        }
    }
}
