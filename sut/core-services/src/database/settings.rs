//! How the target uses its database.

use std::time::Duration;

use resilience::{breaker, bulkhead};

use super::{distributed, pool};

/// Servers and limits. All defaults but the addresses are those of the requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// URL of the server that takes writes: `postgres://user:password@host:port/database`. Plain text: there is no TLS.
    pub primary: String,
    /// URLs of servers that follow it, for reads; none = the primary serves these too.
    pub replicas: Vec<String>,
    /// Connections to each server.
    pub pool: pool::Settings,
    /// The breaker in front of each server.
    pub breaker: breaker::Settings,
    /// Calls of all servers together.
    pub bulkhead: bulkhead::Settings,
    /// Bytes in the first level of the cache; 0 = none.
    pub l1_bytes: u64,
    /// Bytes in the second level, in the memory of this process too; 0 = none.
    pub l2_bytes: u64,
    /// The third level, which several processes share; absent = none.
    pub distributed: Option<distributed::Settings>,
}

impl Settings {
    /// The defaults, with the primary alone.
    #[must_use]
    pub fn new(primary: &str) -> Self {
        Self {
            primary: primary.to_owned(),
            replicas: Vec::new(),
            pool: pool::Settings::default(),
            breaker: breaker::Settings::default(),
            bulkhead: bulkhead::Settings::default(),
            l1_bytes: 256 << 20,
            l2_bytes: 2 << 30,
            distributed: None,
        }
    }

    /// How long a query may take, and a call wait for its turn.
    pub(super) fn patience(&self) -> Duration {
        self.pool.timeout
    }
}
