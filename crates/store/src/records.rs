//! Logs of records: appended once per key, read from a position, pruned when every consumer is past them.

use crate::error::Fault;
use crate::row::signed;
use crate::sql::{Row, Sql};
use crate::{Appended, RECORD_OVERHEAD, RecordKey, Store, StoreError, StoredRecord};

impl Store {
    /// Appends a record to a log unless one with its key is there; durable on return.
    ///
    /// The log knows a key for as long as it keeps the record, that is until all consumers have acknowledged it. That a
    /// record takes effect once, however late it comes again, is for the consumer's own unique key to see to
    /// ([`Store::apply_sample`]).
    ///
    /// # Errors
    /// [`StoreError::LogFull`] when the log has no room for it.
    pub async fn append_record(
        &self,
        log: &str,
        key: &RecordKey,
        payload: Vec<u8>,
    ) -> Result<Appended, StoreError> {
        let (log, key, max_bytes) = (log.to_owned(), *key, self.max_log_bytes);
        // The later attempt finds what the lost one has appended.
        let combine = |lost, later| if later == Appended::Duplicate { lost } else { later };
        self.write_once(move |sql| append(sql, &log, &key, &payload, max_bytes), combine).await
    }

    /// The records of a log after a position, in order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read_records(
        &self,
        log: &str,
        after_position: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let log = log.to_owned();
        let after = i64::try_from(after_position).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let work = move |sql: &mut dyn Sql| {
            let text = "SELECT position, producer, incarnation, sequence, part, payload FROM records \
                        WHERE log = $1 AND position > $2 ORDER BY position LIMIT $3";
            let rows = sql.query(text, &[(&log).into(), after.into(), limit.into()])?;
            let read = |mut row: Row| {
                let position = row.take::<i64>(0)?.unsigned_abs();
                Ok(StoredRecord { position, key: RecordKey::read(&mut row, 1)?, payload: row.take(5)? })
            };
            rows.into_iter().map(read).collect()
        };
        self.read(work).await
    }

    /// Acknowledges for a consumer all records of a log up to a position, and removes those that every consumer has
    /// acknowledged. Position 0 makes the consumer known: from then on records wait for it. A lower position than before
    /// changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NoSuchPosition`] when the log does not reach that far.
    pub async fn ack(&self, consumer: &str, log: &str, position: u64) -> Result<(), StoreError> {
        let (consumer, log) = (consumer.to_owned(), log.to_owned());
        self.write(move |sql| acknowledge(sql, &consumer, &log, position)).await
    }

    /// The position up to which a consumer has acknowledged a log; 0 = nothing yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn acked(&self, consumer: &str, log: &str) -> Result<u64, StoreError> {
        let (consumer, log) = (consumer.to_owned(), log.to_owned());
        let work = move |sql: &mut dyn Sql| {
            let text = "SELECT position FROM cursors WHERE log = $1 AND consumer = $2";
            let row = sql.first(text, &[(&log).into(), (&consumer).into()])?;
            let position: Option<i64> = row.map(|mut row| row.take(0)).transpose()?;
            Ok(position.unwrap_or(0).unsigned_abs())
        };
        self.read(work).await
    }
}

fn append(
    sql: &mut dyn Sql,
    log: &str,
    key: &RecordKey,
    payload: &[u8],
    max_bytes: u64,
) -> Result<Appended, Fault> {
    let sequence = signed("record sequence", key.sequence)?;
    let (producer, incarnation) = (&key.producer, &key.incarnation);
    let known = "SELECT position FROM records WHERE log = $1 AND producer = $2 AND incarnation = $3 \
                 AND sequence = $4 AND part = $5";
    let values = [log.into(), producer.into(), incarnation.into(), sequence.into(), key.part.into()];
    if sql.first(known, &values)?.is_some() {
        return Ok(Appended::Duplicate);
    }
    let (last, bytes) = extent(sql, log)?;
    let bytes = bytes.saturating_add(size(payload.len())?);
    if bytes.unsigned_abs() > max_bytes {
        return Err(StoreError::LogFull { log: log.to_owned(), max_bytes }.into());
    }
    let position = last + 1;
    let text = "INSERT INTO logs (log, last_position, bytes) VALUES ($1, $2, $3) ON CONFLICT (log) \
                DO UPDATE SET last_position = excluded.last_position, bytes = excluded.bytes";
    sql.execute(text, &[log.into(), position.into(), bytes.into()])?;
    let text = "INSERT INTO records (log, position, producer, incarnation, sequence, part, payload) \
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        log.into(),
        position.into(),
        producer.into(),
        incarnation.into(),
        sequence.into(),
        key.part.into(),
        payload.into(),
    ];
    sql.execute(text, &values)?;
    Ok(Appended::New { position: position.unsigned_abs() })
}

fn acknowledge(sql: &mut dyn Sql, consumer: &str, log: &str, position: u64) -> Result<(), Fault> {
    let (last, bytes) = extent(sql, log)?;
    let stored = signed("log position", position)?;
    if stored > last {
        let last = last.unsigned_abs();
        return Err(StoreError::NoSuchPosition { log: log.to_owned(), position, last }.into());
    }
    let text = "INSERT INTO cursors (log, consumer, position) VALUES ($1, $2, $3) ON CONFLICT (log, consumer) \
                DO UPDATE SET position = excluded.position WHERE cursors.position < excluded.position";
    if sql.execute(text, &[log.into(), consumer.into(), stored.into()])? == 0 {
        return Ok(());
    }
    let through = sql.first("SELECT MIN(position) FROM cursors WHERE log = $1", &[log.into()])?;
    let through: i64 = through.map(|mut row| row.take(0)).transpose()?.unwrap_or(0);
    let text =
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM records WHERE log = $1 AND position <= $2";
    let (count, payloads): (i64, i64) = match sql.first(text, &[log.into(), through.into()])? {
        Some(mut row) => (row.take(0)?, row.take(1)?),
        None => (0, 0),
    };
    if count > 0 {
        let text = "DELETE FROM records WHERE log = $1 AND position <= $2";
        sql.execute(text, &[log.into(), through.into()])?;
        let left = bytes - payloads - count * RECORD_OVERHEAD.cast_signed();
        sql.execute("UPDATE logs SET bytes = $1 WHERE log = $2", &[left.into(), log.into()])?;
    }
    Ok(())
}

/// Last position and bytes of a log; zeros when it has no record yet.
fn extent(sql: &mut dyn Sql, log: &str) -> Result<(i64, i64), Fault> {
    match sql.first("SELECT last_position, bytes FROM logs WHERE log = $1", &[log.into()])? {
        Some(mut row) => Ok((row.take(0)?, row.take(1)?)),
        None => Ok((0, 0)),
    }
}

fn size(payload: usize) -> Result<i64, StoreError> {
    // A usize is never wider than 64 bits on the machines that Rust runs on.
    signed("record size", (payload as u64).saturating_add(RECORD_OVERHEAD))
}
