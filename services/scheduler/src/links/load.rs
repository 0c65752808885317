//! Commands to load-workers.

use std::time::Duration;

use protocol::id::WorkerId;
use protocol::v1;

use super::{Link, LinkError};
use crate::clock::ns;

/// How long a worker may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long it may take to answer that another part of the load is its own.
const ASSIGN_DEADLINE: Duration = Duration::from_secs(1);
/// How long it may take to compile guests, to fetch its bundle and to play a turn of each scenario.
const PREPARE_DEADLINE: Duration = Duration::from_secs(180);
/// What it may take beyond the grace to end a phase.
const END_MARGIN: Duration = Duration::from_secs(15);

/// What a worker prepares for.
#[derive(Clone, Copy)]
pub(crate) struct Bundle<'a> {
    pub(crate) plan_digest: &'a str,
    pub(crate) files: &'a [v1::BundleFile],
    pub(crate) detours: &'a [v1::Detour],
}

/// Commands to load-workers about one run.
#[derive(Clone)]
pub(crate) struct Load {
    link: Link,
}

impl Load {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    /// The run's id as messages carry it.
    pub(crate) fn run(&self) -> &[u8] {
        self.link.run()
    }

    pub(crate) async fn prepare(
        &self,
        to: WorkerId,
        bundle: Bundle<'_>,
        segment: v1::Segment,
        trial: bool,
    ) -> Result<v1::PrepareRunReply, LinkError> {
        let command = v1::PrepareRun {
            run: self.link.own_run(),
            plan_digest: bundle.plan_digest.to_owned(),
            files: bundle.files.to_vec(),
            segment: Some(segment),
            spool_dir: String::new(),
            detours: bundle.detours.to_vec(),
            trial,
        };
        self.link.ask_worker(to, &command, PREPARE_DEADLINE).await
    }

    pub(crate) async fn start(&self, to: WorkerId, start: v1::StartPhase) -> Result<(), LinkError> {
        let command = v1::StartPhase { run: self.link.own_run(), ..start };
        self.link.ask_worker(to, &command, DEADLINE).await.map(|_| ())
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
        let run = self.link.own_run();
        let command = v1::AssignSegment { run, phase, at_offset_ns, segment: Some(segment), epoch };
        self.link.ask_worker(to, &command, ASSIGN_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn change(
        &self,
        to: WorkerId,
        phase: u32,
        number: u32,
        (at, change): (Duration, v1::change_phase::Change),
    ) -> Result<(), LinkError> {
        let (run, at_offset_ns) = (self.link.own_run(), ns(at));
        let command = v1::ChangePhase { run, phase, at_offset_ns, change: Some(change), number };
        self.link.ask_worker(to, &command, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn end_phase(
        &self,
        to: WorkerId,
        phase: u32,
        grace: Duration,
    ) -> Result<v1::PhaseEnded, LinkError> {
        let command = v1::EndPhase { run: self.link.own_run(), phase, grace_ns: ns(grace) };
        self.link.ask_worker(to, &command, grace + END_MARGIN).await
    }

    pub(crate) async fn end_run(&self, to: WorkerId) -> Result<(), LinkError> {
        self.link.ask_worker(to, &v1::EndRun { run: self.link.own_run() }, DEADLINE).await.map(|_| ())
    }
}
