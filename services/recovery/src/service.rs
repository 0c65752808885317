//! The runs that recovery has part in, and what the scheduler asks of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::service::Shutdown;
use bus::{Bus, SchedulerClock};
use protocol::faults::RecoveryView;
use protocol::id::RunId;
use protocol::v1;

use crate::opening;
use crate::route::Route;
use crate::run::Run;

/// Runs that are over, and of which it is still shown what happened.
const REMEMBERED: usize = 16;

/// What the service's tasks share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) shutdown: Shutdown,
    clock: SchedulerClock,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    open: BTreeMap<RunId, Arc<Run>>,
    closed: VecDeque<(RunId, RecoveryView)>,
}

impl Service {
    pub(crate) fn new(bus: Bus, clock: SchedulerClock, shutdown: Shutdown) -> Self {
        Self { bus, shutdown, clock, runs: Mutex::default() }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        // Two lists, valid between any two statements.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run that is open.
    pub(crate) fn find(&self, run: RunId) -> Option<Arc<Run>> {
        self.runs().open.get(&run).cloned()
    }

    fn known(&self, bytes: &[u8]) -> Result<Arc<Run>, String> {
        let run = RunId::from_bytes(bytes)?;
        self.find(run).ok_or_else(|| {
            format!(
                "recovery has no part in run {run}: expected OpenRecovery before; a recovery service that was started anew \
                 does not go on with runs of its former life"
            )
        })
    }

    /// Takes part in a run. Opening it again takes over new ways of load.
    pub(crate) async fn open(
        self: Arc<Self>,
        command: v1::OpenRecovery,
    ) -> Result<v1::OpenRecoveryReply, String> {
        let run = RunId::from_bytes(&command.run)?;
        if let Some(known) = self.find(run) {
            known.reroute(Route::new(&command).map_err(|error| error.to_string())?);
            return Ok(v1::OpenRecoveryReply::default());
        }
        match opening::open(run, &command, &self.bus, &self.clock).await {
            Ok(parts) => {
                let opened = Run::open(parts, &self.shutdown);
                self.runs().open.insert(run, Arc::new(opened));
                Ok(v1::OpenRecoveryReply::default())
            }
            Err(problems) => Ok(v1::OpenRecoveryReply { problems }),
        }
    }

    /// A phase begins.
    pub(crate) async fn begin_phase(
        self: Arc<Self>,
        command: v1::BeginRecoveryPhase,
    ) -> Result<v1::Ack, String> {
        self.known(&command.run)?.begin_phase(command.phase).await?;
        Ok(v1::Ack {})
    }

    /// A phase is over.
    pub(crate) async fn end_phase(
        self: Arc<Self>,
        command: v1::EndRecoveryPhase,
    ) -> Result<v1::RecoveryPhaseEnded, String> {
        let (last_sequence, open) = self.known(&command.run)?.end_phase(command.phase).await?;
        Ok(v1::RecoveryPhaseEnded { open, last_sequence })
    }

    /// A run is over. Closing it again changes nothing.
    pub(crate) async fn close(self: Arc<Self>, command: v1::CloseRecovery) -> Result<v1::Ack, String> {
        self.end(RunId::from_bytes(&command.run)?, "the run is over").await;
        Ok(v1::Ack {})
    }

    async fn end(&self, run: RunId, reason: &str) {
        let Some(known) = self.find(run) else { return };
        let view = known.end(reason).await;
        let mut runs = self.runs();
        if runs.open.remove(&run).is_some() {
            runs.closed.push_back((run, view));
            if runs.closed.len() > REMEMBERED {
                runs.closed.pop_front();
            }
        }
    }

    /// What is known of a run.
    pub(crate) async fn query(
        self: Arc<Self>,
        command: v1::QueryRecovery,
    ) -> Result<v1::RecoveryStatus, String> {
        let run = RunId::from_bytes(&command.run)?;
        let closed = || self.runs().closed.iter().find(|(id, _)| *id == run).map(|(_, view)| view.clone());
        let view = match self.find(run) {
            Some(known) => known.view(),
            None => closed().ok_or_else(|| format!("recovery has no part in run {run}"))?,
        };
        let status_json = serde_json::to_string(&view).map_err(|error| error.to_string())?;
        Ok(v1::RecoveryStatus { status_json })
    }

    /// The service ends, and with it its part in all runs.
    pub(crate) async fn end_all(&self) {
        let open: Vec<RunId> = self.runs().open.keys().copied().collect();
        for run in open {
            self.end(run, "the recovery service ends").await;
        }
    }
}
