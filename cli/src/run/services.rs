//! The services of a run, put together in this process: the only place where they meet.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{Address, Bus, CommandError};
use protocol::id::{RunId, WorkerId};
use protocol::message::Command;
use protocol::v1;
use scheduler::verdict::code;
use service::telemetry::{self, Telemetry};
use service::{OnError, Shutdown, Tasks};
use store::Store;
use tokio::sync::oneshot;

use super::Prepared;
use crate::failure::Failure;
use crate::run_dir::Api;
use crate::{guests, output};

/// How long a service in this process may take to answer a command; they are busy with nothing else.
const ANSWER: Duration = Duration::from_secs(10);

/// How the failure of a task begins that panicked.
const PANICKED: &str = "panicked";

/// The services, running.
pub(crate) struct Services {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) shutdown: Shutdown,
    tasks: Tasks,
    failures: Failures,
    address: SocketAddr,
    /// Held as long as the services run.
    _lock: File,
}

/// What services failed with, with the exit codes that their errors stand for.
type Failures = Arc<Mutex<Vec<Failure>>>;

impl Services {
    /// Opens the store, starts all services, and returns when the scheduler takes commands.
    ///
    /// # Errors
    /// When the store or a port cannot be had, or another run uses the directory.
    pub(crate) async fn start(prepared: &Prepared, run_dir: &Path) -> Result<Self, Failure> {
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
        starting.spawn("metrics", |bus, store, shutdown| metrics::run(metrics, bus, store, shutdown));
        starting
            .spawn("load-worker", |bus, store, shutdown| load_worker::run(load_worker, bus, store, shutdown));
        starting.spawn("scheduler", |bus, store, shutdown| scheduler::run(scheduler, bus, store, shutdown));
        let Starting { tasks, failures, .. } = starting;
        let address = tokio::select! {
            address = is_ready => address.ok(),
            () = shutdown.triggered() => None,
        };
        let mut services =
            Self { bus, store, shutdown, tasks, failures, address: ([127, 0, 0, 1], 0).into(), _lock: lock };
        match address {
            Some(address) => services.address = address,
            None => {
                let failures = services.stop("a service did not start", ANSWER).await;
                return Err(
                    super::worst(failures).unwrap_or_else(|| Failure::bug("the scheduler did not start"))
                );
            }
        }
        Ok(services)
    }

    /// What `api.json` says of this run.
    pub(crate) fn api(&self, run: RunId) -> Api {
        Api { url: format!("http://{}", self.address), run: run.to_string(), pid: std::process::id() }
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

    /// Waits until all services have ended by themselves, at most `deadline`.
    pub(crate) async fn ended(&self, deadline: Duration) {
        for task in self.tasks.finish(deadline).await {
            output::note(&format!("warning: {task} did not end within {deadline:?} and was given up"));
        }
    }

    /// Ends all services and says what they failed with.
    pub(crate) async fn stop(&self, reason: &str, deadline: Duration) -> Vec<Failure> {
        self.shutdown.trigger(reason);
        self.ended(deadline).await;
        let mut failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        for failure in self.tasks.failures() {
            // Errors are in `failures` with their codes; what is only here is a panic.
            if failure.message.starts_with(PANICKED) {
                failures.push(Failure::bug(failure.to_string()));
            }
        }
        self.store.clone().close().await;
        failures
    }
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
                let failure = Failure::with_code(error.code(), text.clone());
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                text
            })
        };
        self.tasks.spawn(name, OnError::ShutDown, task);
    }
}

/// A service's error as an exit code.
trait ServiceError: std::error::Error + Send + 'static {
    fn code(&self) -> u8;
}

impl ServiceError for scheduler::Error {
    fn code(&self) -> u8 {
        self.exit_code()
    }
}

impl ServiceError for metrics::Error {
    fn code(&self) -> u8 {
        match self {
            Self::NotLoopback(_) => code::BAD_INPUT,
            Self::Store(error) if !error.is_environment() => code::BUG,
            Self::Task(failure) if failure.message.starts_with(PANICKED) => code::BUG,
            _ => code::ENVIRONMENT,
        }
    }
}

impl ServiceError for load_worker::Error {
    fn code(&self) -> u8 {
        match self {
            // What a load thread meets in the world it counts; it ends by our own fault only.
            Self::LoadThread { .. } => code::BUG,
            _ => code::ENVIRONMENT,
        }
    }
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

/// Logs of the run go into its directory, for the terminal is taken.
pub(crate) fn log_to(path: &Path) -> Option<Telemetry> {
    let options = telemetry::Options {
        output: telemetry::Output::File(path.to_owned()),
        ..telemetry::Options::default()
    };
    // A run without a log is better than none; its directory has been written to a moment ago.
    telemetry::init(&options).map_err(|error| output::note(&format!("warning: {error}"))).ok()
}
