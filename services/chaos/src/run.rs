//! A run that is open: its faults, what carries them out, and its phases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{Bus, News, SchedulerClock};
use plan::Plan;
use protocol::event::Event;
use protocol::faults::CapabilityView;
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use tokio::time::Instant;

use crate::backends::Backends;
use crate::board::Board;
use crate::phase::Phase;
use crate::schedule::Item;
use crate::scheduler_lost::LastHeard;

/// How long the faults of a phase may take to be undone; more than each alone may.
const UNDONE: Duration = Duration::from_secs(30);
/// How long news may take to be durable.
const TOLD: Duration = Duration::from_secs(10);

/// A run.
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) plan_digest: String,
    pub(crate) bus: Bus,
    pub(crate) clock: SchedulerClock,
    pub(crate) tasks: Tasks,
    pub(crate) board: Board,
    pub(crate) news: News,
    pub(crate) backends: Backends,
    pub(crate) capabilities: Vec<CapabilityView>,
    /// What was answered when it was opened.
    pub(crate) opened: v1::OpenChaosReply,
    pub(crate) phase: Mutex<Option<Phase>>,
    pub(crate) heard: LastHeard,
}

/// What is known at an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Ids of faults that could not be seen to be gone.
    pub(crate) unrecovered: Vec<String>,
    /// The number of the last record; `None` = the log did not take all that there is to tell.
    pub(crate) last_sequence: Option<u64>,
}

impl Outcome {
    /// The number of the last record, as an answer needs it.
    ///
    /// # Errors
    /// When not all that was told is durable.
    pub(crate) fn told(&self) -> Result<u64, String> {
        self.last_sequence.ok_or_else(|| {
            format!("faults have ended, but the record log did not take the news of it within {TOLD:?}")
        })
    }
}

impl Run {
    /// Now, by the scheduler's clock, Unix nanoseconds.
    pub(crate) fn now(&self) -> i64 {
        self.clock.scheduler_unix_ns()
    }

    /// The phase that is under way.
    pub(crate) fn under_way(&self) -> Option<Phase> {
        self.last_phase().filter(|phase| !phase.over.is_triggered())
    }

    fn last_phase(&self) -> Option<Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The phase begins: its faults come at their instants. Told again, nothing happens.
    pub(crate) async fn begin_phase(self: &Arc<Self>, command: &v1::BeginChaosPhase) -> Result<(), String> {
        if self.last_phase().is_none_or(|phase| phase.index != command.phase) {
            // Before the start is mapped: an old offset may be wrong by now.
            self.clock.measure(&self.bus).await;
        }
        let mut last = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = last.as_ref() {
            if phase.index == command.phase && phase.t0_unix_ns == command.t0_unix_ns {
                return Ok(());
            }
            if !phase.over.is_triggered() {
                return Err(format!(
                    "phase {} is to begin while phase {} has not ended: end it first",
                    command.phase, phase.index
                ));
            }
        }
        let phase = Phase {
            index: command.phase,
            t0_unix_ns: command.t0_unix_ns,
            t0: Instant::from_std(self.clock.monotonic(command.t0_unix_ns)),
            duration: Duration::from_nanos(command.duration_ns),
            over: Shutdown::new(),
            armed: Shutdown::new(),
        };
        *last = Some(phase.clone());
        self.board.open();
        self.tasks.spawn("phase", OnError::Log, phase.clone().arm(Arc::clone(self)));
        self.tasks.spawn("scheduler watch", OnError::Log, Arc::clone(self).watch_scheduler(phase));
        Ok(())
    }

    /// The phase is over: its faults end, all at once. Told again, the answer is the same.
    pub(crate) async fn end_phase(&self, index: u32, reason: &str) -> Result<Outcome, String> {
        match self.last_phase() {
            Some(phase) if phase.index != index && !phase.over.is_triggered() => {
                return Err(format!("phase {index} is to end, but phase {} is under way", phase.index));
            }
            _ => {}
        }
        let reason = if reason.is_empty() { "its phase is over" } else { reason };
        Ok(self.end_faults(reason).await)
    }

    /// Ends all faults, and waits until they are gone or known to be unrecovered, and that is durable.
    pub(crate) async fn end_faults(&self, reason: &str) -> Outcome {
        self.board.close(reason);
        if let Some(phase) = self.last_phase() {
            phase.over.trigger(reason);
            // Not for ever: it may wait for a log that takes no news.
            let _ = tokio::time::timeout(UNDONE, phase.armed.triggered()).await;
        }
        for item in self.board.idle(UNDONE).await {
            let detail = format!("{reason}; it was not seen to have ended within {} s", UNDONE.as_secs());
            tracing::error!(fault = item.id(), detail, "a fault is unrecovered");
            self.board.note(item.id(), protocol::faults::FaultState::Unrecovered, &detail);
            let (fault, target) = (item.id().to_owned(), item.fault.target.clone());
            self.news.say(self.now(), Event::FaultUnrecovered { fault, target, detail }).await;
        }
        let last_sequence = self.news.all().await.durable_within(TOLD).await;
        Outcome { unrecovered: self.board.unrecovered(), last_sequence }
    }

    /// The run is over: faults end, and the proxy.
    pub(crate) async fn close(&self, reason: &str) -> Outcome {
        let outcome = self.end_faults(reason).await;
        if let Some(proxy) = &self.backends.proxy {
            proxy.close().await;
        }
        outcome
    }

    /// Faults end; the proxy stays for load that goes on, until another life of this service takes it over.
    pub(crate) async fn leave(&self, reason: &str) {
        self.end_faults(reason).await;
        if let Some(proxy) = &self.backends.proxy {
            proxy.leave(reason).await;
        }
    }

    /// Tells that a fault that has not begun will not.
    pub(crate) async fn skip(&self, item: &Item, why: &str) {
        if self.board.skip(item.id(), why) {
            self.say_skipped(item, why).await;
        }
    }

    pub(crate) async fn say_skipped(&self, item: &Item, why: &str) {
        let event = Event::FaultSkipped {
            fault: item.id().to_owned(),
            recipe: item.planned.recipe.clone(),
            target: item.planned.target.clone(),
            reason: why.to_owned(),
        };
        self.news.say(self.now(), event).await;
    }
}
