//! A load thread with everything around it that a test needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plan::model::{Arrivals, LoadModel};
use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;
use sandbox::{Fault, abi};

use crate::engine::{Generator, Source, ThreadHandle};
use crate::record::{Layout, Owner, Recorder, RunSpool, ScenarioLayout};
use crate::schedule::Share;
use crate::spec::{
    Endpoint, EngineCommand, EngineEvent, PhaseScenario, PhaseSpec, ScenarioSpec, TargetSpec, ThreadSpec,
};

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

type Step = dyn FnMut(&[abi::Start], &[abi::Completion], &[u8]) -> Result<abi::Output, Fault> + Send;

/// A generator made of a closure.
pub(super) struct Native {
    setup: abi::Setup,
    step: Box<Step>,
}

impl Generator for Native {
    fn setup(&self) -> &abi::Setup {
        &self.setup
    }

    fn step(
        &mut self,
        _: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> Result<abi::Output, Fault> {
        (self.step)(starts, done, arena)
    }
}

/// Makes generators of closures.
pub(super) struct Script<F> {
    pub(super) setup: abi::Setup,
    pub(super) make: F,
}

impl<F: Fn() -> Box<Step> + Send + Sync> Source for Script<F> {
    fn instantiate(&self, _: &str, _: u64, _: u32) -> Result<Box<dyn Generator>, String> {
        Ok(Box::new(Native { setup: self.setup.clone(), step: (self.make)() }))
    }
}

/// A setup of one step, with GET, POST and HEAD.
pub(super) fn setup() -> abi::Setup {
    abi::Setup {
        steps: vec!["step".into()],
        checks: vec!["check".into()],
        metrics: vec!["metric".into()],
        methods: vec!["GET".into(), "POST".into(), "HEAD".into()],
        feeds: vec![],
        expectations: vec![],
        body_limit: 1024,
        stateless: true,
    }
}

pub(super) const GET: u32 = 0;
pub(super) const POST: u32 = 1;
pub(super) const HEAD: u32 = 2;

pub(crate) fn empty() -> abi::Output {
    abi::Output { arena: vec![], requests: vec![], verdicts: vec![], finished: vec![], commands: vec![] }
}

/// Appends a request to `/user/seq` to an output.
pub(super) fn request(output: &mut abi::Output, user: u32, seq: u32) -> &mut abi::Request {
    let off = u32::try_from(output.arena.len()).unwrap();
    output.arena.extend_from_slice(format!("/{user}/{seq}").as_bytes());
    let len = u32::try_from(output.arena.len()).unwrap() - off;
    let none = abi::Slice { off: 0, len: 0 };
    output.requests.push(abi::Request {
        user,
        seq,
        operation: 0,
        step: 0,
        endpoint: 0,
        method: GET,
        delay_us: 0,
        timeout_us: 0,
        attempt: 0,
        connection: abi::Connection::Any,
        interest: abi::Interest::empty(),
        target: abi::Slice { off, len },
        headers: none,
        body: none,
    });
    output.requests.last_mut().unwrap()
}

pub(super) fn finish(output: &mut abi::Output, user: u32) {
    output.finished.push(abi::Finish { user, think_us: 0 });
}

/// Fires one request a turn, changed by `tweak`, and asks for no answer.
pub(super) fn fire(tweak: impl Fn(&mut abi::Request) + Send + Sync + Clone + 'static) -> Arc<dyn Source> {
    let make = move || -> Box<Step> {
        let tweak = tweak.clone();
        Box::new(move |starts, _, _| {
            let mut output = empty();
            for start in starts {
                let seq = u32::try_from(start.arrival & 0xffff_ffff).unwrap();
                tweak(request(&mut output, start.user, seq));
                finish(&mut output, start.user);
            }
            Ok(output)
        })
    };
    Arc::new(Script { setup: setup(), make })
}

/// A source of a closure that makes step functions.
pub(super) fn script<F, S>(setup: abi::Setup, make: F) -> Arc<dyn Source>
where
    F: Fn() -> S + Send + Sync + 'static,
    S: FnMut(&[abi::Start], &[abi::Completion], &[u8]) -> Result<abi::Output, Fault> + Send + 'static,
{
    Arc::new(Script { setup, make: move || -> Box<Step> { Box::new(make()) } })
}

/// A guest whose call with arrival `at` takes so long, once; it notes the arrivals that it hears of.
pub(super) fn stalling(at: u64, stall: Duration, heard: &Arc<Mutex<Vec<u64>>>) -> Arc<dyn Source> {
    let heard = Arc::clone(heard);
    script(setup(), move || {
        let heard = Arc::clone(&heard);
        let mut stalled = false;
        move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                let number = start.arrival & ((1 << 40) - 1);
                heard.lock().unwrap().push(number);
                if number >= at && !std::mem::replace(&mut stalled, true) {
                    until(Instant::now() + stall);
                }
                request(&mut output, start.user, u32::try_from(number).unwrap());
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    })
}

pub(crate) fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint::plain(addr)
}

/// A target that speaks HTTP/1.1 and whose endpoints are used in turn.
pub(crate) fn target(endpoints: Vec<Endpoint>) -> TargetSpec {
    TargetSpec {
        name: "target".into(),
        endpoints,
        balance: plan::model::Balance::RoundRobin,
        outlier_detection: None,
        http2: None,
        keep_alive: true,
    }
}

/// A scenario for the first target.
pub(crate) fn scenario(guest: Arc<dyn Source>) -> ScenarioSpec {
    ScenarioSpec {
        name: "scenario".into(),
        guest,
        targets: vec![0],
        timeout: Duration::from_secs(20),
        response_timeout: None,
        feeds: BTreeMap::new(),
    }
}

/// The only load thread.
pub(crate) fn thread(scenarios: Vec<ScenarioSpec>, targets: Vec<TargetSpec>) -> ThreadSpec {
    ThreadSpec {
        index: 0,
        threads: 1,
        seed: 7,
        scenarios,
        targets,
        batch: 64,
        connect_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        connect_rate: 10_000,
        max_head: 64 * 1024,
        max_body: 1024 * 1024,
        max_event: 64 * 1024,
        io_uring: true,
        lease: crate::lease::Lease::for_ever(),
    }
}

/// Constant rate, evenly spaced.
pub(super) fn rate(rate: f64) -> LoadModel {
    LoadModel::Open { start_rate: rate, rate, ramp: Duration::ZERO, arrivals: Arrivals::Even }
}

pub(super) fn closed(users: u32) -> LoadModel {
    LoadModel::Closed { start_users: users, users, ramp: Duration::ZERO, think: Duration::ZERO }
}

/// Where a load thread's samples go, and what its phases consist of.
pub(super) struct Around {
    pub(super) spool: RunSpool,
    layout: Layout,
    scenarios: usize,
    steps: u32,
    _dir: tempfile::TempDir,
}

impl Around {
    /// Scenarios of so many steps each that all address one target.
    pub(super) fn new(
        steps: u32,
        endpoints: Vec<Endpoint>,
        guests: Vec<Arc<dyn Source>>,
    ) -> (Self, ThreadSpec, Recorder) {
        let dir = tempfile::tempdir().unwrap();
        let count = guests.len();
        let one = ScenarioLayout { steps, targets: vec![0], checks: 1, metrics: 1 };
        let layout = Layout::new(vec![one; count]);
        let owner = Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() };
        let (spool, mut recorders) = RunSpool::create(dir.path(), owner, layout.clone(), 1).unwrap();
        let scenarios = guests.into_iter().map(scenario).collect();
        let spec = thread(scenarios, vec![target(endpoints)]);
        (Self { spool, layout, scenarios: count, steps, _dir: dir }, spec, recorders.remove(0))
    }

    pub(super) fn phase(&self, model: LoadModel, duration: Duration) -> PhaseSpec {
        PhaseSpec {
            phase: 1,
            t0: Instant::now() + Duration::from_millis(50),
            duration,
            model,
            share: Share::whole(),
            connections: 4,
            total_connections: 4,
            users: 4,
            total_users: 4,
            capacity: 8,
            max_waiting: 1_000_000,
            weights: vec![1.0; self.scenarios],
            scenarios: (0..u32::try_from(self.scenarios).unwrap())
                .map(|scenario| PhaseScenario {
                    config: "{}".into(),
                    series: (0..self.steps)
                        .map(|step| self.layout.series(scenario, step, 0).unwrap())
                        .collect(),
                    targets: 1,
                    checks: vec![0],
                    metrics: vec![0],
                })
                .collect(),
        }
    }

    /// The samples of the interval that the thread has flipped out of.
    pub(super) fn flipped(&mut self) -> v1::SampleBatch {
        let interval = self.spool.read().expect("an interval");
        let interval_sequence = interval.sequence;
        let mut batches = interval.into_batches(&self.layout, &v1::SampleBatch::default());
        self.spool.clear(interval_sequence);
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }
}

pub(super) struct Rig {
    pub(super) handle: ThreadHandle,
    pub(super) events: Receiver<EngineEvent>,
    around: Around,
}

impl Rig {
    /// Scenarios that all address one target.
    pub(super) fn new(endpoints: Vec<Endpoint>, guests: Vec<Arc<dyn Source>>) -> Self {
        Self::with(endpoints, guests, |_| {})
    }

    pub(super) fn with(
        endpoints: Vec<Endpoint>,
        guests: Vec<Arc<dyn Source>>,
        tweak: impl FnOnce(&mut ThreadSpec),
    ) -> Self {
        Self::with_steps(1, endpoints, guests, tweak)
    }

    /// Scenarios of so many steps each.
    pub(super) fn with_steps(
        steps: u32,
        endpoints: Vec<Endpoint>,
        guests: Vec<Arc<dyn Source>>,
        tweak: impl FnOnce(&mut ThreadSpec),
    ) -> Self {
        let (around, mut spec, recorder) = Around::new(steps, endpoints, guests);
        tweak(&mut spec);
        let (sender, events) = channel();
        let handle = crate::engine::start(spec, recorder, move |event| {
            let _ = sender.send(event);
        })
        .unwrap();
        Self { handle, events, around }
    }

    pub(super) fn phase(&self, model: LoadModel, duration: Duration) -> PhaseSpec {
        self.around.phase(model, duration)
    }

    /// Begins a phase.
    pub(super) fn begin(&self, spec: &PhaseSpec) {
        assert!(self.handle.send(EngineCommand::StartPhase(Box::new(spec.clone()))));
        match self.next() {
            EngineEvent::Started { phase, .. } => assert_eq!(phase, spec.phase),
            other => panic!("expected the start, got {other:?}"),
        }
    }

    pub(super) fn next(&self) -> EngineEvent {
        self.events.recv_timeout(PATIENCE).expect("an event of the load thread")
    }

    /// Ends a phase and returns its totals; other events before that are returned too.
    pub(super) fn end(&self, phase: u32, grace: Duration) -> (v1::ArrivalCounts, Vec<EngineEvent>) {
        self.end_as(phase, grace, false)
    }

    /// The same; what waits may begin within the grace if it `drains`.
    pub(super) fn end_as(
        &self,
        phase: u32,
        grace: Duration,
        drains: bool,
    ) -> (v1::ArrivalCounts, Vec<EngineEvent>) {
        assert!(self.handle.send(EngineCommand::EndPhase { phase, grace, drains }));
        let mut others = Vec::new();
        loop {
            match self.next() {
                EngineEvent::PhaseEnded { arrivals, .. } => {
                    closes(&arrivals);
                    return (arrivals, others);
                }
                other => others.push(other),
            }
        }
    }

    /// A whole phase: begin, its length and some time for what waits, end.
    pub(super) fn run(&self, spec: &PhaseSpec, grace: Duration) -> v1::ArrivalCounts {
        self.begin(spec);
        until(spec.t0 + spec.duration + Duration::from_millis(300));
        self.end(spec.phase, grace).0
    }

    /// What was recorded since the last call, all parts of it.
    pub(super) fn samples(&mut self) -> v1::SampleBatch {
        assert!(self.around.spool.ask_flip());
        self.handle.wake();
        wait_for("a flip", || self.around.spool.flipped());
        self.around.flipped()
    }
}

/// R9.3 of a phase that is over.
pub(super) fn closes(counts: &v1::ArrivalCounts) {
    assert_eq!(counts.scheduled, counts.dropped + counts.waiting + counts.started, "{counts:?}");
    assert_eq!(counts.started, counts.answered + counts.failed + counts.cancelled, "{counts:?}");
    assert_eq!(counts.in_flight, 0, "{counts:?}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for its phase's end has nothing else to wait on"
)]
pub(super) fn until(instant: Instant) {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
}

#[expect(clippy::disallowed_methods, reason = "polls a condition of another thread, with a deadline")]
pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
