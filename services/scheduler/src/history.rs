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
    position: Mutex<Position>,
}

struct Position {
    /// Sequence of the newest entry.
    last: u64,
    /// The run's end stands there: nothing comes after it.
    ended: bool,
}

impl History {
    /// A history that goes on after entry `last`; 0 = a new one.
    pub(crate) fn new(run: RunId, store: Store, bus: Bus, clock: Clock, last: u64) -> Self {
        let position = Mutex::new(Position { last, ended: false });
        Self { inner: Arc::new(Inner { run, store, bus, clock, position }) }
    }

    /// Stores an event of the scheduler's own, then announces it.
    ///
    /// # Errors
    /// When it cannot be stored; then it is not announced either.
    pub(crate) async fn append(&self, event: Event) -> Result<(), StoreError> {
        self.write("scheduler", self.inner.clock.unix_ns(), event, None).await.map(|_| ())
    }

    /// Stores several events of the scheduler's own, in this order and in one commit, then announces them.
    ///
    /// # Errors
    /// When they cannot be stored: then none is.
    pub(crate) async fn append_all(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let inner = &self.inner;
        let mut position = inner.position.lock().await;
        let at_unix_ns = inner.clock.unix_ns();
        let entries: Vec<Entry> = (position.last + 1..)
            .zip(events)
            .map(|(sequence, event)| Entry { sequence, at_unix_ns, producer: "scheduler".to_owned(), event })
            .collect();
        inner.store.append_histories(inner.run, &entries).await?;
        for entry in entries {
            position.last = entry.sequence;
            inner.announce(entry).await;
        }
        Ok(())
    }

    /// Stores an event that another service saw, then announces it. `false` = the run has ended, and takes nothing more.
    ///
    /// # Errors
    /// As [`History::append`].
    pub(crate) async fn append_from(
        &self,
        producer: &str,
        at_unix_ns: i64,
        event: Event,
    ) -> Result<bool, StoreError> {
        self.write(producer, at_unix_ns, event, None).await
    }

    /// Stores an event and the state of the run that it stands for, then announces it.
    ///
    /// # Errors
    /// As [`History::append`].
    pub(crate) async fn append_with_state(&self, event: Event, state: RunState) -> Result<(), StoreError> {
        self.write("scheduler", self.inner.clock.unix_ns(), event, Some(state)).await.map(|_| ())
    }

    /// Makes sure that nobody else has gone on with the run, before something is done that its new owner could not mend.
    ///
    /// # Errors
    /// [`StoreError::HistoryGap`] when somebody has.
    pub(crate) async fn fence(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let last = inner.position.lock().await.last;
        match inner.store.history(inner.run, last).await?.last() {
            None => Ok(()),
            Some(entry) => {
                Err(StoreError::HistoryGap { run: inner.run, expected: entry.sequence + 1, found: last + 1 })
            }
        }
    }

    async fn write(
        &self,
        producer: &str,
        at_unix_ns: i64,
        event: Event,
        state: Option<RunState>,
    ) -> Result<bool, StoreError> {
        let inner = &self.inner;
        // Held over the write: the order of sequences is the order of entries in the store.
        let mut position = inner.position.lock().await;
        if position.ended {
            return Ok(false);
        }
        let entry = Entry { sequence: position.last + 1, at_unix_ns, producer: producer.to_owned(), event };
        inner.store.append_history(inner.run, &entry).await?;
        position.last = entry.sequence;
        if let Some(state) = state {
            position.ended = matches!(state, RunState::Ended { .. });
            inner.store.set_run_state(inner.run, state).await?;
        }
        inner.announce(entry).await;
        Ok(true)
    }
}

/// An entry as messages carry it.
pub(crate) fn entry_message(run: RunId, entry: &Entry) -> Result<v1::HistoryEntry, serde_json::Error> {
    Ok(v1::HistoryEntry {
        run: run.to_bytes(),
        sequence: entry.sequence,
        at_unix_ns: entry.at_unix_ns,
        producer: entry.producer.clone(),
        event_json: serde_json::to_string(&entry.event)?,
    })
}

impl Inner {
    async fn announce(&self, entry: Entry) {
        let sequence = entry.sequence;
        tracing::debug!(run = %self.run, sequence, event = ?entry.event, "history");
        let announced = match entry_message(self.run, &entry) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(run = %self.run, sequence, %error, "an event cannot be written as JSON");
                return;
            }
        };
        if let Err(error) = self.bus.broadcast(&announced).await {
            // Whoever follows the history sees the gap and reads it from the store.
            tracing::warn!(run = %self.run, sequence, %error, "an entry was not announced");
        }
    }
}
