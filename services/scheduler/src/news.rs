//! What chaos and recovery tell of a run as records: each becomes an entry of its history, once and with its own stamp.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{BusError, Delivery};
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::message::Tells;
use protocol::v1;
use service::{OnError, Shutdown};
use store::{RecordKey, RunState, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::history::History;
use crate::service_loop::{Service, next_until};

/// How long a record waits for its run to be taken up when another scheduler had it: a lease, and a look for orphans.
const ADOPTION: Duration = Duration::from_secs(25);
/// How often it is looked whether it was.
const LOOK: Duration = Duration::from_millis(250);

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Teller {
    Chaos,
    Recovery,
}

impl Teller {
    /// As the history names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chaos => "chaos",
            Self::Recovery => "recovery",
        }
    }
}

/// What recovery says of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) incident: String,
    pub(crate) target: String,
    /// When it was detected, Unix nanoseconds.
    pub(crate) opened_unix_ns: i64,
    /// From its fault to that, milliseconds; absent where no fault explains it.
    pub(crate) detected_after_ms: Option<u64>,
    pub(crate) closed: Option<Closed>,
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Unix nanoseconds.
    pub(crate) unix_ns: i64,
    /// From its detection to health, milliseconds.
    pub(crate) recovered_after_ms: u64,
}

/// What was told of one run, as far as its history has it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct News {
    told: Arc<Mutex<Told>>,
    /// Counts what was taken in.
    taken: watch::Sender<u64>,
}

#[derive(Default)]
struct Told {
    by: BTreeMap<Teller, Lives>,
    /// Faults that could not be undone, each with what is left to do.
    unrecovered: Vec<(String, String)>,
    incidents: Vec<Opened>,
}

/// What one service has told in each of its lives; each counts its news from 1, without gaps.
#[derive(Default)]
struct Lives {
    /// By incarnation: the latest number.
    known: BTreeMap<[u8; 16], u64>,
    /// The latest life; none = it has not told anything yet.
    current: Option<[u8; 16]>,
    /// What an earlier scheduler wrote, and may not have acknowledged.
    earlier: Vec<(i64, Event)>,
}

impl News {
    /// What an earlier scheduler has taken in.
    pub(crate) fn recall(entries: &[Entry]) -> Self {
        let news = Self::default();
        for entry in entries {
            let tellers = [Teller::Chaos, Teller::Recovery];
            let Some(teller) = tellers.into_iter().find(|teller| teller.name() == entry.producer) else {
                continue;
            };
            let mut told = news.lock();
            told.note(entry.at_unix_ns, &entry.event);
            let lives = told.by.entry(teller).or_default();
            lives.earlier.push((entry.at_unix_ns, entry.event.clone()));
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the history has not got it yet.
    fn is_new(&self, teller: Teller, key: &RecordKey, at_unix_ns: i64, event: &Event) -> bool {
        let mut told = self.lock();
        let lives = told.by.entry(teller).or_default();
        if lives.known.get(&key.incarnation).is_some_and(|last| key.sequence <= *last) {
            return false;
        }
        let earlier = lives.earlier.iter().any(|(at, earlier)| *at == at_unix_ns && earlier == event);
        if earlier {
            lives.advance(key);
        }
        !earlier
    }

    /// Notes that the history has it.
    fn take(&self, teller: Teller, key: &RecordKey, at_unix_ns: i64, event: &Event) {
        let mut told = self.lock();
        told.note(at_unix_ns, event);
        told.by.entry(teller).or_default().advance(key);
        drop(told);
        self.taken.send_modify(|taken| *taken += 1);
    }

    /// The service has begun a new life: what it tells is numbered from 1 again.
    pub(crate) fn started_anew(&self, teller: Teller) {
        let mut told = self.lock();
        let lives = told.by.entry(teller).or_default();
        lives.current = None;
        lives.earlier.clear();
    }

    /// Waits until everything is in the history up to a number that the service gave, at most so long. `false` = it is not.
    pub(crate) async fn complete(&self, teller: Teller, last: u64, within: Duration) -> bool {
        let mut taken = self.taken.subscribe();
        let arrived = async {
            while self.lock().by.get(&teller).map_or(0, Lives::last) < last {
                if taken.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(within, arrived).await.is_ok()
    }

    /// Faults that could not be undone: id, and what was seen.
    pub(crate) fn unrecovered(&self) -> Vec<(String, String)> {
        self.lock().unrecovered.clone()
    }

    /// Incidents of recovery, in the order in which they were detected.
    pub(crate) fn incidents(&self) -> Vec<Opened> {
        self.lock().incidents.clone()
    }
}

impl Told {
    fn note(&mut self, at_unix_ns: i64, event: &Event) {
        match event {
            Event::FaultUnrecovered { fault, detail, .. } => {
                self.unrecovered.push((fault.clone(), detail.clone()));
            }
            Event::IncidentOpened { incident, target, detected_after_ms, .. } => {
                self.incidents.push(Opened {
                    incident: incident.clone(),
                    target: target.clone(),
                    opened_unix_ns: at_unix_ns,
                    detected_after_ms: *detected_after_ms,
                    closed: None,
                });
            }
            Event::IncidentClosed { incident, recovered_after_ms, .. } => {
                let mut open = self.incidents.iter_mut().rev();
                if let Some(opened) = open.find(|opened| opened.incident == *incident) {
                    let recovered_after_ms = *recovered_after_ms;
                    opened.closed = Some(Closed { unix_ns: at_unix_ns, recovered_after_ms });
                }
            }
            _ => {}
        }
    }
}

impl Lives {
    fn advance(&mut self, key: &RecordKey) {
        if self.known.insert(key.incarnation, key.sequence).is_none() {
            self.current = Some(key.incarnation);
        }
    }

    /// The number of the latest that was taken in of the present life.
    fn last(&self) -> u64 {
        match &self.current {
            Some(life) => self.known.get(life).copied().unwrap_or_default(),
            // What an earlier scheduler had and acknowledged does not come again.
            None => u64::try_from(self.earlier.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Counts records of runs that take nothing more.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    records: AtomicU64,
}

impl Dropped {
    /// One more.
    pub(crate) fn note(&self, what: &str, run: &[u8], why: &str) {
        let records = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        let run = RunId::from_bytes(run).map_or_else(|_| "none".to_owned(), |run| run.to_string());
        tracing::warn!(run, what, why, records, "a record is in no history");
    }
}

/// A record that stands for an event.
pub(crate) trait ToldBy: Tells {
    /// Who tells it.
    const TELLER: Teller;
}

impl ToldBy for v1::FaultNews {
    const TELLER: Teller = Teller::Chaos;
}

impl ToldBy for v1::RecoveryNews {
    const TELLER: Teller = Teller::Recovery;
}

impl Service {
    /// Takes in what a service tells.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn spawn_news<R: ToldBy>(
        self: &Arc<Self>,
        name: &'static str,
        until: &Shutdown,
    ) -> Result<(), BusError> {
        let mut records = self.bus.consume::<R>("scheduler").await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn(name, OnError::ShutDown, async move {
            while let Some(delivery) = next_until(&end, records.next()).await {
                service.take_news(&delivery).await?;
                delivery.ack().await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        Ok(())
    }

    /// Puts a record into the history of its run, if that is this scheduler's. An error leaves it unacknowledged.
    pub(crate) async fn take_news<R: ToldBy>(&self, delivery: &Delivery<R>) -> Result<(), String> {
        let name = R::TELLER.name();
        let run = delivery.body.run();
        let (history, news) = match self.place(run).await.map_err(|error| error.to_string())? {
            Ok(place) => place,
            Err(why) => {
                self.dropped.note(name, run, why);
                return Ok(());
            }
        };
        let (at_unix_ns, json) = delivery.body.told();
        // What cannot be read happened all the same.
        let event = serde_json::from_str(json).unwrap_or_else(|error| Event::Notice {
            message: format!("{name} told something that this scheduler cannot read ({error}): {json}"),
        });
        if !news.is_new(R::TELLER, &delivery.key, at_unix_ns, &event) {
            return Ok(());
        }
        match history.append_from(name, at_unix_ns, event.clone()).await {
            Ok(true) => news.take(R::TELLER, &delivery.key, at_unix_ns, &event),
            Ok(false) => self.dropped.note(name, run, "the run has ended"),
            Err(StoreError::HistoryGap { .. }) => {
                self.dropped.note(name, run, "another scheduler has the run");
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Where a record of a run goes; one that nobody has at present may be taken up by this scheduler soon.
    async fn place(&self, run: &[u8]) -> Result<Result<(History, News), &'static str>, StoreError> {
        let until = Instant::now() + ADOPTION;
        loop {
            if let Some(active) = self.active.lock().await.as_ref().filter(|one| one.id.to_bytes() == run) {
                return Ok(Ok((active.history.clone(), active.news.clone())));
            }
            let row = match RunId::from_bytes(run) {
                Ok(id) => self.store.run(id).await?,
                Err(_) => None,
            };
            match row.map(|row| row.state) {
                None => return Ok(Err("there is no such run")),
                Some(RunState::Ended { .. }) => return Ok(Err("the run is over")),
                Some(_) if Instant::now() >= until || self.shutdown.is_triggered() => {
                    return Ok(Err("the run is not this scheduler's"));
                }
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(life: u8, sequence: u64) -> RecordKey {
        RecordKey { producer: [1; 16], incarnation: [life; 16], sequence, part: 0 }
    }

    fn notice(text: &str) -> Event {
        Event::Notice { message: text.to_owned() }
    }

    fn opened(incident: &str) -> Event {
        Event::IncidentOpened {
            incident: incident.to_owned(),
            target: "shop".to_owned(),
            issue: protocol::faults::Issue::ComponentFailure,
            instance: None,
            seen: "refused".to_owned(),
            fault: None,
            detected_after_ms: Some(40),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_taken_once_and_waited_for_in_the_life_that_told_it() {
        let news = News::default();
        let (chaos, moment) = (Teller::Chaos, Duration::from_secs(1));
        assert!(news.complete(chaos, 0, moment).await && !news.complete(chaos, 1, moment).await);
        for sequence in 1..=3 {
            assert!(news.is_new(chaos, &key(7, sequence), 5, &notice("x")));
            news.take(chaos, &key(7, sequence), 5, &notice("x"));
        }
        assert!(!news.is_new(chaos, &key(7, 2), 5, &notice("x")), "delivered again");
        assert!(news.complete(chaos, 3, moment).await && !news.complete(Teller::Recovery, 1, moment).await);
        news.started_anew(chaos);
        assert!(!news.complete(chaos, 1, moment).await, "what the former life told does not count");
        news.take(chaos, &key(8, 1), 6, &notice("y"));
        assert!(news.complete(chaos, 1, moment).await && !news.complete(chaos, 2, moment).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scheduler_that_takes_a_run_up_knows_what_the_history_has() {
        let entry = |sequence, producer: &str, event| Entry {
            sequence,
            at_unix_ns: i64::try_from(sequence).unwrap(),
            producer: producer.to_owned(),
            event,
        };
        let unrecovered = Event::FaultUnrecovered {
            fault: "disk".to_owned(),
            target: "shop".to_owned(),
            detail: "the file is still there".to_owned(),
        };
        let news = News::recall(&[
            entry(1, "scheduler", notice("a")),
            entry(2, "chaos", unrecovered.clone()),
            entry(3, "recovery", opened("shop-1")),
        ]);
        assert_eq!(news.unrecovered(), [("disk".to_owned(), "the file is still there".to_owned())]);
        assert_eq!(news.incidents()[0].opened_unix_ns, 3);
        let moment = Duration::from_secs(1);
        assert!(
            news.complete(Teller::Chaos, 1, moment).await,
            "it was acknowledged, and does not come again"
        );
        assert!(!news.is_new(Teller::Chaos, &key(1, 1), 2, &unrecovered), "or it was not, and does");
        assert!(news.is_new(Teller::Chaos, &key(1, 2), 9, &unrecovered));
        let closed = Event::IncidentClosed {
            incident: "shop-1".to_owned(),
            target: "shop".to_owned(),
            how: "restart".to_owned(),
            fault: None,
            recovered_after_ms: 70,
            validated_after_ms: 10,
        };
        news.take(Teller::Recovery, &key(2, 2), 20, &closed);
        assert_eq!(news.incidents()[0].closed, Some(Closed { unix_ns: 20, recovered_after_ms: 70 }));
    }
}
