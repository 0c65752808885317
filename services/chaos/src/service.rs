//! The service: at most one run is open, and commands are about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Bus;
use protocol::id::RunId;
use protocol::v1;
use service::{Shutdown, Tasks};

use crate::agent_source::AgentSource;
use crate::options::Options;
use crate::run::{Outcome, Run};

/// How long the service still answers after the shutdown, for a scheduler that ends at the same time.
const LINGER: Duration = Duration::from_secs(2);
/// How often it looks whether it is still needed then.
const LOOK: Duration = Duration::from_millis(20);

/// What commands need.
pub(crate) struct Service {
    pub(crate) options: Options,
    pub(crate) bus: Bus,
    pub(crate) tasks: Tasks,
    pub(crate) agent: Arc<AgentSource>,
    shutdown: Shutdown,
    table: tokio::sync::Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: Option<Arc<Run>>,
    /// The run that was closed last, for whoever did not hear the answer.
    closed: Option<(RunId, Outcome)>,
}

impl Service {
    pub(crate) fn new(options: Options, bus: Bus, tasks: Tasks, shutdown: Shutdown) -> Self {
        let agent = AgentSource::new(options.agent.clone(), &options.state_dir, options.lease, tasks.clone());
        Self { options, bus, tasks, agent: Arc::new(agent), shutdown, table: tokio::sync::Mutex::default() }
    }

    /// Has what an earlier life left undone.
    pub(crate) async fn clean_up(&self) {
        self.agent.clean_up().await;
        for (fault, detail) in self.agent.leftovers() {
            tracing::error!(
                fault,
                detail,
                "a fault of an earlier run is unrecovered: no run is taken until it is"
            );
        }
    }

    /// The service ends: faults first, while commands are still answered, then who carried them out.
    pub(crate) async fn end(&self, reason: &str) {
        let open = self.table.lock().await.open.clone();
        if let Some(run) = open {
            let outcome = run.end_faults(&format!("the chaos service ends: {reason}")).await;
            if !outcome.unrecovered.is_empty() {
                tracing::error!(faults = ?outcome.unrecovered, "faults are unrecovered");
            }
            let until = Instant::now() + LINGER;
            while Instant::now() < until && self.table.lock().await.open.is_some() {
                tokio::time::sleep(LOOK).await;
            }
            if let Some(run) = self.table.lock().await.open.take() {
                run.leave("the chaos service ends").await;
            }
        }
        if let Err(error) = self.agent.close().await {
            tracing::error!(%error, "the fault agent did not end well");
        }
    }

    pub(crate) async fn open(self: Arc<Self>, command: v1::OpenChaos) -> Result<v1::OpenChaosReply, String> {
        let id = RunId::from_bytes(&command.run)?;
        // Held to the end: whoever asks meanwhile finds the run open.
        let mut table = self.table.lock().await;
        if self.shutdown.is_triggered() {
            return Err("the chaos service is ending".to_owned());
        }
        match &table.open {
            Some(run) if run.id == id && run.plan_digest == command.plan_digest => {
                run.hear_scheduler();
                return Ok(run.opened.clone());
            }
            Some(run) if run.id == id => {
                return Err(format!("run {id} is open with another plan: {}", run.plan_digest));
            }
            // One whose scheduler is silent keeps nobody away: it may be gone for good.
            Some(run) if run.under_way().is_some() && run.board.is_steered() => {
                return Err(format!(
                    "chaos takes part in run {}, whose phase is under way; wait for its end, or end it with `gauntlet stop`",
                    run.id
                ));
            }
            Some(_) | None => {}
        }
        if let Some(run) = table.open.take() {
            tracing::warn!(run = %run.id, "a run that nobody closed is closed, for another one opens");
            let outcome = run.close("another run opens").await;
            table.closed = Some((run.id, outcome));
        }
        Ok(match self.open_run(id, &command).await {
            Ok(run) => {
                let reply = run.opened.clone();
                table.open = Some(run);
                reply
            }
            Err(problems) => v1::OpenChaosReply { problems, ..v1::OpenChaosReply::default() },
        })
    }

    pub(crate) async fn begin_phase(
        self: Arc<Self>,
        command: v1::BeginChaosPhase,
    ) -> Result<v1::Ack, String> {
        let run = self.run(&command.run).await?;
        if self.shutdown.is_triggered() {
            return Err("the chaos service is ending".to_owned());
        }
        run.begin_phase(&command).await?;
        Ok(v1::Ack {})
    }

    pub(crate) async fn end_phase(
        self: Arc<Self>,
        command: v1::EndChaosPhase,
    ) -> Result<v1::ChaosPhaseEnded, String> {
        let run = self.run(&command.run).await?;
        let outcome = run.end_phase(command.phase, &command.reason).await?;
        let last_sequence = outcome.told()?;
        Ok(v1::ChaosPhaseEnded { unrecovered: outcome.unrecovered, last_sequence })
    }

    pub(crate) async fn close(self: Arc<Self>, command: v1::CloseChaos) -> Result<v1::ChaosClosed, String> {
        let id = RunId::from_bytes(&command.run)?;
        let mut table = self.table.lock().await;
        let closed = table.closed.clone().filter(|(run, _)| *run == id);
        let outcome = match (table.open.take_if(|run| run.id == id), closed) {
            (Some(run), _) => run.close("the run is over").await,
            (None, Some((_, outcome))) => outcome,
            (None, None) => return Err(unknown(id)),
        };
        table.closed = Some((id, outcome.clone()));
        let last_sequence = outcome.told()?;
        Ok(v1::ChaosClosed { unrecovered: outcome.unrecovered, last_sequence })
    }

    pub(crate) async fn inject(
        self: Arc<Self>,
        command: v1::InjectFault,
    ) -> Result<v1::InjectFaultReply, String> {
        let run = self.run(&command.run).await?;
        Ok(match run.inject_by_hand(&command).await {
            Ok(fault) => v1::InjectFaultReply { refused: String::new(), fault },
            Err(refused) => v1::InjectFaultReply { refused, fault: String::new() },
        })
    }

    pub(crate) async fn stop(self: Arc<Self>, command: v1::StopFault) -> Result<v1::StopFaultReply, String> {
        let run = self.run(&command.run).await?;
        Ok(match run.stop_by_hand(&command).await {
            Ok(ended) => v1::StopFaultReply { refused: String::new(), ended },
            Err(refused) => v1::StopFaultReply { refused, ended: Vec::new() },
        })
    }

    pub(crate) async fn query(self: Arc<Self>, command: v1::QueryFaults) -> Result<v1::Faults, String> {
        let run = self.run(&command.run).await?;
        let faults = run.board.views();
        let faults = faults.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        let capabilities = run.capabilities.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        Ok(v1::Faults {
            faults_json: faults.map_err(|error| error.to_string())?,
            capabilities_json: capabilities.map_err(|error| error.to_string())?,
        })
    }

    /// The run that a command is about.
    async fn run(&self, bytes: &[u8]) -> Result<Arc<Run>, String> {
        let id = RunId::from_bytes(bytes)?;
        let open = self.table.lock().await.open.clone();
        let run = open.filter(|run| run.id == id).ok_or_else(|| unknown(id))?;
        // All commands are its.
        run.hear_scheduler();
        Ok(run)
    }

    /// A beat of a run's scheduler. It waits while a run is opened or closed: no fault lives on then.
    pub(crate) async fn hear_beat(&self, beat: &v1::SchedulerBeat) {
        let open = self.table.lock().await.open.clone();
        if let Some(run) = open.filter(|run| run.id.to_bytes() == beat.run) {
            run.hear_scheduler();
        }
    }
}

/// As after a restart: whoever has the run may open it again.
fn unknown(id: RunId) -> String {
    format!(
        "chaos does not know run {id}: it was never opened here, or this service was started anew since; open it first"
    )
}
