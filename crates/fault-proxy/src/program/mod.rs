//! The program: the proxies and their API until a signal, or until nobody drives them any more.

mod settings;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use rustix::process::{Resource, getrlimit, setrlimit, setsid};
use service::{OnError, Shutdown, Tasks, telemetry};
use settings::{Arguments, Problem};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{ProxyInput, Registry, api};

/// The program `gauntlet-fault-proxy`, of which the first argument is the name; its exit code. It makes threads and a log of its
/// own, so it is to be called by a process that has neither.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if arguments.own_session
        && let Err(problem) = leave_session()
    {
        return ended(Err(problem));
    }
    raise_open_files();
    let runtime = match arguments.threads() {
        // Nothing is handed from thread to thread then.
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    ended(match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(arguments));
            runtime.shutdown_timeout(Duration::from_secs(1));
            done
        }
        Err(error) => Err(Problem::Environment(format!(
            "threads cannot be started: {error}; allow more with ulimit -u"
        ))),
    })
}

fn ended(done: Result<(), Problem>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem.to_string());
            ExitCode::from(problem.code())
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Problem> {
    let _telemetry =
        telemetry::init(&arguments.telemetry()).map_err(|error| Problem::Input(error.to_string()))?;
    // Before the address is announced: whoever reads it may send a signal at once.
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(terminate), Ok(interrupt)] = signals else {
        return Err(Problem::Environment("signals cannot be received".to_owned()));
    };
    let token = arguments.token()?;
    let proxies = arguments.proxies()?;
    let registry = Registry::new(arguments.options(token.is_some()));
    let listener = api::listen(&arguments.listen, token.is_some()).await.map_err(settings::of_api)?;
    let address = listener.local_addr().map_err(|error| Problem::Environment(error.to_string()))?;
    populate(&registry, &proxies).await?;

    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let leases = registry.clone();
    tasks.spawn("leases", OnError::ShutDown, async move {
        leases.end_leases().await;
        Ok::<(), std::convert::Infallible>(())
    });
    let calls = api::Calls::default();
    let answering = api::serve(listener, registry.clone(), token, calls.clone(), shutdown.clone());
    tasks.spawn("API", OnError::ShutDown, answering);
    announce(&format!("listening on http://{address}"));

    let mut signals = Signals { terminate, interrupt };
    let forgotten = async {
        match arguments.lease() {
            Some(lease) => calls.silence(lease).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "ending: listeners are closed, connections may end");
            shutdown.trigger("a signal");
            tokio::select! {
                () = registry.close() => {}
                name = signals.next() => tracing::warn!(signal = name, "a second signal: connections are closed now"),
            }
        }
        () = forgotten => {
            tracing::warn!(lease = ?arguments.lease(), "ending at once: nobody has called the API for so long");
            registry.close_at_once().await;
            shutdown.trigger("nobody drives it");
        }
        () = shutdown.triggered() => registry.close().await,
    }
    tasks.abort();
    match tasks.failures().first() {
        Some(failure) => Err(Problem::Environment(failure.to_string())),
        None => Ok(()),
    }
}

async fn populate(registry: &Registry, proxies: &[ProxyInput]) -> Result<(), Problem> {
    registry.populate(proxies).await.map(|_| ()).map_err(|(error, _)| {
        let text = format!("config: {error}");
        if error.status() < 500 { Problem::Input(text) } else { Problem::Environment(text) }
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Out of the session of who started it: what its terminal sends to all does not come here.
fn leave_session() -> Result<(), Problem> {
    // From /proc: rustix's getsid takes no session that another PID namespace began, as a container's shell may have.
    let is_its_own = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let session = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(3));
        session.and_then(|id| id.parse().ok()) == Some(std::process::id())
    };
    match setsid() {
        Ok(_) => Ok(()),
        Err(_) if is_its_own() => Ok(()),
        Err(error) => Err(Problem::Environment(format!(
            "own-session: {error}: the process leads a group already, as a shell's job does; expected to be started by a program"
        ))),
    }
}

/// As many connections as the system lets us have.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, the old limit stays; a proxy for fewer connections is still a proxy.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn announce(text: &str) {
    let mut out = std::io::stdout();
    // Nobody reads it: the proxy works all the same.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a program goes to its terminal, whatever is logged"
)]
fn complain(text: &str) {
    eprintln!("error: {text}");
}
