//! The consuming end of a log.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::future::join_all;
use protocol::message::Record;
use store::RecordKey;

use crate::BusError;
use crate::in_process::logs;
use crate::nats;

/// A consumer of either transport.
#[derive(Clone, Debug)]
pub(crate) enum Consumer {
    InProcess(Arc<logs::Consumer>),
    Nats(Arc<nats::Consumer>),
}

#[derive(Debug)]
enum RawDelivery {
    InProcess(logs::RawDelivery),
    Nats(nats::Delivery),
}

impl Consumer {
    async fn next(&self) -> Option<RawDelivery> {
        match self {
            Self::InProcess(consumer) => consumer.next().await.map(RawDelivery::InProcess),
            Self::Nats(consumer) => consumer.next().await.map(RawDelivery::Nats),
        }
    }

    fn ready(&self) -> Option<RawDelivery> {
        match self {
            Self::InProcess(consumer) => consumer.ready().map(RawDelivery::InProcess),
            Self::Nats(consumer) => consumer.ready().map(RawDelivery::Nats),
        }
    }
}

impl RawDelivery {
    fn record(&self) -> Option<&store::StoredRecord> {
        match self {
            Self::InProcess(delivery) => delivery.record(),
            Self::Nats(delivery) => delivery.record(),
        }
    }

    async fn ack(self) -> Result<(), BusError> {
        match self {
            Self::InProcess(delivery) => delivery.ack().await,
            Self::Nats(delivery) => {
                delivery.ack().await;
                Ok(())
            }
        }
    }
}

/// A stream of records.
#[derive(Debug)]
pub struct Records<R> {
    consumer: Consumer,
    malformed: u64,
    kind: PhantomData<fn() -> R>,
}

impl<R: Record> Records<R> {
    pub(crate) fn new(consumer: Consumer) -> Self {
        Self { consumer, malformed: 0, kind: PhantomData }
    }

    /// The next record, in the order of the log; `None` when the store was closed. Safe to drop and call anew, as in
    /// `select!`. Who acknowledges each record before asking for the next sees each producer's records in its order,
    /// repeats included.
    pub async fn next(&mut self) -> Option<Delivery<R>> {
        loop {
            let raw = self.consumer.next().await?;
            if let Some(delivery) = self.read(raw).await {
                return Some(delivery);
            }
        }
    }

    /// As [`Records::next`], with those after it that are here already, `most` together at most: for who can make many
    /// durable for the price of one. At least one.
    pub async fn next_batch(&mut self, most: usize) -> Option<Vec<Delivery<R>>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < most
            && let Some(raw) = self.consumer.ready()
        {
            batch.extend(self.read(raw).await);
        }
        Some(batch)
    }

    async fn read(&mut self, raw: RawDelivery) -> Option<Delivery<R>> {
        let record = raw.record()?;
        let (key, position) = (record.key, record.position);
        match R::decode(record.payload.as_slice()) {
            Ok(body) => Some(Delivery { key, body, raw }),
            Err(error) => {
                self.malformed += 1;
                tracing::error!(subject = ?R::SUBJECT, position, %error, "a record cannot be read and is skipped");
                // Else it would come back for ever and keep all later ones from being pruned.
                if let Err(error) = raw.ack().await {
                    tracing::error!(subject = ?R::SUBJECT, position, %error, "the skipped record was not acknowledged");
                }
                None
            }
        }
    }

    /// Records skipped so far because they could not be read.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// A record that was delivered. Dropped without [`Delivery::ack`], it is delivered again.
#[derive(Debug)]
pub struct Delivery<R> {
    /// What identifies it: write it with what the record brings about, in one transaction, so that a repeat has no effect.
    pub key: RecordKey,
    /// The record.
    pub body: R,
    raw: RawDelivery,
}

impl<R> Delivery<R> {
    /// Says that what the record brings about is durable.
    ///
    /// # Errors
    /// When the store cannot be written: the record may then come again after a restart.
    pub async fn ack(self) -> Result<(), BusError> {
        self.raw.ack().await
    }

    /// Says that of several.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub async fn ack_all(deliveries: Vec<Self>) -> Result<(), BusError> {
        // Confirmations of a server are waited for together, and a store notes but the lowest of what is not acknowledged:
        // the last first, it notes once.
        let acks = deliveries.into_iter().rev().map(|delivery| delivery.raw.ack());
        join_all(acks).await.into_iter().collect()
    }
}
