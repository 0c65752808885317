//! What the programs of deployed services have in common: settings from a file, the environment and flags ([`settings`]), the
//! connections to NATS and PostgreSQL ([`connect`]), health and readiness ([`health`]) and the question for them ([`check`]),
//! signals, and exit codes.
//!
//! A service's `main` is one call of [`main`], and serving is one of [`serve`].
#![forbid(unsafe_code)]

pub mod check;
pub mod connect;
pub mod health;
mod process;
pub mod settings;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use bus::Bus;
use service::telemetry::{self, Telemetry, TelemetryError};
use service::{Blame, OnError, ServiceError, Shutdown, Tasks};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use health::Health;
use settings::{Common, Settings};

/// Why a program cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong: exit code 2.
    #[error("{0}")]
    Input(String),
    /// Network, server, disk or right: exit code 3.
    #[error("{0}")]
    Environment(String),
    /// A defect of ours: exit code 1.
    #[error("a defect of Gauntlet: {0}")]
    Bug(String),
}

impl Error {
    /// The exit code of requirement R12.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Input(_) => Blame::Input.exit_code(),
            Self::Environment(_) => Blame::Environment.exit_code(),
            Self::Bug(_) => Blame::Bug.exit_code(),
        }
    }
}

/// What a service runs on.
pub struct Parts {
    /// Connected.
    pub bus: Bus,
    /// Triggered by SIGINT and SIGTERM.
    pub shutdown: Shutdown,
    /// What readiness depends on.
    pub health: Health,
}

/// Serves until the service ends; it is shown to be ready once it says so.
///
/// # Errors
/// Why it ended.
pub fn serve<E: ServiceError, R>(
    serving: impl Future<Output = Result<(), E>>,
    is_ready: oneshot::Receiver<R>,
    health: &Health,
) -> impl Future<Output = Result<(), Error>> {
    // A service is large: it is moved but once.
    let serving = Box::pin(serving);
    async move {
        let announce = async {
            if is_ready.await.is_ok() {
                health.ready();
            }
        };
        let (served, ()) = tokio::join!(serving, announce);
        served.map_err(|error| match error.blame() {
            Blame::Input => Error::Input(error.to_string()),
            Blame::Environment => Error::Environment(error.to_string()),
            Blame::Bug => Error::Bug(error.to_string()),
        })
    }
}

/// How long what surrounds a service may take to end after it.
const CLOSING: Duration = Duration::from_secs(5);

/// Runs a service: reads its settings, connects, serves health, and ends with the service, which a signal ends gracefully.
/// `role` is its name on the bus. With [`check::WORD`] as the first argument it only asks the service that runs already.
pub fn main<S, F>(role: &'static str, run: impl FnOnce(S, Parts) -> F) -> ExitCode
where
    S: Settings,
    F: Future<Output = Result<(), Error>>,
{
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let asks = arguments.get(1).is_some_and(|word| word == check::WORD);
    if asks {
        arguments.remove(1);
    }
    let settings = match settings::read::<S>(arguments, |name| std::env::var_os(name)) {
        Ok(settings) => settings,
        Err(settings::Refusal::Asked(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Err(settings::Refusal::Wrong(text)) => {
            complain(&text);
            return ExitCode::from(2);
        }
    };
    if asks {
        return ended(check::readiness(settings.common()));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("threads cannot be started: {error}; allow more with ulimit -u"));
            return ExitCode::from(3);
        }
    };
    let telemetry = match logging(settings.common(), S::command().get_name()) {
        Ok(telemetry) => telemetry,
        Err(error) => return ended(Err(error)),
    };
    let served = runtime.block_on(run_service(role, settings, &telemetry, run));
    runtime.shutdown_timeout(Duration::from_secs(2));
    // Nobody makes spans any more.
    if let Some(traces) = telemetry.traces() {
        traces.end();
    }
    ended(served)
}

fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.code())
        }
    }
}

async fn run_service<S, F>(
    role: &'static str,
    settings: S,
    telemetry: &Telemetry,
    run: impl FnOnce(S, Parts) -> F,
) -> Result<(), Error>
where
    S: Settings,
    F: Future<Output = Result<(), Error>>,
{
    let common = settings.common().clone();
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    listen_to_signals(role, &tasks, &shutdown)?;
    let health = Health::new(role, telemetry.traces().cloned());
    // Before the connections: who looks meanwhile sees a process that lives and is not ready.
    health.serve(&common.health, &tasks, &shutdown).await?;
    let connecting = connect::bus(&common, role);
    let bus = tokio::select! {
        bus = connecting => bus?,
        () = shutdown.triggered() => return Ok(()),
    };
    let connected = bus.clone();
    health.depends_on("nats", move || {
        if connected.is_connected() { Ok(()) } else { Err("not connected".to_owned()) }
    });
    let parts = Parts { bus, shutdown: shutdown.clone(), health };
    let ended = run(settings, parts).await;
    shutdown.trigger("the service has ended");
    tasks.finish(CLOSING).await;
    ended
}

fn logging(common: &Common, program: &str) -> Result<Telemetry, Error> {
    let options = telemetry::Options {
        format: match common.log_format {
            settings::LogFormat::Text => telemetry::Format::Text,
            settings::LogFormat::Json => telemetry::Format::Json,
        },
        filter: common.log.clone().unwrap_or_else(|| telemetry::directives("info")),
        output: telemetry::Output::Stderr,
        traces: common.traces(program),
    };
    telemetry::init(&options).map_err(|error| match error {
        TelemetryError::Traces(_) => Error::Environment(error.to_string()),
        error => Error::Input(error.to_string()),
    })
}

/// The first signal ends the service gracefully; a supervisor that loses its patience has SIGKILL.
fn listen_to_signals(role: &'static str, tasks: &Tasks, shutdown: &Shutdown) -> Result<(), Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::Environment(format!("signals cannot be received: {error}")))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let shutdown = shutdown.clone();
    // Not in the words of a signal to `gauntlet` itself: whoever follows a run did not send it.
    let by = move |signal| format!("the end of service {role}, which got {signal}");
    tasks.spawn("signals", OnError::Log, async move {
        tokio::select! {
            Some(()) = interrupt.recv() => shutdown.trigger(by("SIGINT")),
            Some(()) = terminate.recv() => shutdown.trigger(by("SIGTERM")),
            () = shutdown.triggered() => {}
        }
        Ok::<(), std::convert::Infallible>(())
    });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "help and version are what was asked for")]
fn say(text: &str) {
    print!("{text}");
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a program goes to its terminal, whatever is logged"
)]
fn complain(text: &str) {
    eprintln!("error: {text}");
}
