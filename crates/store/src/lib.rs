//! Durable state: runs, history, records and samples.
//!
//! [`Store`] is SQLite in a file: one writer thread that commits whatever has queued up in one transaction
//! (WAL, `synchronous=FULL`), and one reader. Every writing method returns only after the commit, so what it
//! says is stored survives a crash of the process and of the machine.
//!
//! The SQL keeps to what SQLite and PostgreSQL share, so that both run the same statements: `$1` parameters, `BIGINT`,
//! `TEXT`, `BYTEA`, `ON CONFLICT`, `RETURNING`. Unsigned numbers over `i64::MAX` do not exist in it and are refused.
#![forbid(unsafe_code)]

mod error;
mod history;
mod lease;
mod records;
mod row;
mod runs;
mod samples;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

pub use error::StoreError;
pub use row::{Appended, RecordKey, RunRow, RunState, StoredRecord};

/// What can be chosen about a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that the records of one log may take before [`StoreError::LogFull`]; each counts its payload and
    /// [`RECORD_OVERHEAD`]. Default 256 MiB.
    pub max_log_bytes: u64,
    /// Commands that may wait for the writer before callers wait, too. Default 256.
    pub queue: usize,
}

/// What a record counts beside its payload towards [`Options::max_log_bytes`].
pub const RECORD_OVERHEAD: u64 = 128;

impl Default for Options {
    fn default() -> Self {
        Self { max_log_bytes: 256 << 20, queue: 256 }
    }
}

/// A store. Clones share it; it is closed when the last one is dropped or by [`Store::close`].
#[derive(Clone, Debug)]
pub struct Store {
    sqlite: Arc<sqlite::Sqlite>,
    options: Arc<Options>,
}

impl Store {
    /// Opens the store in the file `path` and makes it if it is not there; its directory must exist.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is no store, is damaged, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default())
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: &Path, options: Options) -> Result<Self, StoreError> {
        let sqlite = sqlite::Sqlite::open(path, options.queue)?;
        Ok(Self { sqlite: Arc::new(sqlite), options: Arc::new(options) })
    }

    /// The file that the store is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.sqlite.path()
    }

    /// Finishes what is queued and closes the file. Other clones get [`StoreError::Closed`] from here on.
    pub async fn close(self) {
        self.sqlite.close().await;
    }
}
