//! Samples of runs: each takes effect once, however often its record is delivered.

use protocol::id::RunId;

use crate::error::Fault;
use crate::row::signed;
use crate::sql::Sql;
use crate::{RecordKey, Store, StoreError};

/// A sample to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whose it is.
    pub run: RunId,
    /// Index of its phase.
    pub phase: u32,
    /// What identifies it within the phase.
    pub key: RecordKey,
    /// The sample.
    pub blob: Vec<u8>,
}

fn insert(sql: &mut dyn Sql, Sample { run, phase, key, blob }: &Sample) -> Result<bool, Fault> {
    let text = "INSERT INTO samples (run, phase, producer, incarnation, sequence, part, payload) \
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let run = run.to_bytes();
    let values = [
        (&run).into(),
        (*phase).into(),
        (&key.producer).into(),
        (&key.incarnation).into(),
        key.sequence.cast_signed().into(),
        key.part.into(),
        blob.into(),
    ];
    Ok(sql.execute(text, &values)? == 1)
}

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
        let applied = self.apply_samples(vec![Sample { run, phase, key: *key, blob }]).await?;
        Ok(applied == [true])
    }

    /// Keeps samples, in one transaction: all are durable on return, or none is kept. For each, in their order: `false` = it
    /// was there already, from before or from earlier in the list.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn apply_samples(&self, samples: Vec<Sample>) -> Result<Vec<bool>, StoreError> {
        for sample in &samples {
            signed("record sequence", sample.key.sequence)?;
        }
        let work = move |sql: &mut dyn Sql| samples.iter().map(|sample| insert(sql, sample)).collect();
        // Kept by either attempt, it is this call that kept it.
        let either =
            |lost: Vec<bool>, later: Vec<bool>| lost.iter().zip(later).map(|(a, b)| *a || b).collect();
        self.write_once(work, either).await
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
        let work = move |sql: &mut dyn Sql| {
            let text = "SELECT producer, incarnation, sequence, part, payload FROM samples \
                        WHERE run = $1 AND phase >= $2 AND phase <= $3 \
                        ORDER BY phase, producer, incarnation, sequence, part";
            let rows = sql.query(text, &[(&run.to_bytes()).into(), first.into(), last.into()])?;
            rows.into_iter().map(|mut row| Ok((RecordKey::read(&mut row, 0)?, row.take(4)?))).collect()
        };
        self.read(work).await
    }
}
