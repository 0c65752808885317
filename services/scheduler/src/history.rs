//! The history of a run: this is its only writer. An entry is stored before it is announced.

use std::sync::Arc;

use bus::Bus;
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::v1;
use store::{RunState, Store, StoreError};
use tokio::sync::Mutex;

use crate::clock::Clock;

/// Appends to one run's history. Clones share the position.
#[derive(Clone)]
pub(crate) struct History {
    inner: Arc<Inner>,
}

struct Inner {
    run: RunId,
    store: Store,
    bus: Bus,
    clock: Clock,
    last: Mutex<u64>,
}

impl History {
    /// A history that goes on after entry `last`; 0 = a new one.
    pub(crate) fn new(run: RunId, store: Store, bus: Bus, clock: Clock, last: u64) -> Self {
        Self { inner: Arc::new(Inner { run, store, bus, clock, last: Mutex::new(last) }) }
    }

    /// Stores an event of the scheduler's own, then announces it.
    ///
    /// # Errors
    /// When it cannot be stored; then it is not announced either.
    pub(crate) async fn append(&self, event: Event) -> Result<(), StoreError> {
        self.write("scheduler", self.inner.clock.unix_ns(), event, None).await
    }

    /// Stores an event that another service saw, then announces it.
    ///
    /// # Errors
    /// As [`History::append`].
    pub(crate) async fn append_from(
        &self,
        producer: &str,
        at_unix_ns: i64,
        event: Event,
    ) -> Result<(), StoreError> {
        self.write(producer, at_unix_ns, event, None).await
    }

    /// Stores an event and the state of the run that it stands for, then announces it.
    ///
    /// # Errors
    /// As [`History::append`].
    pub(crate) async fn append_with_state(&self, event: Event, state: RunState) -> Result<(), StoreError> {
        self.write("scheduler", self.inner.clock.unix_ns(), event, Some(state)).await
    }

    async fn write(
        &self,
        producer: &str,
        at_unix_ns: i64,
        event: Event,
        state: Option<RunState>,
    ) -> Result<(), StoreError> {
        let inner = &self.inner;
        // Held over the write: the order of sequences is the order of entries in the store.
        let mut last = inner.last.lock().await;
        let entry = Entry { sequence: *last + 1, at_unix_ns, producer: producer.to_owned(), event };
        inner.store.append_history(inner.run, &entry).await?;
        *last = entry.sequence;
        if let Some(state) = state {
            inner.store.set_run_state(inner.run, state).await?;
        }
        tracing::debug!(run = %inner.run, sequence = entry.sequence, event = ?entry.event, "history");
        let event_json = match serde_json::to_string(&entry.event) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(run = %inner.run, %error, "an event cannot be written as JSON and is not announced");
                return Ok(());
            }
        };
        let announced = v1::HistoryEntry {
            run: inner.run.to_bytes(),
            sequence: entry.sequence,
            at_unix_ns,
            producer: entry.producer,
            event_json,
        };
        if let Err(error) = inner.bus.broadcast(&announced).await {
            // Whoever follows the history sees the gap and reads it from the store.
            tracing::warn!(run = %inner.run, sequence = entry.sequence, %error, "entry was not announced");
        }
        Ok(())
    }
}
