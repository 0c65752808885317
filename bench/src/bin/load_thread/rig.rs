//! A load thread with what it needs around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use load_worker::engine::{Source, ThreadHandle, start};
use load_worker::feeder::Feeder;
use load_worker::record::{Layout, Owner, RunSpool, ScenarioLayout};
use load_worker::schedule::Share;
use load_worker::spec::{
    Endpoint, EngineCommand, EngineEvent, PhaseScenario, PhaseSpec, ScenarioSpec, TargetSpec, ThreadSpec,
};
use plan::model::LoadModel;
use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;

use crate::Result;

/// What draws begin from.
const SEED: u64 = 7;

/// One load thread with one scenario.
pub(crate) struct Rig {
    handle: ThreadHandle,
    scenario: PhaseScenario,
    events: Receiver<(EngineEvent, Duration)>,
    spool: RunSpool,
    layout: Layout,
    _dir: tempfile::TempDir,
}

/// As fast as the answers come.
pub(crate) fn closed(users: u32) -> LoadModel {
    LoadModel::Closed { start_users: users, users, ramp: Duration::ZERO, think: Duration::ZERO }
}

/// What makes the requests.
pub(crate) struct Scenario {
    pub(crate) guest: Arc<dyn Source>,
    /// What the guest is configured with, JSON.
    pub(crate) config: String,
    pub(crate) feeds: BTreeMap<String, Arc<Feeder>>,
}

impl From<Arc<dyn Source>> for Scenario {
    fn from(guest: Arc<dyn Source>) -> Self {
        Self { guest, config: "{}".to_owned(), feeds: BTreeMap::new() }
    }
}

impl Rig {
    /// Starts a thread whose one scenario addresses this endpoint.
    pub(crate) fn start(endpoint: Endpoint, http2: Option<u32>, scenario: Scenario) -> Result<Self> {
        let Scenario { guest, config, feeds } = scenario;
        let dir = tempfile::tempdir()?;
        let (steps, checks) = {
            let one = guest.instantiate(&config, SEED, 1)?;
            let setup = one.setup();
            (u32::try_from(setup.steps.len())?, u32::try_from(setup.checks.len())?)
        };
        let layout = Layout::new(vec![ScenarioLayout { steps, targets: vec![0], checks, metrics: 0 }]);
        let scenario = PhaseScenario {
            config,
            series: (0..steps).collect(),
            targets: 1,
            checks: (0..checks).collect(),
            metrics: vec![],
        };
        let owner = Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() };
        let (spool, mut recorders) = RunSpool::create(dir.path(), owner, layout.clone(), 1)?;
        let recorder = recorders.pop().ok_or("no recorder")?;
        let target = TargetSpec {
            name: "bare".into(),
            endpoints: vec![endpoint],
            balance: plan::model::Balance::RoundRobin,
            outlier_detection: None,
            http2,
            keep_alive: true,
        };
        let spec = ThreadSpec {
            index: 0,
            threads: 1,
            seed: SEED,
            scenarios: vec![ScenarioSpec {
                name: "get".into(),
                guest,
                targets: vec![0],
                timeout: Duration::from_secs(30),
                response_timeout: None,
                feeds,
            }],
            targets: vec![target],
            batch: 256,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            connect_rate: 10_000,
            max_head: 64 * 1024,
            max_body: 1024 * 1024,
            max_event: 64 * 1024,
            io_uring: true,
            lease: load_worker::lease::Lease::for_ever(),
        };
        let (sender, events) = channel();
        let handle = start(spec, recorder, move |event| {
            // On the load thread: its own CPU time goes with each event. A receiver that is gone needs none.
            let _ = sender.send((event, cpu()));
        })?;
        Ok(Self { handle, scenario, events, spool, layout, _dir: dir })
    }

    /// A phase that begins soon.
    pub(crate) fn phase(
        &self,
        number: u32,
        model: LoadModel,
        duration: Duration,
        connections: u32,
        users: u32,
    ) -> PhaseSpec {
        PhaseSpec {
            phase: number,
            t0: Instant::now() + Duration::from_millis(500),
            duration,
            model,
            share: Share::whole(),
            connections,
            total_connections: connections,
            users,
            total_users: users,
            capacity: users,
            max_waiting: 1_000_000,
            weights: vec![1.0],
            scenarios: vec![self.scenario.clone()],
        }
    }

    /// Begins a phase. Returns the CPU time that the thread has had.
    pub(crate) fn begin(&self, spec: PhaseSpec) -> Result<Duration> {
        self.handle.send(EngineCommand::StartPhase(Box::new(spec)));
        match self.events.recv()? {
            (EngineEvent::Started { .. }, cpu) => Ok(cpu),
            (other, _) => Err(format!("{other:?}").into()),
        }
    }

    /// Waits; nothing may happen until then that is worth an event.
    pub(crate) fn wait_until(&self, end: Instant) -> Result<()> {
        match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((event, _)) => Err(format!("{event:?}").into()),
            Err(_) => Ok(()),
        }
    }

    /// Tells the thread to end its phase.
    pub(crate) fn tell_end(&self, phase: u32) {
        self.handle.send(EngineCommand::EndPhase { phase, grace: Duration::from_secs(5), drains: false });
    }

    /// Waits for the end of a phase: what it counted, and the CPU time that the thread has had by then.
    pub(crate) fn ended(&self) -> Result<(v1::ArrivalCounts, Duration)> {
        match self.events.recv()? {
            (EngineEvent::PhaseEnded { arrivals, .. }, cpu) => Ok((arrivals, cpu)),
            (other, _) => Err(format!("{other:?}").into()),
        }
    }

    /// What was recorded since the last call.
    pub(crate) fn samples(&self) -> Result<v1::SampleBatch> {
        self.spool.ask_flip();
        while !self.spool.flipped() {
            self.handle.wake();
            std::thread::yield_now();
        }
        let interval = self.spool.read().ok_or("no interval")?;
        let sequence = interval.sequence;
        let batches = interval.into_batches(&self.layout, &v1::SampleBatch::default());
        self.spool.clear(sequence);
        Ok(batches.into_iter().next().ok_or("no batch")?)
    }

    /// Ends the thread.
    pub(crate) fn join(self) {
        self.handle.join();
    }
}

/// CPU time of the calling thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
