//! One name's place in one log as this process has it: records are fetched ahead, given out in the order of the log, and kept from
//! coming again while they are here.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use service::OnError;
use store::StoredRecord;
use tokio::sync::Notify;

use super::connect::chain;
use super::envelope::read_key;
use super::{Nats, lock};
use crate::error::BusError;

/// Records fetched ahead and not acknowledged, together.
const AHEAD: usize = 64;
/// How long one fetch waits for records that are not there yet.
const FETCH: Duration = Duration::from_secs(2);
/// How long to wait after a fetch failed.
const RETRY: Duration = Duration::from_millis(250);

/// See the module. Shared by all streams of the name in this process.
#[derive(Debug)]
pub(crate) struct Consumer {
    log: String,
    state: Mutex<State>,
    changed: Notify,
    /// How long the server may take to confirm an acknowledgement.
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Fetched, or given back, and not given out.
    ready: BTreeMap<u64, Held>,
    /// Given out and not acknowledged.
    given: BTreeMap<u64, Message>,
    /// The bus has ended.
    closed: bool,
}

#[derive(Debug)]
struct Held {
    record: StoredRecord,
    message: Message,
}

impl State {
    fn len(&self) -> usize {
        self.ready.len() + self.given.len()
    }
}

/// Begins to fetch.
pub(super) async fn start(nats: &Nats, log: &str, name: &str) -> Result<Arc<Consumer>, BusError> {
    let mut durable = nats.durable(log, name).await?;
    let info = durable.info().await.map_err(|error| nats.lost(&format!("log {log}"), chain(&error)))?;
    // What a former life had not acknowledged comes again after this long, and has to come before what is newer.
    let wait = if info.num_ack_pending > 0 { nats.options.ack_wait } else { Duration::ZERO };
    let consumer = Arc::new(Consumer {
        log: log.to_owned(),
        state: Mutex::default(),
        changed: Notify::new(),
        patience: nats.options.ack_timeout,
    });
    let (fetching, keeping) = (Arc::clone(&consumer), Arc::clone(&consumer));
    let end = Closing(Arc::clone(&consumer));
    nats.tasks.spawn("bus records", OnError::Log, async move {
        let _end = end;
        tokio::time::sleep(wait).await;
        fetching.fetch(durable).await;
        Ok::<(), BusError>(())
    });
    let every = nats.options.ack_wait / 3;
    nats.tasks.spawn("bus records in progress", OnError::Log, async move {
        loop {
            tokio::time::sleep(every).await;
            keeping.keep().await;
        }
        #[expect(unreachable_code, reason = "it gives the task its type")]
        Ok::<(), BusError>(())
    });
    Ok(consumer)
}

/// Tells those who wait that nothing more comes, also when the task is aborted.
struct Closing(Arc<Consumer>);

impl Drop for Closing {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_waiters();
    }
}

impl Consumer {
    async fn fetch(&self, durable: PullConsumer) {
        loop {
            let room = {
                let changed = self.changed.notified();
                let mut changed = pin!(changed);
                // Registered before the look, so that an acknowledgement in between wakes us.
                changed.as_mut().enable();
                let room = AHEAD.saturating_sub(lock(&self.state).len());
                if room < AHEAD / 4 {
                    changed.await;
                    continue;
                }
                room
            };
            let mut batch = match durable.batch().max_messages(room).expires(FETCH).messages().await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(
                        log = self.log,
                        error = chain(&error),
                        "records cannot be fetched; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            while let Some(message) = batch.next().await {
                match message {
                    Ok(message) => self.take(message).await,
                    Err(error) => {
                        tracing::debug!(log = self.log, %error, "a fetch ended early");
                        tokio::time::sleep(RETRY).await;
                        break;
                    }
                }
            }
        }
    }

    async fn take(&self, message: Message) {
        let position = match message.info() {
            Ok(info) => info.stream_sequence,
            Err(error) => {
                tracing::error!(log = self.log, %error, "a record without a position is skipped");
                return;
            }
        };
        let Some(key) = read_key(message.headers.as_ref()) else {
            tracing::error!(log = self.log, position, "a record without a key is skipped: it is not ours");
            if let Err(error) = message.ack().await {
                tracing::warn!(log = self.log, position, %error, "the skipped record was not acknowledged");
            }
            return;
        };
        let mut state = lock(&self.state);
        // It came again: what is acknowledged is the newer delivery.
        if let Some(given) = state.given.get_mut(&position) {
            *given = message;
            return;
        }
        let record = StoredRecord { position, key, payload: message.payload.to_vec() };
        state.ready.insert(position, Held { record, message });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says that what is here is being worked on.
    async fn keep(&self) {
        let here: Vec<Message> = {
            let state = lock(&self.state);
            let ready = state.ready.values().map(|held| held.message.clone());
            ready.chain(state.given.values().cloned()).collect()
        };
        for message in here {
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                tracing::debug!(log = self.log, %error, "a record in progress may come again");
            }
        }
    }

    /// The next record, lowest position first; `None` when the bus has ended.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<Delivery> {
        loop {
            let changed = self.changed.notified();
            let mut changed = pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if state.closed {
                    return None;
                }
                if let Some((position, Held { record, message })) = state.ready.pop_first() {
                    state.given.insert(position, message);
                    return Some(Delivery { consumer: Arc::clone(self), record: Some(record) });
                }
            }
            changed.await;
        }
    }
}

/// A record that waits for its acknowledgement; dropped without one, it is given out again.
#[derive(Debug)]
pub(crate) struct Delivery {
    consumer: Arc<Consumer>,
    record: Option<StoredRecord>,
}

impl Delivery {
    pub(crate) fn record(&self) -> Option<&StoredRecord> {
        self.record.as_ref()
    }

    pub(crate) async fn ack(mut self) {
        let Some(record) = self.record.take() else { return };
        let message = lock(&self.consumer.state).given.remove(&record.position);
        self.consumer.changed.notify_waiters();
        let Some(message) = message else { return };
        // Confirmed by the server, so that there is room in the log afterwards. Where it does not arrive, the record comes
        // again and has no effect then: no reason for a service to end.
        match tokio::time::timeout(self.consumer.patience, message.double_ack()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(log = self.consumer.log, %error, "a record may come again"),
            Err(_) => tracing::warn!(
                log = self.consumer.log,
                "a record may come again: its acknowledgement is unanswered"
            ),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let mut state = lock(&self.consumer.state);
        if let Some(message) = state.given.remove(&record.position) {
            state.ready.insert(record.position, Held { record, message });
        }
        drop(state);
        self.consumer.changed.notify_waiters();
    }
}
