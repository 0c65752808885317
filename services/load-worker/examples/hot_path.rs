//! A fixed number of requests by one load thread, with a native generator in the guest's place: what `cargo xtask bench
//! hot-path` counts instructions and system calls of. Prints how often memory was allocated, as JSON.
//!
//! `hot_path ADDR TURNS [connections]`
#![expect(clippy::print_stdout, reason = "an example talks to who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use load_worker::engine::{Generator, Source, start};
use load_worker::record::{Layout, Owner, RunSpool, ScenarioLayout};
use load_worker::schedule::Share;
use load_worker::spec::{
    Endpoint, EngineCommand, EngineEvent, PhaseScenario, PhaseSpec, ScenarioSpec, TargetSpec, ThreadSpec,
};
use plan::model::LoadModel;
use protocol::id::{IncarnationId, RunId, WorkerId};
use sandbox::{Fault, abi};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Allocations in the generator's own calls: it gives its output away each time.
static IN_GENERATOR: AtomicU64 = AtomicU64::new(0);

/// Calls of the generator.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often memory was asked for so far, in the whole process.
fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    u64::try_from(stats.allocations.saturating_add(stats.reallocations)).unwrap_or(u64::MAX)
}

/// Tells when so many turns have begun.
#[derive(Clone)]
struct Limit {
    turns: u64,
    reached: Sender<()>,
}

/// One GET a turn, nothing heard of the answer.
struct Get {
    setup: abi::Setup,
    limit: Option<Limit>,
    begun: u64,
}

impl Generator for Get {
    fn setup(&self) -> &abi::Setup {
        &self.setup
    }

    fn step(
        &mut self,
        _: u64,
        starts: &[abi::Start],
        _: &[abi::Completion],
        _: &[u8],
    ) -> Result<abi::Output, Fault> {
        let before = allocations();
        let none = abi::Slice { off: 0, len: 0 };
        let request = |start: &abi::Start| abi::Request {
            user: start.user,
            seq: 0,
            operation: 0,
            step: 0,
            endpoint: 0,
            method: 0,
            delay_us: 0,
            timeout_us: 0,
            attempt: 0,
            connection: abi::Connection::Any,
            interest: abi::Interest::empty(),
            target: abi::Slice { off: 0, len: 1 },
            headers: none,
            body: none,
        };
        let output = abi::Output {
            arena: b"/".to_vec(),
            requests: starts.iter().map(request).collect(),
            verdicts: vec![],
            finished: starts.iter().map(|start| abi::Finish { user: start.user, think_us: 0 }).collect(),
            commands: vec![],
        };
        IN_GENERATOR.fetch_add(allocations() - before, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        self.begun += starts.len() as u64;
        if let Some(limit) = self.limit.take_if(|limit| self.begun >= limit.turns) {
            // Whoever does not listen needs to hear nothing.
            let _ = limit.reached.send(());
        }
        Ok(output)
    }
}

struct Gets(Limit);

impl Source for Gets {
    fn instantiate(&self, _: &str, _: u64, _: u32) -> Result<Box<dyn Generator>, String> {
        let setup = abi::Setup {
            steps: vec!["get".into()],
            checks: vec![],
            metrics: vec![],
            methods: vec!["GET".into()],
            feeds: vec![],
            expectations: vec![],
            body_limit: 0,
            stateless: true,
        };
        Ok(Box::new(Get { setup, limit: Some(self.0.clone()), begun: 0 }))
    }
}

fn thread(addr: SocketAddr, limit: Limit) -> ThreadSpec {
    let endpoint = Endpoint {
        url: format!("http://{addr}"),
        tls: None,
        addrs: vec![addr],
        host_header: addr.to_string(),
        base_path: String::new(),
        socket: None,
        tunnel: None,
        detour: None,
    };
    ThreadSpec {
        index: 0,
        threads: 1,
        seed: 7,
        scenarios: vec![ScenarioSpec {
            name: "get".into(),
            guest: Arc::new(Gets(limit)),
            targets: vec![0],
            timeout: Duration::from_secs(30),
            feeds: BTreeMap::new(),
        }],
        targets: vec![TargetSpec { name: "bare".into(), http2: None, endpoints: vec![endpoint] }],
        batch: 256,
        connect_timeout: Duration::from_secs(10),
        max_head: 64 * 1024,
        max_body: 1024 * 1024,
        max_event: 64 * 1024,
        lease: load_worker::lease::Lease::for_ever(),
    }
}

/// As fast as the answers come, until it is told to end.
fn phase(connections: u32) -> PhaseSpec {
    PhaseSpec {
        phase: 1,
        t0: Instant::now() + Duration::from_millis(500),
        duration: Duration::from_secs(3_600),
        model: LoadModel::Closed {
            start_users: connections,
            users: connections,
            ramp: Duration::ZERO,
            think: Duration::ZERO,
        },
        share: Share::whole(),
        connections,
        total_connections: connections,
        users: connections,
        total_users: connections,
        capacity: connections,
        max_waiting: 1_000_000,
        weights: vec![1.0],
        scenarios: vec![PhaseScenario {
            config: "{}".into(),
            series: vec![0],
            targets: 1,
            checks: vec![],
            metrics: vec![],
        }],
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, turns, rest @ ..] = args.as_slice() else {
        return Err("hot_path wants ADDR and TURNS".into());
    };
    let connections = rest.first().map_or(Ok(64), |connections| connections.parse())?;
    let dir = tempfile::tempdir()?;
    let layout = Layout::new(vec![ScenarioLayout { steps: 1, targets: vec![0], checks: 0, metrics: 0 }]);
    let owner = Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() };
    let (_spool, mut recorders) = RunSpool::create(dir.path(), owner, layout, 1)?;
    let recorder = recorders.pop().ok_or("no recorder")?;
    let (reached, limit) = channel();
    let (sender, events) = channel();
    let handle =
        start(thread(addr.parse()?, Limit { turns: turns.parse()?, reached }), recorder, move |event| {
            // A receiver that is gone needs none.
            let _ = sender.send(event);
        })?;
    handle.send(EngineCommand::StartPhase(Box::new(phase(connections))));
    events.recv()?;
    limit.recv_timeout(Duration::from_secs(600)).map_err(|_| "not so many turns within ten minutes")?;
    handle.send(EngineCommand::EndPhase { phase: 1, grace: Duration::from_secs(5) });
    let event = events.recv()?;
    let allocations = allocations();
    let EngineEvent::PhaseEnded { arrivals, .. } = event else { return Err(format!("{event:?}").into()) };
    println!(
        "{}",
        serde_json::json!({
            "requests": arrivals.answered,
            "failed": arrivals.failed + arrivals.dropped,
            "allocations": allocations,
            "allocations_in_generator": IN_GENERATOR.load(Ordering::Relaxed),
            "generator_calls": CALLS.load(Ordering::Relaxed),
        })
    );
    handle.join();
    Ok(())
}
