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
use tokio::time::Instant;

use super::connect::chain;
use super::envelope::read_key;
use super::link::{LOOK, Link};
use super::{Nats, lock};
use crate::error::BusError;

/// Records fetched ahead and not acknowledged, together.
const AHEAD: usize = 64;
/// How long one fetch waits for records that are not there yet.
const FETCH: Duration = Duration::from_secs(2);
/// How much later than it should the server may give a lost record out again.
const LATE: Duration = Duration::from_secs(1);
/// How long to wait for a confirmation when the connection is not the one that the record came on. A server that crashed may
/// have forgotten that it gave the record out; then it confirms nothing, and gives the record out anew.
const FORGOTTEN: Duration = Duration::from_millis(500);
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
    /// After how long the server gives a record out again.
    ack_wait: Duration,
    link: Link,
}

#[derive(Debug, Default)]
struct State {
    /// Fetched, or given back, and not given out.
    ready: BTreeMap<u64, Held>,
    /// Given out and not acknowledged.
    given: BTreeMap<u64, Arrived>,
    /// Records that the server has given out and that did not arrive here.
    lost: Option<Lost>,
    /// It is not known what the server has given out: nothing is given out here, so that acknowledgements come to an end.
    recovering: bool,
    /// Acknowledgements that the server has not confirmed.
    acking: usize,
    /// Acknowledgements begun so far.
    acked: u64,
    /// The bus has ended.
    closed: bool,
}

/// What was lost on its way comes again later than what is newer, which waits for it.
#[derive(Debug)]
struct Lost {
    /// Records of positions up to this.
    last: u64,
    missing: usize,
    /// Not longer than this: another process of the same name may have them.
    until: Instant,
}

#[derive(Debug)]
struct Held {
    record: StoredRecord,
    arrived: Arrived,
}

/// What a record is acknowledged by.
#[derive(Clone, Debug)]
struct Arrived {
    message: Message,
    /// The connection that it came on.
    connects: u64,
}

impl State {
    fn len(&self) -> usize {
        self.ready.len() + self.given.len()
    }

    /// The lowest record that need not wait for a lost one.
    fn pop(&mut self) -> Option<(u64, Held)> {
        let (lowest, _) = self.ready.first_key_value()?;
        match &self.lost {
            _ if self.recovering => None,
            Some(lost) if *lowest > lost.last => None,
            _ => self.ready.pop_first(),
        }
    }
}

/// Begins to fetch.
pub(super) async fn start(nats: &Nats, log: &str, name: &str) -> Result<Arc<Consumer>, BusError> {
    let durable = nats.durable(log, name).await?;
    let consumer = Arc::new(Consumer {
        log: log.to_owned(),
        state: Mutex::default(),
        changed: Notify::new(),
        patience: nats.options.ack_timeout,
        ack_wait: nats.options.ack_wait,
        link: nats.link.clone(),
    });
    let (fetching, keeping) = (Arc::clone(&consumer), Arc::clone(&consumer));
    let end = Closing(Arc::clone(&consumer));
    nats.tasks.spawn("bus records", OnError::Log, async move {
        let _end = end;
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
    async fn fetch(&self, mut durable: PullConsumer) {
        // A former life may have left records unacknowledged.
        let mut connects = self.recover(&mut durable).await;
        loop {
            if self.link.broke(connects) {
                connects = self.recover(&mut durable).await;
            }
            let room = {
                let changed = self.changed.notified();
                let mut changed = pin!(changed);
                // Registered before the look, so that an acknowledgement in between wakes us.
                changed.as_mut().enable();
                let room = AHEAD.saturating_sub(lock(&self.state).len());
                if room < AHEAD / 4 {
                    // Bounded: the connection may break meanwhile, and what waits for missing records fills the queue.
                    let _ = tokio::time::timeout(LOOK, changed).await;
                    self.give_up_lost();
                    continue;
                }
                room
            };
            if let Err(error) = self.fetch_once(&durable, room, connects).await {
                tracing::warn!(log = self.log, error, "records cannot be fetched; trying again");
                tokio::time::sleep(RETRY).await;
                connects = self.recover(&mut durable).await;
            }
        }
    }

    /// One request for records, until it is answered or the connection breaks.
    async fn fetch_once(&self, durable: &PullConsumer, room: usize, connects: u64) -> Result<(), String> {
        let batch = durable.batch().max_messages(room).expires(FETCH).messages().await;
        let mut batch = batch.map_err(|error| chain(&error))?;
        loop {
            tokio::select! {
                message = batch.next() => match message {
                    Some(Ok(message)) => self.take(Arrived { message, connects }).await,
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Ok(()),
                },
                // The request died with the connection; the library would wait for it much longer.
                () = tokio::time::sleep(LOOK) => {
                    if self.link.broke(connects) {
                        return Ok(());
                    }
                    self.give_up_lost();
                }
            }
        }
    }

    /// Finds out what the server has given out that is not here, and waits until that comes again. Returns the number of the
    /// connection since which this holds.
    async fn recover(&self, durable: &mut PullConsumer) -> u64 {
        lock(&self.state).recovering = true;
        loop {
            let (connects, before) = (self.link.connects(), self.quiet());
            // While an acknowledgement is on its way, it is not known whether the server counts its record.
            if self.link.is_up()
                && before.is_some()
                && let Some(Ok(info)) = self.link.unbroken(durable.info()).await
                && before == self.quiet()
                && !self.link.broke(connects)
            {
                let (pending, last) = (info.num_ack_pending, info.delivered.stream_sequence);
                let missing = {
                    let mut state = lock(&self.state);
                    // A server that crashed may have forgotten that it gave these out, and does so anew.
                    state.ready.retain(|position, _| *position <= last);
                    let given = state.given.range(..=last).count();
                    let missing = pending.saturating_sub(state.ready.len() + given);
                    let until = Instant::now() + self.ack_wait + LATE;
                    state.lost = (missing > 0).then_some(Lost { last, missing, until });
                    state.recovering = false;
                    missing
                };
                self.changed.notify_waiters();
                if missing > 0 {
                    tokio::time::sleep(self.ack_wait).await;
                }
                return connects;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Acknowledgements begun so far, when all of them have come to an end.
    fn quiet(&self) -> Option<u64> {
        let state = lock(&self.state);
        (state.acking == 0).then_some(state.acked)
    }

    /// Gives out what waits for records that did not come again.
    fn give_up_lost(&self) {
        let mut state = lock(&self.state);
        if state.lost.as_ref().is_some_and(|lost| lost.until <= Instant::now()) {
            state.lost = None;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    async fn take(&self, arrived: Arrived) {
        let message = &arrived.message;
        let position = match message.info() {
            Ok(info) => info.stream_sequence,
            Err(error) => {
                tracing::error!(log = self.log, %error, "a record without a position is skipped");
                return;
            }
        };
        let key = read_key(message.headers.as_ref());
        {
            let mut state = lock(&self.state);
            // It came again: what is acknowledged is the newer delivery.
            if let Some(given) = state.given.get_mut(&position) {
                *given = arrived;
                return;
            }
            let known = state.ready.contains_key(&position);
            if let Some(lost) = state.lost.as_mut().filter(|lost| position <= lost.last && !known) {
                lost.missing = lost.missing.saturating_sub(1);
                if lost.missing == 0 {
                    state.lost = None;
                }
            }
            if let Some(key) = key {
                let record = StoredRecord { position, key, payload: message.payload.to_vec() };
                state.ready.insert(position, Held { record, arrived });
                drop(state);
                self.changed.notify_waiters();
                return;
            }
        }
        self.changed.notify_waiters();
        tracing::error!(log = self.log, position, "a record without a key is skipped: it is not ours");
        if let Err(error) = message.ack().await {
            tracing::warn!(log = self.log, position, %error, "the skipped record was not acknowledged");
        }
    }

    /// Says that what is here is being worked on.
    async fn keep(&self) {
        let here: Vec<Message> = {
            let state = lock(&self.state);
            let ready = state.ready.values().map(|held| &held.arrived);
            ready.chain(state.given.values()).map(|arrived| arrived.message.clone()).collect()
        };
        for message in here {
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                tracing::debug!(log = self.log, %error, "a record in progress may come again");
            }
        }
    }

    /// Acknowledges, and waits for the server to confirm it, so that there is room in the log afterwards. Where it does not
    /// arrive, the record comes again and has no effect then: no reason for a service to end.
    async fn confirm(&self, Arrived { message, connects }: &Arrived) {
        let until = Instant::now() + self.patience;
        loop {
            let patience = if self.link.connects() == *connects { self.patience } else { FORGOTTEN };
            let until = until.min(Instant::now() + patience);
            let confirmed = tokio::time::timeout_at(until, message.double_ack());
            match self.link.unbroken(confirmed).await {
                Some(Ok(Ok(()))) => return,
                Some(Ok(Err(error))) => {
                    tracing::warn!(log = self.log, %error, "a record may come again");
                    return;
                }
                Some(Err(_)) => {
                    tracing::warn!(
                        log = self.log,
                        "a record may come again: its acknowledgement is unanswered"
                    );
                    return;
                }
                // Again, on the next connection.
                None => {}
            }
            while !self.link.is_up() {
                if Instant::now() >= until {
                    tracing::warn!(log = self.log, "a record may come again: the server is away");
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// The next record, lowest position first; `None` when the bus has ended.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<Delivery> {
        loop {
            let changed = self.changed.notified();
            let mut changed = pin!(changed);
            changed.as_mut().enable();
            if let Some(delivery) = self.ready() {
                return Some(delivery);
            }
            if lock(&self.state).closed {
                return None;
            }
            changed.await;
        }
    }

    /// As [`Consumer::next`], if it is here already.
    pub(crate) fn ready(self: &Arc<Self>) -> Option<Delivery> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        let (position, Held { record, arrived }) = state.pop()?;
        state.given.insert(position, arrived);
        drop(state);
        Some(Delivery { consumer: Arc::clone(self), record: Some(record) })
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
        let arrived = {
            let mut state = lock(&self.consumer.state);
            let Some(arrived) = state.given.remove(&record.position) else { return };
            state.acking += 1;
            state.acked += 1;
            arrived
        };
        let _acking = Acking(&self.consumer);
        self.consumer.changed.notify_waiters();
        self.consumer.confirm(&arrived).await;
    }
}

/// An acknowledgement on its way, also when who waits for it gives up.
struct Acking<'a>(&'a Consumer);

impl Drop for Acking<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).acking -= 1;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let mut state = lock(&self.consumer.state);
        if let Some(arrived) = state.given.remove(&record.position) {
            state.ready.insert(record.position, Held { record, arrived });
        }
        drop(state);
        self.consumer.changed.notify_waiters();
    }
}
