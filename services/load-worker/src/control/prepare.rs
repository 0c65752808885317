//! From the command `PrepareRun` to load threads that wait for their first phase, or to all that stands against it.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus::{Bus, SchedulerClock};
use plan::Plan;
use plan::model::Phase;
use protocol::id::{IncarnationId, RunId};
use protocol::v1;
use sandbox::{Host, HostConfig, Limits};
use tokio::sync::mpsc;

use super::active::{Active, GuestName, Setting};
use super::guests::{Loader, Prepared};
use super::health::HealthChecks;
use super::phases::{Shape, parts};
use super::{Options, endpoints, room, trial};
use crate::engine;
use crate::lease::Lease;
use crate::record::{Layout, Owner, RunSpool, ScenarioLayout};
use crate::spec::{EngineEvent, TargetSpec, ThreadSpec};

/// Whose a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plan,
    Guest,
    Environment,
}

/// A problem as the reply carries it.
pub(super) fn problem(kind: Kind, message: impl Into<String>, mend: impl Into<String>) -> v1::Problem {
    let kind = match kind {
        Kind::Plan => "plan",
        Kind::Guest => "guest",
        Kind::Environment => "environment",
    };
    v1::Problem { message: message.into(), mend: mend.into(), kind: kind.to_owned() }
}

/// Events of load threads that may wait for the service loop.
const EVENTS: usize = 1_024;

/// By which clock, and until when, a worker sends.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) clock: SchedulerClock,
    pub(super) lease: Lease,
}

/// Prepares a run. With problems nothing is left behind: no thread, no spool.
pub(super) async fn prepare(
    options: &Options,
    bus: &Bus,
    terms: &Terms,
    run: RunId,
    command: &v1::PrepareRun,
) -> Result<Box<Active>, Vec<v1::Problem>> {
    if options.apart.is_some() && terms.clock.offset().is_none() {
        // The first phase must not begin by a clock that nobody has looked at.
        terms.clock.measure(bus).await;
    }
    let (plan, files) = fetch(bus, command).await?;
    let plan = Arc::new(plan);
    let phases: Arc<[Phase]> = plan.scaled().into();
    let segment =
        command.segment.clone().unwrap_or_else(|| v1::Segment { stripe_count: 1, stripes: vec![0] });
    let threads = load_threads(options, &plan);

    let load = {
        let (plan, phases, files) = (Arc::clone(&plan), Arc::clone(&phases), files.clone());
        let config = host_config(options, &plan, threads);
        move || load(&plan, &phases, &files, config)
    };
    let mut problems = Vec::new();
    let timeout = options.resolve_timeout;
    let resolving = endpoints::resolve(&plan.targets, &command.detours, &files, timeout, &mut problems);
    let (loaded, targets) = tokio::join!(tokio::task::spawn_blocking(load), resolving);
    let (scenarios, guest_problems) = loaded.unwrap_or_else(|e| {
        let message = format!("guests could not be loaded: {e}");
        (Vec::new(), vec![problem(Kind::Guest, message, "report this as a bug")])
    });
    problems.splice(0..0, guest_problems);
    if !problems.is_empty() {
        return Err(problems);
    }

    let layout = Layout::new(scenarios.iter().map(layout_of).collect());
    let weights: Vec<f64> = plan.scenarios.iter().map(|s| s.weight).collect();
    let parts = parts(&scenarios, &layout);
    let shape = Shape { segment: &segment, threads, weights: &weights, scenarios: &parts };
    room::open_files(&shape, &phases).map_err(|p| vec![p])?;
    room::local_ports(&shape, &phases, &scenarios, &targets).map_err(|p| vec![p])?;

    let dir = match command.spool_dir.as_str() {
        "" => spool_dir(&options.state_dir),
        dir => PathBuf::from(dir),
    };
    let owner = Owner { run, worker: options.worker, incarnation: IncarnationId::new() };
    if command.trial {
        let thread = thread_spec(&plan, &scenarios, &targets, 0, 1, &terms.lease);
        let stage =
            trial::Stage { plan: &plan, phases: &phases, scenarios: &scenarios, thread, owner, dir: &dir };
        // Whoever shares the run plays a turn of its own.
        let first = segment.stripes.first().copied().unwrap_or(0);
        let problems = stage.play(first).await;
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    let (spool, recorders) = RunSpool::create(&dir, owner, layout, threads)
        .map_err(|e| vec![problem(Kind::Environment, e.to_string(), e.mend())])?;
    let (events, inbox) = mpsc::channel(EVENTS);
    let faults_lost = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::with_capacity(recorders.len());
    for (index, recorder) in (0..).zip(recorders) {
        let spec = thread_spec(&plan, &scenarios, &targets, index, threads, &terms.lease);
        match engine::start(spec, recorder, teller(events.clone(), Arc::clone(&faults_lost))) {
            Ok(handle) => handles.push(handle),
            Err(e) => {
                super::active::discard(handles, &spool).await;
                let message = format!("load thread {index} cannot be started: {e}");
                let mend = "allow this user more threads (`ulimit -u`), or set fewer `load.threads`";
                return Err(vec![problem(Kind::Environment, message, mend)]);
            }
        }
    }
    let guests =
        scenarios.iter().map(|s| GuestName { guest: s.guest.clone(), digest: s.digest.clone() }).collect();
    let reply = v1::PrepareRunReply {
        problems: Vec::new(),
        scenarios: scenarios.iter().map(|s| s.names.message()).collect(),
        load_threads: threads,
        guest_ns: scenarios.iter().map(|s| s.guest_ns).collect(),
        incarnation: owner.incarnation.to_bytes(),
        clock_offset_ns: terms.clock.offset().map(|offset| offset.ns),
        clock_error_ns: terms.clock.offset().map_or(0, |offset| offset.error_ns),
    };
    let setting = Setting { plan, phases, segment, weights, parts, guests, reply };
    let health = HealthChecks::start(&setting.plan, &targets);
    Ok(Box::new(Active::new(setting, terms.clock.clone(), spool, handles, health, inbox, faults_lost)))
}

/// Takes a load thread's events to the service loop. Faults and ejections may be many: those that find no room are counted. The others
/// are few, and the thread waits with them.
fn teller(events: mpsc::Sender<EngineEvent>, faults_lost: Arc<AtomicU64>) -> impl FnMut(EngineEvent) + Send {
    move |event| {
        let fault = matches!(event, EngineEvent::GuestFault { .. } | EngineEvent::Ejection { .. });
        let told = if fault { events.try_send(event).is_ok() } else { events.blocking_send(event).is_ok() };
        if fault && !told {
            faults_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where a worker's spools are.
pub(super) fn spool_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}

/// The plan and, by name, where each file of the bundle is, verified.
async fn fetch(
    bus: &Bus,
    command: &v1::PrepareRun,
) -> Result<(Plan, BTreeMap<String, PathBuf>), Vec<v1::Problem>> {
    let environment = |what: &str, e: &dyn std::fmt::Display| {
        problem(
            Kind::Environment,
            format!("{what} of the bundle: {e}"),
            "start the run anew, so that it is bundled again",
        )
    };
    let mut problems = Vec::new();
    let mut files = BTreeMap::new();
    for file in &command.files {
        match bus.fetch_object(&file.digest).await {
            Ok(path) => {
                files.insert(file.name.clone(), path);
            }
            Err(e) => problems.push(environment(&file.name, &e)),
        }
    }
    let path = bus.fetch_object(&command.plan_digest).await.map_err(|e| vec![environment("the plan", &e)])?;
    let text = tokio::fs::read_to_string(&path).await.map_err(|e| vec![environment("the plan", &e)])?;
    match plan::parse(&text, Path::new("plan.toml")) {
        Ok(plan) if problems.is_empty() => Ok((plan, files)),
        Ok(_) => Err(problems),
        Err(e) => {
            problems.push(problem(
                Kind::Plan,
                e.to_string(),
                "mend the plan; `gauntlet plan check` shows the same",
            ));
            Err(problems)
        }
    }
}

fn load(
    plan: &Plan,
    phases: &[Phase],
    files: &BTreeMap<String, PathBuf>,
    config: HostConfig,
) -> (Vec<Prepared>, Vec<v1::Problem>) {
    match Host::new(config) {
        Ok(host) => Loader::new(plan, phases, files, &host).load(),
        Err(e) => {
            let mend = "give the worker a state directory of its own that it may write to";
            (Vec::new(), vec![problem(Kind::Environment, e.to_string(), mend)])
        }
    }
}

fn host_config(options: &Options, plan: &Plan, threads: u32) -> HostConfig {
    let guest = &plan.load.guest;
    let scenarios = u32::try_from(plan.scenarios.len()).unwrap_or(u32::MAX);
    HostConfig {
        limits: Limits {
            call_deadline: guest.call_deadline,
            memory_bytes: guest.memory,
            memory_bytes_per_user: guest.memory_per_user,
            output_bytes: usize::try_from(guest.output).unwrap_or(usize::MAX),
            log_lines_per_second: guest.log_lines,
            ..Limits::default()
        },
        cache_dir: options.cache_dir.clone(),
        compile: options.compile.clone(),
        // Each thread has one of each scenario, and for a moment two: a phase's instance is made before the former's is
        // dropped. The rest is for configuring and probing.
        instances: threads.saturating_mul(scenarios).saturating_mul(2).saturating_add(4),
        ..HostConfig::default()
    }
}

/// Load threads: the worker's own setting, the plan's, or cores − 1 (the target or the suite mostly shares the host).
fn load_threads(options: &Options, plan: &Plan) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let default = || u32::try_from(cores.saturating_sub(1)).unwrap_or(1);
    options.threads.or(plan.load.threads).unwrap_or_else(default).max(1)
}

/// What this worker's heartbeats announce before it knows a plan.
pub(super) fn announced_threads(options: &Options) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    options.threads.unwrap_or_else(|| u32::try_from(cores.saturating_sub(1)).unwrap_or(1)).max(1)
}

fn layout_of(scenario: &Prepared) -> ScenarioLayout {
    ScenarioLayout {
        steps: scenario.names.steps.len() as u32,
        targets: scenario.spec.targets.clone(),
        checks: scenario.names.checks.len() as u32,
        metrics: scenario.names.metrics.len() as u32,
    }
}

fn thread_spec(
    plan: &Plan,
    scenarios: &[Prepared],
    targets: &[TargetSpec],
    index: u32,
    threads: u32,
    lease: &Lease,
) -> ThreadSpec {
    ThreadSpec {
        index,
        threads,
        seed: plan.seed,
        scenarios: scenarios.iter().map(|s| s.spec.clone()).collect(),
        targets: targets.to_vec(),
        batch: plan.load.batch.max(1),
        connect_timeout: plan.load.connect_timeout,
        handshake_timeout: plan.load.handshake_timeout,
        connect_rate: plan.load.connect_rate,
        max_head: plan.load.max_head,
        max_body: plan.load.max_body,
        max_event: plan.load.max_event,
        io_uring: plan.load.io_uring,
        lease: lease.clone(),
    }
}
