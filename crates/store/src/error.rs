//! What can go wrong with a store, each with its place and how to mend it.

use std::fmt;
use std::path::PathBuf;

use protocol::id::RunId;

use crate::{postgres, sqlite};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this SQLite file.
    File(PathBuf),
    /// In this PostgreSQL database: its URL without user and password.
    Server(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => f.write_str(url),
        }
    }
}

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the file system.
    #[error("store {place}: the disk is full: free space there or choose another place")]
    DiskFull {
        /// Where the store is.
        place: Place,
    },
    /// The file or its directory cannot be written.
    #[error("store {place}: cannot be written: it needs a file and a directory that this user may write")]
    ReadOnly {
        /// Where the store is.
        place: Place,
    },
    /// Another process holds the file, or was in the way of every attempt on the server.
    #[error("store {place}: another process is using it: end that process or choose another place")]
    Locked {
        /// Where the store is.
        place: Place,
    },
    /// The tables are damaged or are not a store's.
    #[error(
        "store {place}: not a readable store ({detail}): restore it from a backup, or move it away to begin anew"
    )]
    Corrupt {
        /// Where the store is.
        place: Place,
        /// What was found.
        detail: String,
    },
    /// The tables were made by a newer version.
    #[error(
        "store {place}: has schema version {found}, this program knows versions up to {supported}: use the newer program or another place"
    )]
    NewerSchema {
        /// Where the store is.
        place: Place,
        /// The version found.
        found: i64,
        /// The newest version that this program reads.
        supported: i64,
    },
    /// The file cannot be opened.
    #[error(
        "store {place}: cannot be opened ({detail}): its directory must exist and this user must have access"
    )]
    CannotOpen {
        /// Where the store is.
        place: Place,
        /// What the system said.
        detail: String,
    },
    /// The options that say how to reach the server cannot be used.
    #[error("store: {option} cannot be used: {detail}")]
    Options {
        /// Which option.
        option: &'static str,
        /// What was found and what was expected; without the password.
        detail: String,
    },
    /// The server answered, and refuses.
    #[error(
        "store {place}: refused ({detail}): correct user, password, database name or rights, or the certificate's authority"
    )]
    Denied {
        /// Where the store is.
        place: Place,
        /// What the server said.
        detail: String,
    },
    /// The server did not answer for as long as the store is patient. Whether a write took effect is unknown; it may be
    /// repeated.
    #[error("store {place}: not reachable ({detail}): start the server, or correct host and port")]
    Unreachable {
        /// Where the store is.
        place: Place,
        /// What was tried and for how long.
        detail: String,
    },
    /// There is no such run.
    #[error("there is no run {0} in this store")]
    NoSuchRun(RunId),
    /// Another run with this id is stored already.
    #[error("run {0} is stored already")]
    RunExists(RunId),
    /// A history entry does not follow the last one, nor is it one that is there.
    #[error("history of run {run}: entry {found} cannot follow: expected sequence {expected}")]
    HistoryGap {
        /// The run.
        run: RunId,
        /// The sequence that comes next.
        expected: u64,
        /// The sequence that was to be appended.
        found: u64,
    },
    /// The log's records have reached their limit.
    #[error("log {log}: full at {max_bytes} bytes: its consumer is behind")]
    LogFull {
        /// The log.
        log: String,
        /// Its limit.
        max_bytes: u64,
    },
    /// An acknowledgement of records that were never appended.
    #[error("log {log}: position {position} cannot be acknowledged: the last record is {last}")]
    NoSuchPosition {
        /// The log.
        log: String,
        /// The position acknowledged.
        position: u64,
        /// The last position in the log.
        last: u64,
    },
    /// A number too large for the store.
    #[error("{what} {value} is too large to be stored: at most {}", i64::MAX)]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The store was closed.
    #[error("the store was closed before the operation was done")]
    Closed,
    /// Anything else.
    #[error("store {place}: {detail}")]
    Backend {
        /// Where the store is.
        place: Place,
        /// What the database said.
        detail: String,
    },
}

impl StoreError {
    /// Whether the cause lies in the environment (disk, rights, locks, a server) and not in the call.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. }
                | Self::ReadOnly { .. }
                | Self::Locked { .. }
                | Self::Corrupt { .. }
                | Self::NewerSchema { .. }
                | Self::CannotOpen { .. }
                | Self::Options { .. }
                | Self::Denied { .. }
                | Self::Unreachable { .. }
                | Self::Backend { .. }
        )
    }
}

/// A failure within a transaction, before it is known which store it concerns.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    Postgres(tokio_postgres::Error),
    /// The server said nothing until the operation's time was over.
    Silent,
    /// What is stored is not what we write.
    Unreadable(String),
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl Fault {
    pub(crate) fn at(self, place: &Place) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Unreadable(detail) => StoreError::Corrupt { place: place.clone(), detail },
            Self::Sqlite(error) => sqlite::store_error(&error, place),
            Self::Postgres(error) => postgres::store_error(&error, place),
            Self::Silent => StoreError::Unreachable { place: place.clone(), detail: self.to_string() },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Postgres(error) => f.write_str(&postgres::describe(error)),
            Self::Silent => f.write_str("it takes connections but does not answer"),
            Self::Unreadable(detail) => f.write_str(detail),
            Self::Refused(error) => error.fmt(f),
        }
    }
}
