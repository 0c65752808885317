//! What can go wrong with a store, each with its place and how to mend it.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use protocol::id::RunId;
use rusqlite::ffi;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the file system.
    #[error("store {}: the disk is full: free space there or choose another directory", .path.display())]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("store {}: cannot be written: it needs a file and a directory that this user may write", .path.display())]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
    },
    /// Another process holds the file.
    #[error("store {}: another process is using it: end that process or choose another directory", .path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is damaged or is not a store.
    #[error("store {}: not a readable store ({detail}): restore it from a backup, or move it away to begin anew", .path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a newer version.
    #[error("store {}: has schema version {found}, this program knows versions up to {supported}: use the newer program or another directory", .path.display())]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version that this program reads.
        supported: i64,
    },
    /// The file cannot be opened.
    #[error("store {}: cannot be opened ({detail}): its directory must exist and this user must have access", .path.display())]
    CannotOpen {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// There is no such run.
    #[error("there is no run {0} in this store")]
    NoSuchRun(RunId),
    /// A run with this id is stored already.
    #[error("run {0} is stored already")]
    RunExists(RunId),
    /// A history entry does not follow the last one.
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
    #[error("store {}: {detail}", .path.display())]
    Backend {
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
}

impl StoreError {
    /// Whether the cause lies in the environment (disk, rights, locks) and not in the call.
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
                | Self::Backend { .. }
        )
    }
}

/// A failure within a transaction, before it is known which file it concerns.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl Fault {
    pub(crate) fn at(self, path: &std::path::Path) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => from_sqlite(&error, path),
        }
    }
}

fn from_sqlite(error: &rusqlite::Error, path: &std::path::Path) -> StoreError {
    let path = path.to_owned();
    let detail = error.to_string();
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        return match error {
            // A row that does not have the type we wrote: somebody else's table, or damage.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => StoreError::Corrupt { path, detail },
            _ => StoreError::Backend { path, detail },
        };
    };
    match code.code {
        ffi::ErrorCode::DiskFull => StoreError::DiskFull { path },
        ffi::ErrorCode::ReadOnly | ffi::ErrorCode::PermissionDenied => StoreError::ReadOnly { path },
        ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked => StoreError::Locked { path },
        ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase => {
            StoreError::Corrupt { path, detail }
        }
        // SQLite does not say why: a full disk, too, shows as an I/O error where it extends its index of the log.
        ffi::ErrorCode::CannotOpen | ffi::ErrorCode::SystemIoFailure => match why_unwritable(&path) {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => StoreError::DiskFull { path },
            Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                StoreError::ReadOnly { path }
            }
            _ if code.code == ffi::ErrorCode::CannotOpen => StoreError::CannotOpen { path, detail },
            _ => StoreError::Backend { path, detail },
        },
        _ => StoreError::Backend { path, detail },
    }
}

/// What keeps a file from being written beside the store, if anything does: found by writing one.
fn why_unwritable(path: &std::path::Path) -> Option<ErrorKind> {
    let dir =
        path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| std::path::Path::new("."));
    // As much as SQLite wants at once: 32 KiB for the index of its log, and a page of each of its files.
    let written = tempfile::tempfile_in(dir).and_then(|mut file| file.write_all(&[1; 64 << 10]));
    written.err().map(|error| error.kind())
}
