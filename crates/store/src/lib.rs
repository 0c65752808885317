//! Durable state: runs, history, records and samples, in a SQLite file or in a PostgreSQL database.
//!
//! Every writing method returns only after the commit, so what it says is stored survives a crash of the process and of
//! the machine.
//!
//! * SQLite ([`Store::open`]): one writer thread that commits whatever has queued up in one transaction (WAL,
//!   `synchronous=FULL`), and one reader.
//! * PostgreSQL ([`Store::connect`]): a pool of connections, each write a SERIALIZABLE transaction, repeated when others
//!   were in its way or the server was away. A connection may die after its COMMIT was sent: every write is safe to
//!   repeat, takes effect once, and answers as if nothing had happened.
//!
//! Operations are written once, against `sql::Sql`. Their SQL keeps to what both databases share: `$1` parameters,
//! `BIGINT`, `TEXT`, `BYTEA`, `ON CONFLICT`. Unsigned numbers over `i64::MAX` do not exist in it and are refused.
#![forbid(unsafe_code)]

mod error;
mod history;
mod lease;
mod postgres;
mod records;
mod row;
mod runs;
mod samples;
mod schema;
mod sql;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

pub use error::{Place, StoreError};
pub use postgres::PostgresOptions;
pub use row::{Appended, RecordKey, RunRow, RunState, StoredRecord};
pub use samples::Sample;

use crate::error::Fault;
use crate::sql::Sql;

/// What can be chosen about a store in a file.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that the records of one log may take before [`StoreError::LogFull`]; each counts its payload and
    /// [`RECORD_OVERHEAD`]. Default [`MAX_LOG_BYTES`].
    pub max_log_bytes: u64,
    /// Commands that may wait for the writer before callers wait, too. Default 256.
    pub queue: usize,
}

/// What a record counts beside its payload towards [`Options::max_log_bytes`].
pub const RECORD_OVERHEAD: u64 = 128;

/// Bytes that the records of one log may take unless another limit is chosen: 256 MiB.
pub const MAX_LOG_BYTES: u64 = 256 << 20;

impl Default for Options {
    fn default() -> Self {
        Self { max_log_bytes: MAX_LOG_BYTES, queue: 256 }
    }
}

/// A store. Clones share it; it is closed when the last one is dropped or by [`Store::close`].
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
    max_log_bytes: u64,
}

#[derive(Debug)]
enum Database {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
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
    #[expect(clippy::needless_pass_by_value, reason = "options are the store's from here on")]
    pub fn open_with(path: &Path, options: Options) -> Result<Self, StoreError> {
        let sqlite = sqlite::Sqlite::open(path, options.queue)?;
        let database = Arc::new(Database::Sqlite(sqlite));
        Ok(Self { database, max_log_bytes: options.max_log_bytes })
    }

    /// Opens the store in a PostgreSQL database and makes its tables, in the first schema of the connection's search
    /// path, if they are not there. Waits for a server that is not there yet as long as the options' patience says.
    ///
    /// # Errors
    /// When the options cannot be used, the server cannot be reached or refuses, or the database holds somebody else's
    /// tables, damaged ones, or those of a newer version.
    pub async fn connect(options: PostgresOptions) -> Result<Self, StoreError> {
        let max_log_bytes = options.max_log_bytes;
        let postgres = postgres::Postgres::connect(options).await?;
        Ok(Self { database: Arc::new(Database::Postgres(postgres)), max_log_bytes })
    }

    /// Where the store is.
    #[must_use]
    pub fn place(&self) -> &Place {
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.place(),
            Database::Postgres(postgres) => postgres.place(),
        }
    }

    /// Finishes what has begun and closes the file or the connections. Other clones get [`StoreError::Closed`] from here
    /// on.
    pub async fn close(self) {
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.close().await,
            Database::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Runs `work` in a transaction; `Ok` means committed and on disk, `Err` means no trace of it is left, except when the
    /// server became unreachable. It may run several times, also after it has been committed, and must bear that.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.write_once(work, |_, later| later).await
    }

    /// As [`Store::write`], for work that answers otherwise when it finds that it is done: `combine` makes one answer of
    /// that of an attempt that may have been committed, and of that of the next one.
    ///
    /// PostgreSQL's `pg_xact_status` would not tell: after a crash the server gives the number of a transaction that it
    /// lost to another one.
    async fn write_once<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
        combine: fn(T, T) -> T,
    ) -> Result<T, StoreError> {
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.write(work).await,
            Database::Postgres(postgres) => postgres.write(work, combine).await,
        }
    }

    /// Runs a query on what is committed. It may run several times.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.read(work).await,
            Database::Postgres(postgres) => postgres.read(work).await,
        }
    }
}
