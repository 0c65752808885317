//! Records: appended to the store; each consumer's name has one place in each log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use store::{Appended, RecordKey, Store, StoreError, StoredRecord};
use tokio::sync::Notify;

use crate::error::{BusError, RecordError};

/// Records read from the store at once.
const BATCH: usize = 64;
/// Deliveries of one consumer without an acknowledgement; beyond that it gets no more.
const UNACKED: usize = 1024;
/// How long to wait after the store failed before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Logs {
    store: Store,
    changed: Mutex<HashMap<String, Arc<Notify>>>,
    consumers: Mutex<HashMap<(String, String), Arc<Consumer>>>,
}

impl Logs {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, changed: Mutex::default(), consumers: Mutex::default() }
    }

    pub(crate) async fn append(&self, log: &str, key: &RecordKey, payload: Bytes) -> Result<(), RecordError> {
        if let Appended::New { .. } = self.store.append_record(log, key, payload.into()).await? {
            self.changed(log).notify_waiters();
        }
        Ok(())
    }

    pub(crate) async fn consume(&self, log: &str, name: &str) -> Result<Arc<Consumer>, BusError> {
        // Position 0 makes the name known to the store; it changes nothing for one that is.
        self.store.ack(name, log, 0).await?;
        let acked = self.store.acked(name, log).await?;
        let changed = self.changed(log);
        let mut consumers = lock(&self.consumers);
        let consumer = consumers.entry((log.to_owned(), name.to_owned())).or_insert_with(|| {
            Arc::new(Consumer {
                store: self.store.clone(),
                log: log.to_owned(),
                name: name.to_owned(),
                changed,
                state: Mutex::new(State { fetched: acked, ..State::default() }),
            })
        });
        Ok(Arc::clone(consumer))
    }

    fn changed(&self, log: &str) -> Arc<Notify> {
        Arc::clone(lock(&self.changed).entry(log.to_owned()).or_default())
    }
}

/// One name's place in one log, shared by all streams of that name.
#[derive(Debug)]
pub(crate) struct Consumer {
    store: Store,
    log: String,
    name: String,
    changed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Up to here records were read from the store.
    fetched: u64,
    /// Read, or given back, and not delivered.
    ready: BTreeMap<u64, StoredRecord>,
    /// Delivered and not acknowledged.
    unacked: BTreeSet<u64>,
}

impl State {
    /// Up to here everything is acknowledged.
    fn floor(&self) -> u64 {
        let first = self.ready.keys().next().into_iter().chain(self.unacked.first()).min();
        first.map_or(self.fetched, |first| first - 1)
    }

    fn deliver(&mut self) -> Option<StoredRecord> {
        if self.unacked.len() >= UNACKED {
            return None;
        }
        let (position, record) = self.ready.pop_first()?;
        self.unacked.insert(position);
        Some(record)
    }
}

impl Consumer {
    /// The next record, lowest position first; `None` when the store was closed.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<RawDelivery> {
        loop {
            let changed = self.changed.notified();
            let mut changed = pin!(changed);
            // Registered before the look, so that a record appended in between wakes us.
            changed.as_mut().enable();
            if let Some(delivery) = self.ready() {
                return Some(delivery);
            }
            let (after, full) = {
                let state = lock(&self.state);
                (state.fetched, state.unacked.len() >= UNACKED)
            };
            if full {
                changed.await;
                continue;
            }
            match self.store.read_records(&self.log, after, BATCH).await {
                Ok(records) if records.is_empty() => changed.await,
                Ok(records) => self.fetched(records),
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    tracing::error!(log = self.log, consumer = self.name, %error, "records cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// As [`Consumer::next`], if it was read from the store already.
    pub(crate) fn ready(self: &Arc<Self>) -> Option<RawDelivery> {
        let record = lock(&self.state).deliver()?;
        Some(RawDelivery { consumer: Arc::clone(self), record: Some(record) })
    }

    fn fetched(&self, records: Vec<StoredRecord>) {
        let mut state = lock(&self.state);
        for record in records {
            // Another stream of this name may have read it meanwhile.
            if record.position > state.fetched {
                state.fetched = record.position;
                state.ready.insert(record.position, record);
            }
        }
    }

    fn give_back(&self, record: StoredRecord) {
        let mut state = lock(&self.state);
        state.unacked.remove(&record.position);
        state.ready.insert(record.position, record);
        drop(state);
        self.changed.notify_waiters();
    }
}

/// A record that waits for its acknowledgement; dropped without one, it is delivered again.
#[derive(Debug)]
pub(crate) struct RawDelivery {
    consumer: Arc<Consumer>,
    record: Option<StoredRecord>,
}

impl RawDelivery {
    pub(crate) fn record(&self) -> Option<&StoredRecord> {
        self.record.as_ref()
    }

    pub(crate) async fn ack(mut self) -> Result<(), BusError> {
        let Some(position) = self.record.as_ref().map(|record| record.position) else { return Ok(()) };
        let consumer = Arc::clone(&self.consumer);
        let floor = {
            let mut state = lock(&consumer.state);
            let was_full = state.unacked.len() >= UNACKED;
            state.unacked.remove(&position);
            let floor = state.floor();
            drop(state);
            if was_full {
                consumer.changed.notify_waiters();
            }
            floor
        };
        self.record = None;
        // Later records may be acknowledged before earlier ones: the store learns of them with the earlier.
        if floor >= position {
            consumer.store.ack(&consumer.name, &consumer.log, floor).await?;
        }
        Ok(())
    }
}

impl Drop for RawDelivery {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.consumer.give_back(record);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The guarded maps are whole between any two statements: a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
