//! Commands to the other services, each with its deadline and with errors in words that name the service.

use std::time::Duration;

use bus::{Address, Bus, CommandError};
use protocol::id::{RunId, WorkerId};
use protocol::message::Command;
use protocol::v1;

/// How long `metrics` may take to answer before it counts as lost: long enough to be started anew and read its store.
const METRICS_DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take to make final results durable.
const UNWATCH_DEADLINE: Duration = Duration::from_secs(20);
/// How long a worker may take to answer.
const WORKER_DEADLINE: Duration = Duration::from_secs(5);
/// How long it may take to answer that another part of the load is its own.
const ASSIGN_DEADLINE: Duration = Duration::from_secs(1);
/// How long a worker may take to compile guests and fetch its bundle.
const PREPARE_DEADLINE: Duration = Duration::from_secs(180);
/// What a worker may take beyond the grace to end a phase.
const END_MARGIN: Duration = Duration::from_secs(15);

/// Why a command had no good answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The service did not answer in time, or there is none.
    #[error("lost {who}: {detail}")]
    Lost {
        /// `metrics`, `load-worker 01…`.
        who: String,
        /// What was tried and how it ended.
        detail: String,
    },
    /// The service answered that it will not.
    #[error("{who} refused {what}: {why}")]
    Refused {
        /// `metrics`, `load-worker 01…`.
        who: String,
        /// The last word of the command's subject.
        what: &'static str,
        /// Its words.
        why: String,
    },
}

async fn send<C: Command>(
    bus: &Bus,
    who: impl Fn() -> String,
    to: &Address,
    command: &C,
    deadline: Duration,
) -> Result<C::Reply, LinkError> {
    let what = C::SUBJECT.1;
    bus.command(to, command, deadline).await.map_err(|error| match error {
        CommandError::Refused(why) => LinkError::Refused { who: who(), what, why },
        other => LinkError::Lost { who: who(), detail: format!("`{what}` was not answered ({other})") },
    })
}

/// Commands to `metrics` about one run.
#[derive(Clone)]
pub(crate) struct Metrics {
    bus: Bus,
    run: Vec<u8>,
}

impl Metrics {
    pub(crate) fn new(bus: Bus, run: RunId) -> Self {
        Self { bus, run: run.to_bytes() }
    }

    async fn send<C: Command>(&self, command: &C, deadline: Duration) -> Result<C::Reply, LinkError> {
        send(&self.bus, || "metrics".to_owned(), &Address::Service, command, deadline).await
    }

    /// The run's id as messages carry it.
    pub(crate) fn run(&self) -> &[u8] {
        &self.run
    }

    pub(crate) async fn watch(
        &self,
        plan_digest: &str,
        processes: Vec<v1::WatchedProcess>,
        scenarios: Vec<v1::ScenarioSteps>,
    ) -> Result<(), LinkError> {
        let plan_digest = plan_digest.to_owned();
        let command = v1::WatchRun { run: self.run.clone(), plan_digest, processes, scenarios };
        self.send(&command, METRICS_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn unwatch(&self) -> Result<(), LinkError> {
        self.send(&v1::UnwatchRun { run: self.run.clone() }, UNWATCH_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn mark(&self, phase: u32, t0_unix_ns: i64) -> Result<(), LinkError> {
        let command = v1::MarkPhase { run: self.run.clone(), phase, t0_unix_ns };
        self.send(&command, METRICS_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn probes(&self) -> Result<Vec<v1::ProbeState>, LinkError> {
        let command = v1::QueryProbes { run: self.run.clone() };
        Ok(self.send(&command, METRICS_DEADLINE).await?.probes)
    }

    pub(crate) async fn aggregate(&self, query: &v1::QueryAggregate) -> Result<v1::Aggregate, LinkError> {
        self.send(query, METRICS_DEADLINE).await
    }

    /// Everything that is known of one phase.
    pub(crate) async fn phase(&self, phase: u32) -> Result<v1::PhaseSeries, LinkError> {
        let command = v1::QueryRun { run: self.run.clone(), phase: Some(phase) };
        let series = self.send(&command, METRICS_DEADLINE).await?;
        let found = series.phases.into_iter().find(|series| series.phase == phase);
        Ok(found.unwrap_or_else(|| v1::PhaseSeries { phase, ..v1::PhaseSeries::default() }))
    }
}

/// Commands to load-workers about one run.
#[derive(Clone)]
pub(crate) struct Load {
    bus: Bus,
    run: Vec<u8>,
}

impl Load {
    pub(crate) fn new(bus: Bus, run: RunId) -> Self {
        Self { bus, run: run.to_bytes() }
    }

    /// The run's id as messages carry it.
    pub(crate) fn run(&self) -> &[u8] {
        &self.run
    }

    async fn send<C: Command>(
        &self,
        to: WorkerId,
        command: &C,
        deadline: Duration,
    ) -> Result<C::Reply, LinkError> {
        send(&self.bus, || format!("load-worker {to}"), &Address::Instance(to.to_string()), command, deadline)
            .await
    }

    pub(crate) async fn prepare(
        &self,
        to: WorkerId,
        plan_digest: &str,
        files: &[v1::BundleFile],
        segment: v1::Segment,
    ) -> Result<v1::PrepareRunReply, LinkError> {
        let command = v1::PrepareRun {
            run: self.run.clone(),
            plan_digest: plan_digest.to_owned(),
            files: files.to_vec(),
            segment: Some(segment),
            spool_dir: String::new(),
            detours: Vec::new(),
        };
        self.send(to, &command, PREPARE_DEADLINE).await
    }

    pub(crate) async fn start(&self, to: WorkerId, start: v1::StartPhase) -> Result<(), LinkError> {
        let command = v1::StartPhase { run: self.run.clone(), ..start };
        self.send(to, &command, WORKER_DEADLINE).await.map(|_| ())
    }

    /// Gives a worker another part of the running phase. Who does not answer soon is lost: his part waits for nobody.
    pub(crate) async fn assign(
        &self,
        to: WorkerId,
        phase: u32,
        at_offset_ns: u64,
        segment: v1::Segment,
        epoch: u32,
    ) -> Result<(), LinkError> {
        let run = self.run.clone();
        let command = v1::AssignSegment { run, phase, at_offset_ns, segment: Some(segment), epoch };
        self.send(to, &command, ASSIGN_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn change(
        &self,
        to: WorkerId,
        phase: u32,
        number: u32,
        (at, change): (Duration, v1::change_phase::Change),
    ) -> Result<(), LinkError> {
        let (run, at_offset_ns) = (self.run.clone(), crate::clock::ns(at));
        let command = v1::ChangePhase { run, phase, at_offset_ns, change: Some(change), number };
        self.send(to, &command, WORKER_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn end_phase(
        &self,
        to: WorkerId,
        phase: u32,
        grace: Duration,
    ) -> Result<v1::PhaseEnded, LinkError> {
        let command = v1::EndPhase { run: self.run.clone(), phase, grace_ns: crate::clock::ns(grace) };
        self.send(to, &command, grace + END_MARGIN).await
    }

    pub(crate) async fn end_run(&self, to: WorkerId) -> Result<(), LinkError> {
        self.send(to, &v1::EndRun { run: self.run.clone() }, WORKER_DEADLINE).await.map(|_| ())
    }
}
