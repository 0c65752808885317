//! What the tasks of the service share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bus::Bus;
use plan::Plan;
use protocol::id::RunId;
use protocol::v1;
use service::Shutdown;
use store::{RunState, Store, StoreError};
use tokio::sync::Notify;

use crate::exposed::Exposed;
use crate::note::{self, Kept, Note, Notes};
use crate::probe::{self, Probes};
use crate::state::{Decoded, Filter, Run};

/// Runs in memory at most, beside those that are watched; others are read from the store when asked for.
const KEEP_RUNS: usize = 4;
/// Answers kept for the same question before anything new comes.
const KEEP_ANSWERS: usize = 64;

/// The service, shared by its tasks.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) shutdown: Shutdown,
    pub(crate) notes: Notes,
    /// Something came that a live aggregate may show.
    pub(crate) fresh: Notify,
    /// Held while the store and memory are brought in step: between applying a sample and adding it, and while a run
    /// is read from the store.
    pub(crate) in_step: tokio::sync::Mutex<()>,
    known: Mutex<Runs>,
}

/// The runs in memory.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<RunId, Known>,
    clock: u64,
}

/// One run in memory.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) run: Run,
    pub(crate) record: probe::Shared,
    pub(crate) exposed: Exposed,
    pub(crate) watch: Option<Watch>,
    pub(crate) probes: Option<Probes>,
    pub(crate) live: Live,
    /// Answers to questions, with the version of the run that they tell of.
    pub(crate) answers: BTreeMap<(Option<u32>, u64, Filter), v1::Aggregate>,
    answers_of: u64,
    used: u64,
}

/// What a run is watched for.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) message: v1::WatchRun,
    pub(crate) plan: Arc<Plan>,
    pub(crate) base_dir: PathBuf,
}

/// What was broadcast last: phase, row and whether the row was complete; and when.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) sent: Option<(u32, u64, bool)>,
    pub(crate) at: Option<Instant>,
}

impl Known {
    fn new() -> Self {
        Self {
            run: Run::new(),
            record: probe::Shared::default(),
            exposed: Exposed::default(),
            watch: None,
            probes: None,
            live: Live::default(),
            answers: BTreeMap::new(),
            answers_of: 0,
            used: 0,
        }
    }

    /// Adds a part that was not added before.
    pub(crate) fn add(&mut self, part: &Decoded) {
        self.run.add(part);
        self.exposed.add(part);
    }

    /// Adds what could not be read.
    pub(crate) fn add_damaged(&mut self, phase: u32, key: &store::RecordKey, error: &str) {
        self.run.note_damaged(phase, key, error);
    }

    /// A phase begins.
    pub(crate) fn mark(&mut self, mark: &v1::MarkPhase) {
        self.run.mark(mark.phase, mark.t0_unix_ns);
        probe::lock(&self.record).begin_phase(mark.phase);
        if let Some(probes) = &self.probes {
            probes.begin_phase(mark.t0_unix_ns);
        }
    }

    /// The answers that still hold.
    pub(crate) fn answers(&mut self) -> &mut BTreeMap<(Option<u32>, u64, Filter), v1::Aggregate> {
        if self.answers_of != self.run.version || self.answers.len() >= KEEP_ANSWERS {
            self.answers_of = self.run.version;
            self.answers.clear();
        }
        &mut self.answers
    }

    /// Reads the plan's part: how far windows reach.
    pub(crate) fn set_watch(&mut self, watch: Watch) {
        let thresholds = watch.plan.phases.iter().flat_map(|phase| &phase.thresholds);
        let windows = thresholds.chain(&watch.plan.thresholds).filter_map(|threshold| threshold.over);
        let longest = windows.map(|over| over.as_secs()).max().unwrap_or(0);
        self.run.keep(usize::try_from(longest).unwrap_or(usize::MAX).saturating_add(10));
        self.watch = Some(watch);
    }

    fn restore(&mut self, kept: Kept, key: &store::RecordKey) -> Option<v1::WatchRun> {
        match kept {
            Kept::Batch(batch) => {
                let phase = batch.phase;
                match Decoded::new(*key, *batch) {
                    Ok(part) => self.add(&part),
                    Err(error) => self.add_damaged(phase, key, &error),
                }
                None
            }
            Kept::Note(note) => {
                let Note { watch, mark, targets, phase, unwatched, fault } = *note;
                if let Some(mark) = mark {
                    self.mark(&mark);
                }
                probe::lock(&self.record).restore(phase, targets);
                if let Some(fault) = fault {
                    self.exposed.add_fault(&fault);
                }
                if unwatched { Some(v1::WatchRun::default()) } else { watch }
            }
        }
    }
}

impl Runs {
    /// A run, if it is in memory.
    pub(crate) fn get_mut(&mut self, run: RunId) -> Option<&mut Known> {
        self.clock += 1;
        let known = self.runs.get_mut(&run)?;
        known.used = self.clock;
        Some(known)
    }

    /// All runs in memory.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (RunId, &mut Known)> {
        self.runs.iter_mut().map(|(id, known)| (*id, known))
    }

    /// The newest run that is or was watched: ids grow with time.
    pub(crate) fn newest(&self) -> Option<(RunId, &Known)> {
        self.runs.iter().rev().find(|(_, known)| known.watch.is_some()).map(|(id, known)| (*id, known))
    }

    fn insert(&mut self, run: RunId, mut known: Known) {
        self.clock += 1;
        known.used = self.clock;
        self.runs.insert(run, known);
        let idle = |known: &Known| known.probes.is_none();
        while self.runs.values().filter(|known| idle(known)).count() > KEEP_RUNS {
            let oldest =
                self.runs.iter().filter(|(_, known)| idle(known)).min_by_key(|(_, known)| known.used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            self.runs.remove(&oldest);
        }
    }
}

impl Service {
    pub(crate) fn new(bus: Bus, store: Store, shutdown: Shutdown) -> Self {
        Self {
            bus,
            store,
            shutdown,
            notes: Notes::new(),
            fresh: Notify::new(),
            in_step: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// The runs in memory. Held for short: nothing waits under it.
    pub(crate) fn runs(&self) -> MutexGuard<'_, Runs> {
        // Sums are added to part by part; a panic in between would be a bug that the store does not share.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a run from the store unless it is in memory. The caller holds `in_step`.
    pub(crate) async fn load(&self, run: RunId) -> Result<(), StoreError> {
        if self.runs().get_mut(run).is_some() {
            return Ok(());
        }
        let mut known = Known::new();
        let mut watched: Option<v1::WatchRun> = None;
        for (key, blob) in self.store.samples(run, None).await? {
            match note::read(&key, &blob) {
                Ok(kept) => watched = known.restore(kept, &key).or(watched),
                Err(error) => {
                    tracing::error!(%run, ?key, %error, "a stored sample cannot be read and is left out");
                }
            }
        }
        if let Some(message) = watched.filter(|watch| !watch.run.is_empty()) {
            match self.watch_of(run, message).await {
                Ok(watch) => known.set_watch(watch),
                Err(error) => tracing::warn!(%run, %error, "the plan of a run cannot be read any more"),
            }
        }
        self.runs().insert(run, known);
        Ok(())
    }

    /// The plan of a run that is to be watched.
    ///
    /// # Errors
    /// What keeps it from being read, for the user.
    pub(crate) async fn watch_of(&self, run: RunId, message: v1::WatchRun) -> Result<Watch, String> {
        let path = self.bus.fetch_object(&message.plan_digest).await.map_err(|error| error.to_string())?;
        let text = tokio::fs::read_to_string(&path)
            .await
            .map_err(|error| format!("plan {}: {error}", path.display()))?;
        let plan = plan::parse(&text, Path::new("plan.toml")).map_err(|problems| problems.to_string())?;
        let row = self.store.run(run).await.map_err(|error| error.to_string())?;
        let base_dir = row.map(|row| PathBuf::from(row.base_dir)).unwrap_or_default();
        Ok(Watch { message, plan: Arc::new(plan), base_dir })
    }

    /// Reads the runs that were going on when the service ended.
    pub(crate) async fn load_unfinished(&self) -> Result<(), StoreError> {
        let runs = self.store.runs().await?;
        let unfinished = runs.into_iter().filter(|row| row.state == RunState::Running).take(KEEP_RUNS);
        for row in unfinished {
            let _in_step = self.in_step.lock().await;
            self.load(row.id).await?;
        }
        Ok(())
    }
}
