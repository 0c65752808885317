//! Starts and ends, whoever causes them: the state directory and the kernel are looked at in turns.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::observe;
use super::state_dir::{Record, StateDir};
use crate::PlatformError;
use crate::driver::{Event, EventKind, EventSource};
use crate::instance::InstanceId;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);
/// How long an end is held back for its status, which only whoever spawned the process is told.
const TOLD: Duration = Duration::from_secs(1);

/// Tells of starts and ends since it was made.
#[derive(Debug)]
pub struct Events {
    dir: StateDir,
    seen: BTreeMap<InstanceId, Seen>,
    queue: VecDeque<Event>,
}

#[derive(Debug, Default)]
struct Seen {
    /// 0 = no start was told of.
    generation: u32,
    /// Its end was told of.
    ended: bool,
    /// Since when it is known that it has ended, while nobody says how.
    ended_since: Option<Instant>,
}

impl Events {
    pub(super) fn new(dir: StateDir) -> Result<Self, PlatformError> {
        let mut events = Self { dir, seen: BTreeMap::new(), queue: VecDeque::new() };
        for record in events.dir.records()? {
            let ended = observe::alive(&record)?.is_none();
            let generation = record.generation;
            events.seen.insert(record.id, Seen { generation, ended, ended_since: None });
        }
        Ok(events)
    }

    /// What has happened since the last look, without waiting. In order for each instance.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn look(&mut self) -> Result<Vec<Event>, PlatformError> {
        let records = self.dir.records()?;
        self.seen.retain(|id, _| records.iter().any(|record| record.id == *id));
        for record in records {
            self.look_at(&record)?;
        }
        Ok(self.queue.drain(..).collect())
    }

    fn look_at(&mut self, record: &Record) -> Result<(), PlatformError> {
        let mut seen = self.seen.remove(&record.id).unwrap_or_default();
        if record.generation < seen.generation {
            // It was defined anew.
            seen = Seen::default();
        }
        if record.generation > seen.generation && record.process.is_some() {
            if seen.generation > 0 && !seen.ended {
                self.tell_end(record, seen.generation);
            }
            // Lives too short to be seen.
            for generation in seen.generation + 1..record.generation {
                self.tell(record, generation, EventKind::Started);
                self.tell_end(record, generation);
            }
            self.tell(record, record.generation, EventKind::Started);
            seen = Seen { generation: record.generation, ..Seen::default() };
        }
        let present = seen.generation == record.generation && seen.generation > 0 && !seen.ended;
        if present && observe::alive(record)?.is_none() {
            let since = *seen.ended_since.get_or_insert_with(Instant::now);
            let spawner_lives =
                record.spawner.as_ref().is_some_and(|spawner| spawner.is_alive().unwrap_or(false));
            if self.dir.exit(record).is_some() || !spawner_lives || since.elapsed() > TOLD {
                self.tell_end(record, seen.generation);
                seen.ended = true;
            }
        }
        self.seen.insert(record.id.clone(), seen);
        Ok(())
    }

    fn tell_end(&mut self, record: &Record, generation: u32) {
        let status = self.dir.exit_of(&record.id, generation).map(|exit| exit.status);
        let asked = self.dir.asked(&record.id, generation);
        self.tell(record, generation, EventKind::Exited { status, asked });
    }

    fn tell(&mut self, record: &Record, generation: u32, kind: EventKind) {
        self.queue.push_back(Event { instance: record.id.clone(), generation, kind });
    }
}

#[async_trait]
impl EventSource for Events {
    async fn next(&mut self) -> Result<Event, PlatformError> {
        loop {
            let mut news = VecDeque::from(self.look()?);
            if let Some(first) = news.pop_front() {
                self.queue = news;
                return Ok(first);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
