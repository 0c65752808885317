//! The history of runs: appended by one writer, without gaps.

use protocol::event::Entry;
use protocol::id::RunId;
use rusqlite::Connection;

use crate::error::Fault;
use crate::row::signed;
use crate::{Store, StoreError};

impl Store {
    /// Appends the next entry of a run's history; durable on return.
    ///
    /// # Errors
    /// [`StoreError::HistoryGap`] when its sequence does not follow the last one by exactly one.
    pub async fn append_history(&self, run: RunId, entry: &Entry) -> Result<(), StoreError> {
        let sequence = entry.sequence;
        let text = serde_json::to_string(entry).map_err(|error| StoreError::Backend {
            path: self.path().to_owned(),
            detail: format!("history entry {sequence} of run {run}: {error}"),
        })?;
        self.sqlite.write(move |connection| append(connection, run, sequence, &text)).await
    }

    /// The entries of a run after a sequence, in order; 0 = all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self, run: RunId, after_sequence: u64) -> Result<Vec<Entry>, StoreError> {
        // No entry lies beyond what can be stored, so a larger bound means the same.
        let after = i64::try_from(after_sequence).unwrap_or(i64::MAX);
        let texts: Vec<String> = self
            .sqlite
            .read(move |connection| {
                let text = "SELECT entry FROM history WHERE run = $1 AND sequence > $2 ORDER BY sequence";
                let mut statement = connection.prepare_cached(text)?;
                let rows = statement.query_map((run.to_bytes(), after), |row| row.get(0))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
                path: self.path().to_owned(),
                detail: format!("history of run {run}: {error}"),
            })
        };
        texts.into_iter().map(read).collect()
    }
}

fn append(connection: &Connection, run: RunId, sequence: u64, entry: &str) -> Result<(), Fault> {
    let stored = signed("history sequence", sequence)?;
    let last: Option<i64> = connection
        .prepare_cached("SELECT MAX(sequence) FROM history WHERE run = $1")?
        .query_row([run.to_bytes()], |row| row.get(0))?;
    let expected = last.unwrap_or(0) + 1;
    if stored != expected {
        return Err(StoreError::HistoryGap { run, expected: expected.unsigned_abs(), found: sequence }.into());
    }
    connection
        .prepare_cached("INSERT INTO history (run, sequence, entry) VALUES ($1, $2, $3)")?
        .execute((run.to_bytes(), stored, entry))?;
    Ok(())
}
