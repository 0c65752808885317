//! What the store keeps, as its callers see it.

use protocol::id::RunId;

use crate::StoreError;
use crate::error::Fault;
use crate::sql::Row;

/// What identifies a record for ever: a restarted producer has a new incarnation and counts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Id of the producer, e.g. of a worker.
    pub producer: [u8; 16],
    /// Id of the producer's present life.
    pub incarnation: [u8; 16],
    /// Number of the record in that life.
    pub sequence: u64,
    /// Which part, when one record was split to keep messages small; else 0.
    pub part: u32,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// The plan's name.
    pub name: String,
    /// When it was accepted, Unix nanoseconds.
    pub created_unix_ns: i64,
    /// `sha256:…` of the plan as run.
    pub plan_digest: String,
    /// Where the plan's relative paths begin; empty when they were bundled.
    pub base_dir: String,
    /// How far it is.
    pub state: RunState,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Stored, not begun.
    Created,
    /// Begun, not ended: after a restart, one to resume or to close.
    Running,
    /// Over.
    Ended {
        /// As requirement R12 lists them.
        exit_code: u8,
    },
}

/// What became of a record that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was appended.
    New {
        /// Its position in the log, from 1.
        position: u64,
    },
    /// A record with this key is in the log already.
    Duplicate,
}

/// A record as it lies in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its position, from 1; positions grow in the order of appending.
    pub position: u64,
    /// Its key.
    pub key: RecordKey,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl RecordKey {
    /// Reads four columns, beginning with `first`.
    pub(crate) fn read(row: &mut Row, first: usize) -> Result<Self, Fault> {
        Ok(Self {
            producer: row.take(first)?,
            incarnation: row.take(first + 1)?,
            sequence: row.take::<i64>(first + 2)?.unsigned_abs(),
            part: row.take(first + 3)?,
        })
    }
}

/// An unsigned number as the store has it.
pub(crate) fn signed(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::TooLarge { what, value })
}
