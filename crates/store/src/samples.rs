//! Samples of runs: each takes effect once, however often its record is delivered.

use protocol::id::RunId;
use rusqlite::Connection;

use crate::row::signed;
use crate::{RecordKey, Store, StoreError};

impl Store {
    /// Keeps a sample unless it was kept before; durable on return. `false` = it was there already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn apply_sample(
        &self,
        run: RunId,
        phase: u32,
        key: &RecordKey,
        blob: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let key = *key;
        let sequence = signed("record sequence", key.sequence)?;
        let work = move |connection: &Connection| {
            let text = "INSERT INTO samples (run, phase, producer, incarnation, sequence, part, payload) \
                        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
            let values = (run.to_bytes(), phase, key.producer, key.incarnation, sequence, key.part, blob);
            Ok(connection.prepare_cached(text)?.execute(values)? == 1)
        };
        self.sqlite.write(work).await
    }

    /// The samples of a run, of one phase or of all, in the order of phase and key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn samples(
        &self,
        run: RunId,
        phase: Option<u32>,
    ) -> Result<Vec<(RecordKey, Vec<u8>)>, StoreError> {
        let (first, last) = phase.map_or((0, u32::MAX), |phase| (phase, phase));
        let work = move |connection: &Connection| {
            let text = "SELECT producer, incarnation, sequence, part, payload FROM samples \
                        WHERE run = $1 AND phase >= $2 AND phase <= $3 \
                        ORDER BY phase, producer, incarnation, sequence, part";
            let mut statement = connection.prepare_cached(text)?;
            let rows = statement.query_map((run.to_bytes(), first, last), |row| {
                Ok((RecordKey::read(row, 0)?, row.get(4)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        self.sqlite.read(work).await
    }
}
