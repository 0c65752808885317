//! The load-workers that are there, known by their heartbeats.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, BusError};
use protocol::event::{ClockReading, Event, Life};
use protocol::id::{IncarnationId, WorkerId};
use protocol::v1;
use protocol::v1::heartbeat::State;
use service::Shutdown;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::division::Strength;
use crate::figures::plain;

/// What is known of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// Its id.
    pub(crate) id: WorkerId,
    /// When it was heard last.
    pub(crate) heard: Instant,
    /// What it said then; empty = not heard yet.
    pub(crate) beat: v1::Heartbeat,
}

impl Worker {
    /// What the history says of a worker that has prepared a run.
    pub(crate) fn joined(&self, reply: &v1::PrepareRunReply) -> Event {
        let clock = reply.clock_offset_ns.map(|behind_ns| ClockReading {
            ahead_ns: behind_ns.saturating_neg(),
            error_ns: reply.clock_error_ns,
        });
        let (worker, change) = (self.id.to_string(), "joined".to_owned());
        let strength = self.strength(reply);
        let life = Life {
            incarnation: IncarnationId::from_bytes(&reply.incarnation)
                .map_or_else(|_| String::new(), |id| id.to_string()),
            load_threads: strength.load_threads,
            weight: strength.weight,
            thread_speed: strength.thread_speed,
        };
        Event::WorkerChanged { worker, change, detail: self.described(reply), clock, life: Some(life) }
    }

    /// What it is good for, once it has prepared a run: how many load threads it has then is the plan's to say, too.
    pub(crate) fn strength(&self, reply: &v1::PrepareRunReply) -> Strength {
        Strength { load_threads: reply.load_threads, ..Strength::of(&self.beat) }
    }

    /// Host, size and clock, for people.
    fn described(&self, reply: &v1::PrepareRunReply) -> String {
        let clock = match reply.clock_offset_ns {
            None => "its clock was not measured".to_owned(),
            Some(ns) => {
                // What the scheduler is ahead of, the worker is behind.
                let side = if ns > 0 { "behind" } else { "ahead" };
                let ms = |ns: u64| plain(Duration::from_nanos(ns).as_secs_f64() * 1e3);
                format!("its clock {} ms {side} ± {} ms", ms(ns.unsigned_abs()), ms(reply.clock_error_ns))
            }
        };
        let threads = crate::figures::count(reply.load_threads as usize, "load thread");
        let strength = match self.strength(reply) {
            Strength { weight: Some(weight), .. } => format!(", weight {} as set", plain(weight)),
            Strength { thread_speed: Some(speed), .. } => {
                format!(" of {} rounds/s each", plain(speed.round()))
            }
            Strength { .. } => String::new(),
        };
        format!("host {}, {threads}{strength}, {clock}", self.beat.host)
    }
}

/// All workers that were ever heard. Clones share the list.
#[derive(Clone)]
pub(crate) struct Workers {
    list: watch::Sender<BTreeMap<WorkerId, Worker>>,
    bus: Bus,
}

impl Workers {
    /// A list that begins with workers known by composition, before their first heartbeat.
    pub(crate) fn new(known: &[WorkerId], bus: Bus) -> Self {
        let heard = Instant::now();
        let known = known.iter().map(|id| (*id, Worker { id: *id, heard, beat: v1::Heartbeat::default() }));
        Self { list: watch::Sender::new(known.collect()), bus }
    }

    /// Hears heartbeats until the shutdown.
    ///
    /// # Errors
    /// When the bus cannot be subscribed to.
    pub(crate) async fn listen(
        &self,
        mut heartbeats: bus::Subscription<v1::Heartbeat>,
        shutdown: Shutdown,
    ) -> Result<(), BusError> {
        loop {
            let heartbeat = tokio::select! {
                heartbeat = heartbeats.next() => heartbeat,
                () = shutdown.triggered() => None,
            };
            let Some(heartbeat) = heartbeat else { return Ok(()) };
            self.hear(&heartbeat);
        }
    }

    /// Subscribes to heartbeats; none from here on is missed.
    ///
    /// # Errors
    /// When the bus cannot be subscribed to.
    pub(crate) async fn subscribe(bus: &Bus) -> Result<bus::Subscription<v1::Heartbeat>, BusError> {
        bus.subscribe().await
    }

    /// Notes a heartbeat.
    pub(crate) fn hear(&self, heartbeat: &v1::Heartbeat) {
        let Ok(id) = WorkerId::from_bytes(&heartbeat.worker) else {
            tracing::warn!(bytes = heartbeat.worker.len(), "a heartbeat without a worker's id is ignored");
            return;
        };
        let worker = Worker { id, heard: Instant::now(), beat: heartbeat.clone() };
        self.list.send_modify(|list| {
            list.insert(id, worker);
        });
    }

    /// The workers heard within `timeout`, in order of id, without those that are about to end.
    pub(crate) fn alive(&self, timeout: Duration) -> Vec<Worker> {
        let mut workers = self.heard(timeout);
        workers.retain(|worker| worker.beat.state() != State::Leaving);
        workers
    }

    /// The workers heard within `timeout`, in order of id.
    pub(crate) fn heard(&self, timeout: Duration) -> Vec<Worker> {
        let now = Instant::now();
        self.list
            .borrow()
            .values()
            .filter(|worker| now.duration_since(worker.heard) <= timeout)
            .cloned()
            .collect()
    }

    /// Waits until so many workers are there, at most `timeout`; those that are there then.
    pub(crate) async fn wait_for(
        &self,
        least: usize,
        worker_timeout: Duration,
        timeout: Duration,
    ) -> Vec<Worker> {
        let mut changes = self.list.subscribe();
        let found = async {
            while self.alive(worker_timeout).len() < least {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // What is there when the time is up may be enough for the plan; the caller sees how many they are.
        let _ = tokio::time::timeout(timeout, found).await;
        self.alive(worker_timeout)
    }

    /// Waits until one of some workers has been silent for longer than `timeout`; says which, and for how long.
    ///
    /// The silence must outlast one more look: when this process itself was held up, its heartbeats are still queued. While
    /// it is cut off from the bus itself, nobody can be heard, and nobody counts as silent.
    pub(crate) async fn lost(&self, ids: &[WorkerId], timeout: Duration) -> (WorkerId, Duration) {
        if ids.is_empty() {
            return std::future::pending().await;
        }
        let look = (timeout / 8).max(Duration::from_millis(5));
        let mut suspect: Option<WorkerId> = None;
        let mut away: Option<Instant> = None;
        loop {
            tokio::time::sleep(look).await;
            let now = Instant::now();
            if !self.bus.is_connected() {
                (suspect, away) = (None, Some(now));
                continue;
            }
            let silent = ids.iter().find_map(|id| {
                let heard = self.list.borrow().get(id).map(|worker| worker.heard);
                let since = heard.max(away);
                let silence = since.map_or(Duration::MAX, |since| now.duration_since(since));
                (silence > timeout).then_some((*id, silence))
            });
            match silent {
                Some((id, silence)) if suspect == Some(id) => return (id, silence),
                Some((id, _)) => suspect = Some(id),
                None => suspect = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_worker_is_lost_and_a_heard_one_is_not() {
        let (silent, heard) = (WorkerId::new(), WorkerId::new());
        let dir = tempfile::tempdir().unwrap();
        let store = store::Store::open(&dir.path().join("store.db")).unwrap();
        let bus = Bus::in_process(store, &dir.path().join("objects")).unwrap();
        let workers = Workers::new(&[silent], bus);
        let beat = v1::Heartbeat { worker: heard.to_bytes(), ..v1::Heartbeat::default() };
        let timeout = Duration::from_secs(2);
        let ids = [heard, silent];
        let mut lost = std::pin::pin!(workers.lost(&ids, timeout));
        for _ in 0..3 {
            workers.hear(&beat);
            let waited = tokio::time::timeout(Duration::from_millis(500), &mut lost).await;
            assert!(waited.is_err(), "lost too early");
        }
        let (id, silence) = loop {
            workers.hear(&beat);
            if let Ok(lost) = tokio::time::timeout(Duration::from_millis(500), &mut lost).await {
                break lost;
            }
        };
        assert_eq!(id, silent);
        assert!(silence > timeout);
        assert_eq!(workers.alive(timeout).len(), 1);
    }
}
