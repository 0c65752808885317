//! The tables, step by step from version to version, and the check that this program knows those it finds.

use crate::error::Fault;
use crate::sql::Sql;
use crate::{Place, StoreError};

/// Step n takes a store from version n - 1 to version n; the first makes one. A change of the tables is a new step, in the
/// SQL that SQLite and PostgreSQL share. `BYTEA` is PostgreSQL's name; SQLite stores the bytes as they are.
pub(crate) const STEPS: &[&str] = &["
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
"];

/// The tables of a store, of some version.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'a> {
    /// [`STEPS`].
    pub(crate) steps: &'a [&'a str],
    /// The query for the names of all tables.
    pub(crate) tables: &'a str,
}

impl Schema<'_> {
    /// How many steps what is there has behind it: 0 = there is nothing.
    ///
    /// # Errors
    /// When a newer program made it, or it is somebody else's.
    pub(crate) fn found(self, sql: &mut dyn Sql, place: &Place) -> Result<usize, Fault> {
        let mut tables = Vec::new();
        for mut row in sql.query(self.tables, &[])? {
            tables.push(row.take::<String>(0)?);
        }
        if !tables.iter().any(|table| table == "schema_version") {
            return match tables.first() {
                None => Ok(0),
                Some(table) => {
                    Err(Fault::Unreadable(format!("it has a table {table:?} but no schema version")))
                }
            };
        }
        // No row = the table of somebody else that happens to have the name.
        let row = sql.first("SELECT version FROM schema_version", &[])?;
        let found: i64 = row.map(|mut row| row.take(0)).transpose()?.unwrap_or(0);
        match usize::try_from(found) {
            Err(_) | Ok(0) => Err(Fault::Unreadable(format!("schema version {found} never existed"))),
            Ok(version) if version > self.steps.len() => {
                Err(StoreError::NewerSchema { place: place.clone(), found, supported: self.newest() }.into())
            }
            Ok(version) => Ok(version),
        }
    }

    /// Whether a store with so many steps behind it is of this program's version.
    pub(crate) fn is_newest(self, behind: usize) -> bool {
        behind == self.steps.len()
    }

    /// Takes a store that has `behind` steps behind it to the newest version. For a transaction that nobody else is in at
    /// the same time.
    pub(crate) fn advance(self, sql: &mut dyn Sql, behind: usize) -> Result<(), Fault> {
        if self.is_newest(behind) {
            return Ok(());
        }
        for step in self.steps.iter().skip(behind) {
            sql.batch(step)?;
        }
        let text = match behind {
            0 => "INSERT INTO schema_version (version) VALUES ($1)",
            _ => "UPDATE schema_version SET version = $1",
        };
        sql.execute(text, &[self.newest().into()])?;
        Ok(())
    }

    fn newest(self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }
}
