//! How the target uses its database.

use std::path::{Path, PathBuf};

use resilience::{breaker, bulkhead};

use super::{distributed, pool, reused};

/// What takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primary {
    /// The URL of a PostgreSQL: `postgres://user:password@host:port/database`. Plain text: there is no TLS.
    Postgres(String),
    /// A file of SQLite, on a local disk; made if it is not there. It has no replicas.
    Sqlite(PathBuf),
}

/// Servers and limits. All defaults but the addresses are those of the requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What takes writes.
    pub primary: Primary,
    /// URLs of servers that follow a PostgreSQL, for reads; none = the primary serves these too.
    pub replicas: Vec<String>,
    /// Connections to each server.
    pub pool: pool::Settings,
    /// The breaker in front of each server.
    pub breaker: breaker::Settings,
    /// Calls of all servers together.
    pub bulkhead: bulkhead::Settings,
    /// What calls use again.
    pub reused: reused::Settings,
    /// Bytes in the first level of the cache; 0 = none.
    pub l1_bytes: u64,
    /// Bytes in the second level, in the memory of this process too; 0 = none.
    pub l2_bytes: u64,
    /// The third level, which several processes share; absent = none.
    pub distributed: Option<distributed::Settings>,
}

impl Settings {
    /// The defaults, with a PostgreSQL alone.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::over(Primary::Postgres(url.to_owned()))
    }

    /// The defaults, with a SQLite.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self::over(Primary::Sqlite(path.to_owned()))
    }

    fn over(primary: Primary) -> Self {
        Self {
            primary,
            replicas: Vec::new(),
            pool: pool::Settings::default(),
            breaker: breaker::Settings::default(),
            bulkhead: bulkhead::Settings::default(),
            reused: reused::Settings::default(),
            l1_bytes: 256 << 20,
            l2_bytes: 2 << 30,
            distributed: None,
        }
    }
}
