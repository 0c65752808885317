//! The tables, and the check that this program knows the version of those it finds.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use crate::StoreError;
use crate::error::Fault;

/// The version of [`TABLES`]. A change of the tables raises it, and adds the statements that take a store of the version
/// before to the new one.
const VERSION: i64 = 1;

/// `BYTEA` is PostgreSQL's name; SQLite stores the bytes as they are.
const TABLES: &str = "
CREATE TABLE schema_version (version BIGINT NOT NULL);
CREATE TABLE runs (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_unix_ns BIGINT NOT NULL,
    plan_digest TEXT NOT NULL,
    base_dir TEXT NOT NULL,
    state TEXT NOT NULL,
    exit_code BIGINT
);
CREATE TABLE history (
    run BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (run, sequence)
);
CREATE TABLE logs (
    log TEXT NOT NULL PRIMARY KEY,
    last_position BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE TABLE records (
    log TEXT NOT NULL,
    position BIGINT NOT NULL,
    producer BYTEA NOT NULL,
    incarnation BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    part BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (log, position),
    UNIQUE (log, producer, incarnation, sequence, part)
);
CREATE TABLE cursors (
    log TEXT NOT NULL,
    consumer TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (log, consumer)
);
CREATE TABLE samples (
    run BYTEA NOT NULL,
    phase BIGINT NOT NULL,
    producer BYTEA NOT NULL,
    incarnation BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    part BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (run, phase, producer, incarnation, sequence, part)
);
CREATE TABLE results (
    run BYTEA NOT NULL,
    name TEXT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (run, name)
);
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until_unix_ns BIGINT NOT NULL
);
";

/// Makes the tables in an empty file; in one that has them, checks their version.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = |error: rusqlite::Error| Fault::from(error).at(path);
    match found(connection).map_err(at)? {
        Found::Nothing => {
            connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| make(connection)).map_err(at)
        }
        Found::Version(VERSION) => Ok(()),
        Found::Version(found) if found > VERSION => {
            Err(StoreError::NewerSchema { path: path.to_owned(), found, supported: VERSION })
        }
        Found::Version(found) => Err(corrupt(path, format!("schema version {found} never existed"))),
        Found::Foreign(table) => {
            Err(corrupt(path, format!("it has a table {table:?} but no schema version")))
        }
    }
}

/// Puts an empty store at `path` if nothing is there. In place, each step of making one waits for the disk, nine flushes in
/// all; beside it, and moved there when whole, one flush does. Where this does not work, [`prepare`] does all of it.
pub(super) fn place_if_absent(path: &Path) {
    if path.exists() {
        return;
    }
    if let Err(error) = place(path) {
        tracing::debug!(path = %path.display(), %error, "the store is made in place");
    }
}

fn place(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // What SQLite itself gives a new file, before the umask; tempfile's own is for secrets.
    let permissions = Permissions::from_mode(0o644);
    let file = tempfile::Builder::new().prefix(".store-").permissions(permissions).tempfile_in(dir)?;
    let connection = Connection::open(file.path())?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    make(&connection)?;
    // Folds the write-ahead log into the file and removes it.
    connection.close().map_err(|(_, error)| error)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

enum Found {
    Nothing,
    Version(i64),
    /// Tables of somebody else, by the name of one.
    Foreign(String),
}

fn found(connection: &Connection) -> rusqlite::Result<Found> {
    let table = |condition: &str| {
        let query =
            format!("SELECT name FROM sqlite_master WHERE type = 'table' {condition} ORDER BY name LIMIT 1");
        connection.query_row(&query, [], |row| row.get::<_, String>(0)).optional()
    };
    if table("AND name = 'schema_version'")?.is_some() {
        // No row = the table of somebody else that happens to have the name.
        let version =
            connection.query_row("SELECT version FROM schema_version", [], |row| row.get(0)).optional()?;
        return Ok(Found::Version(version.unwrap_or(0)));
    }
    Ok(table("")?.map_or(Found::Nothing, Found::Foreign))
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    // Another process may have made them while we waited for the lock.
    if matches!(found(connection)?, Found::Nothing) {
        connection.execute_batch(TABLES)?;
        connection.execute("INSERT INTO schema_version (version) VALUES ($1)", [VERSION])?;
    }
    connection.execute_batch("COMMIT")
}

fn corrupt(path: &Path, detail: String) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), detail }
}
