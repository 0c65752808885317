//! The history of runs: appended by one writer, without gaps.

use protocol::event::Entry;
use protocol::id::RunId;

use crate::error::Fault;
use crate::row::signed;
use crate::sql::Sql;
use crate::{Store, StoreError};

impl Store {
    /// Appends the next entry of a run's history; durable on return. Does nothing when this very entry is there, so that it
    /// may be repeated when its outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError::HistoryGap`] when its sequence does not follow the last one by exactly one.
    pub async fn append_history(&self, run: RunId, entry: &Entry) -> Result<(), StoreError> {
        self.append_histories(run, std::slice::from_ref(entry)).await
    }

    /// Appends several entries in their order: all of them, or none.
    ///
    /// # Errors
    /// As [`Store::append_history`].
    pub async fn append_histories(&self, run: RunId, entries: &[Entry]) -> Result<(), StoreError> {
        let write = |entry: &Entry| {
            let text = serde_json::to_string(entry).map_err(|error| StoreError::Backend {
                place: self.place().clone(),
                detail: format!("history entry {} of run {run}: {error}", entry.sequence),
            });
            Ok((entry.sequence, text?))
        };
        let texts = entries.iter().map(write).collect::<Result<Vec<_>, StoreError>>()?;
        let work = move |sql: &mut dyn Sql| {
            texts.iter().try_for_each(|(sequence, text)| append(sql, run, *sequence, text))
        };
        self.write(work).await
    }

    /// The entries of a run after a sequence, in order; 0 = all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self, run: RunId, after_sequence: u64) -> Result<Vec<Entry>, StoreError> {
        // No entry lies beyond what can be stored, so a larger bound means the same.
        let after = i64::try_from(after_sequence).unwrap_or(i64::MAX);
        let texts: Vec<String> = self
            .read(move |sql| {
                let text = "SELECT entry FROM history WHERE run = $1 AND sequence > $2 ORDER BY sequence";
                let rows = sql.query(text, &[(&run.to_bytes()).into(), after.into()])?;
                rows.into_iter().map(|mut row| row.take(0)).collect()
            })
            .await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
                place: self.place().clone(),
                detail: format!("history of run {run}: {error}"),
            })
        };
        texts.into_iter().map(read).collect()
    }
}

fn append(sql: &mut dyn Sql, run: RunId, sequence: u64, entry: &str) -> Result<(), Fault> {
    let stored = signed("history sequence", sequence)?;
    let id = run.to_bytes();
    let last = sql.first("SELECT MAX(sequence) FROM history WHERE run = $1", &[(&id).into()])?;
    let last: Option<i64> = last.map(|mut row| row.take(0)).transpose()?.flatten();
    let expected = last.unwrap_or(0) + 1;
    if stored == expected {
        let text = "INSERT INTO history (run, sequence, entry) VALUES ($1, $2, $3)";
        sql.execute(text, &[(&id).into(), stored.into(), entry.into()])?;
        return Ok(());
    }
    let text = "SELECT entry FROM history WHERE run = $1 AND sequence = $2";
    let there = sql.first(text, &[(&id).into(), stored.into()])?;
    if there.map(|mut row| row.take::<String>(0)).transpose()?.is_some_and(|there| there == entry) {
        return Ok(());
    }
    Err(StoreError::HistoryGap { run, expected: expected.unsigned_abs(), found: sequence }.into())
}
