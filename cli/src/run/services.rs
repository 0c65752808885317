//! The services of a run: put together in this process, the only place where they meet, or deployed and reached by the bus.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{Address, Bus, CommandError, Credentials, NatsOptions};
use protocol::event::Entry;
use protocol::id::{RunId, WorkerId};
use protocol::message::Command;
use protocol::v1;
use scheduler::verdict::code;
use service::telemetry::{self, Telemetry};
use service::{OnError, ServiceError, Shutdown, Tasks};
use store::Store;
use tokio::sync::oneshot;

use super::Prepared;
use crate::args::{NatsArgs, TraceArgs};
use crate::failure::Failure;
use crate::run_dir::Api;
use crate::{guests, output};

/// How long a service in this process may take to answer a command; they are busy with nothing else.
const ANSWER: Duration = Duration::from_secs(10);

/// Who the command is on the bus.
const ROLE: &str = "cli";

/// The services, running.
pub(crate) struct Services {
    pub(crate) bus: Bus,
    pub(crate) shutdown: Shutdown,
    /// `None` = they are deployed, and go on without us.
    here: Option<Here>,
}

/// What there is of services in this process.
struct Here {
    store: Store,
    tasks: Tasks,
    failures: Failures,
    address: SocketAddr,
    /// Held as long as the services run.
    _lock: File,
}

/// What services failed with, with the exit codes that their errors stand for.
type Failures = Arc<Mutex<Vec<Failure>>>;

impl Services {
    /// Starts services in this process, or reaches those of a deployed suite.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Self::reach`].
    pub(crate) async fn open(prepared: &Prepared, nats: &NatsArgs, run_dir: &Path) -> Result<Self, Failure> {
        match &nats.nats {
            Some(url) => Self::reach(prepared, nats, url).await,
            None => Self::start(prepared, run_dir).await,
        }
    }

    /// Opens the store, starts all services, and returns when the scheduler takes commands.
    ///
    /// # Errors
    /// When the store or a port cannot be had, or another run uses the directory.
    async fn start(prepared: &Prepared, run_dir: &Path) -> Result<Self, Failure> {
        let report_dir = &prepared.report_dir;
        let lock = lock(report_dir)?;
        let store = Store::open(&report_dir.join("store.db"))?;
        let bus = Bus::in_process(store.clone(), &report_dir.join("objects"))?;
        let shutdown = Shutdown::new();
        let worker = WorkerId::new();
        let (ready, is_ready) = oneshot::channel();
        let scheduler = scheduler::Options {
            api: prepared.plan.control.api.clone(),
            ready: Some(ready),
            workers: vec![worker],
            // One process at a time uses a report directory: a run that a former one left is this one's to close.
            instance: "embedded".to_owned(),
            ..scheduler::Options::new(run_dir)
        };
        let load_worker = load_worker::Options {
            cache_dir: Some(guests::cache_dir().unwrap_or_else(|| report_dir.join("cache"))),
            compile: guests::compile()?,
            ..load_worker::Options::new(worker, report_dir.join("worker"))
        };
        let starting = Starting {
            tasks: Tasks::new(shutdown.clone()),
            failures: Failures::default(),
            bus: bus.clone(),
            store: store.clone(),
            shutdown: shutdown.clone(),
        };
        let metrics = metrics::Options { prometheus: prepared.prometheus, ..metrics::Options::default() };
        let chaos = chaos(report_dir)?;
        let recovery = recovery::Options::default();
        starting.spawn("metrics", |bus, store, shutdown| metrics::run(metrics, bus, store, shutdown));
        starting.spawn("load-worker", |bus, _, shutdown| load_worker::run(load_worker, bus, shutdown));
        starting.spawn("chaos", |bus, _, shutdown| chaos::run(chaos, bus, shutdown));
        starting.spawn("recovery", |bus, _, shutdown| recovery::run(recovery, bus, shutdown));
        starting.spawn("scheduler", |bus, store, shutdown| scheduler::run(scheduler, bus, store, shutdown));
        let Starting { tasks, failures, .. } = starting;
        let address = tokio::select! {
            address = is_ready => address.ok(),
            () = shutdown.triggered() => None,
        };
        let here = Here {
            store,
            tasks,
            failures,
            address: address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            _lock: lock,
        };
        let services = Self { bus, shutdown, here: Some(here) };
        if address.is_none() {
            let failures = services.stop("a service did not start", ANSWER).await;
            return Err(super::worst(failures).unwrap_or_else(|| Failure::bug("the scheduler did not start")));
        }
        Ok(services)
    }

    /// Reaches deployed services.
    ///
    /// # Errors
    /// When NATS is not there or does not let us in.
    async fn reach(prepared: &Prepared, args: &NatsArgs, url: &str) -> Result<Self, Failure> {
        let credentials = match &args.nats_password_file {
            Some(file) => {
                let secret = std::fs::read_to_string(file).map_err(|error| {
                    Failure::input(format!("--nats-password-file: cannot read {}: {error}", file.display()))
                })?;
                let user = args.nats_user.clone().unwrap_or_else(|| ROLE.to_owned());
                Some(Credentials { user, password: secret.trim_end_matches(['\r', '\n']).to_owned() })
            }
            None => None,
        };
        let options = NatsOptions {
            credentials,
            root_ca: args.nats_ca.clone(),
            ..NatsOptions::new(url, ROLE, prepared.report_dir.join("objects"))
        };
        Ok(Self { bus: Bus::connect(options).await?, shutdown: Shutdown::new(), here: None })
    }

    /// What `api.json` says of this run; `None` where the API is not ours.
    pub(crate) fn api(&self, run: RunId) -> Option<Api> {
        let here = self.here.as_ref()?;
        Some(Api { url: format!("http://{}", here.address), run: run.to_string(), pid: std::process::id() })
    }

    /// The entries of a run's history after a sequence.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(crate) async fn history(&self, run: RunId, after: u64) -> Result<Vec<Entry>, Failure> {
        if let Some(here) = &self.here {
            return Ok(here.store.history(run, after).await?);
        }
        let query = v1::QueryHistory { run: run.to_bytes(), after_sequence: after };
        self.ask(&query).await?.entries.into_iter().map(read_entry).collect()
    }

    /// Hands the bundle over and has the run created.
    ///
    /// # Errors
    /// When the scheduler finds problems in the plan, or cannot store the run.
    pub(crate) async fn create(&self, run: RunId, prepared: &Prepared) -> Result<(), Failure> {
        let (plan_digest, files) = prepared.bundle.put(&prepared.plan, &self.bus).await?;
        let base_dir = prepared.base_dir.to_string_lossy().into_owned();
        let create = v1::CreateRun { run: run.to_bytes(), plan_digest, files, base_dir };
        let reply = self.ask(&create).await?;
        if reply.problems.is_empty() { Ok(()) } else { Err(Failure::input(reply.problems.join("\n"))) }
    }

    /// Asks a service for something.
    ///
    /// # Errors
    /// When it does not answer, which in one process is a defect, or refuses.
    pub(crate) async fn ask<C: Command>(&self, command: &C) -> Result<C::Reply, Failure> {
        let (area, what) = C::SUBJECT;
        self.bus.command(&Address::Service, command, ANSWER).await.map_err(|error| match error {
            CommandError::Refused(why) => Failure::environment(format!("{area} refused {what}: {why}")),
            CommandError::Bus(error) => error.into(),
            lost => Failure::with_code(code::ABORTED, format!("lost service {area}: {lost}")),
        })
    }

    /// Whether they are deployed, and go on without us.
    pub(crate) const fn are_deployed(&self) -> bool {
        self.here.is_none()
    }

    /// Waits until all services have ended by themselves, at most `deadline`.
    pub(crate) async fn ended(&self, deadline: Duration) {
        let Some(here) = &self.here else { return };
        for task in here.tasks.finish(deadline).await {
            output::note(&format!("warning: {task} did not end within {deadline:?} and was given up"));
        }
    }

    /// Ends all services and says what they failed with.
    pub(crate) async fn stop(&self, reason: &str, deadline: Duration) -> Vec<Failure> {
        self.shutdown.trigger(reason);
        self.ended(deadline).await;
        let Some(here) = &self.here else { return Vec::new() };
        let mut failures = std::mem::take(&mut *here.failures.lock().unwrap_or_else(PoisonError::into_inner));
        for failure in here.tasks.failures() {
            // Errors are in `failures` with their codes; what is only here is a panic.
            if failure.is_panic() {
                failures.push(Failure::bug(failure.to_string()));
            }
        }
        here.store.clone().close().await;
        failures
    }
}

/// Reads an entry of a message.
///
/// # Errors
/// When its event is none that this version knows.
pub(crate) fn read_entry(message: v1::HistoryEntry) -> Result<Entry, Failure> {
    let v1::HistoryEntry { sequence, at_unix_ns, producer, event_json, .. } = message;
    let event = serde_json::from_str(&event_json)
        .map_err(|error| Failure::bug(format!("history entry {sequence}: {error}")))?;
    Ok(Entry { sequence, at_unix_ns, producer, event })
}

/// What is needed to start a service.
struct Starting {
    tasks: Tasks,
    failures: Failures,
    bus: Bus,
    store: Store,
    shutdown: Shutdown,
}

impl Starting {
    fn spawn<E, F>(&self, name: &'static str, run: impl FnOnce(Bus, Store, Shutdown) -> F)
    where
        E: ServiceError,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let failures = Arc::clone(&self.failures);
        let running = run(self.bus.clone(), self.store.clone(), self.shutdown.clone());
        let task = async move {
            running.await.map_err(|error| {
                let text = error.to_string();
                let failure = Failure::with_code(error.blame().exit_code(), text.clone());
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                text
            })
        };
        self.tasks.spawn(name, OnError::ShutDown, task);
    }
}

/// Chaos as part of this process; what carries faults out are processes of this program, which outlive it if need be.
fn chaos(report_dir: &Path) -> Result<chaos::Options, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::environment(format!("this program's own file is not known: {error}")))?;
    let with = |word: &str| [program.clone().into_os_string(), OsString::from(word)];
    Ok(chaos::Options::new(report_dir.join("chaos"), with(crate::FAULT_AGENT), with(crate::FAULT_PROXY)))
}

/// Two runs at once would read each other's samples, and steal each other's processor.
fn lock(report_dir: &Path) -> Result<File, Failure> {
    let path = report_dir.join("store.lock");
    let file = File::create(&path).map_err(|error| {
        Failure::environment(format!(
            "cannot write {}: {error}; free space there, or choose another directory with --report-dir",
            path.display()
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::environment(format!(
            "another run is under way in {}; wait for its end, or choose another directory with --report-dir",
            report_dir.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(Failure::environment(format!("cannot lock {}: {error}", path.display())))
        }
    }
}

/// Logs of the run go into its directory, for the terminal is taken; its trace to a collector, if there is one.
pub(crate) fn log_to(path: &Path, traces: &TraceArgs) -> Option<Telemetry> {
    let collector = traces.otlp_url.clone();
    let options = telemetry::Options {
        output: telemetry::Output::File(path.to_owned()),
        traces: collector.map(|collector| otlp::Options {
            collector,
            ratio: traces.trace_ratio,
            service: "gauntlet".to_owned(),
        }),
        ..telemetry::Options::default()
    };
    // A run without a log is better than none; its directory has been written to a moment ago.
    telemetry::init(&options).map_err(|error| output::note(&format!("warning: {error}"))).ok()
}
