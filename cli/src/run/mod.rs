//! `gauntlet run`: one plan, from the command line to the verdict, in this process.
//!
//! In order: read the plan and find everything that it names (bad input ends here, before anything exists); make the run
//! directory; start the services ([`services`]); hand the bundle over and create the run ([`bundle`]); follow it
//! ([`follow`]); write the report; close everything in the opposite order.

mod broken;
mod bundle;
pub(crate) mod closing;
mod follow;
mod live;
mod progress;
mod services;
mod signals;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::Plan;
use protocol::id::RunId;
use scheduler::verdict::{Reason, code, settle};
use service::telemetry::Telemetry;
use service::traces;
use tokio::runtime::Runtime;
use tracing::Instrument as _;

use crate::args::{PlaceArgs, RunArgs};
use crate::failure::Failure;
use crate::guests;
use crate::output;
use crate::run_dir::{self, RunDir};
pub(crate) use follow::Followed;
pub(crate) use progress::Progress;
pub(crate) use services::{Services, log_to};
pub(crate) use signals::Signals;

/// How long what was started may take to end, once the run is over.
pub(crate) const CLOSING: Duration = Duration::from_secs(10);

/// Everything that was read before anything was started.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    /// The plan's directory.
    base_dir: PathBuf,
    pub(crate) report_dir: PathBuf,
    bundle: bundle::Bundle,
    /// Where our own metrics are offered, if anywhere.
    prometheus: Option<SocketAddr>,
}

/// Runs a plan and gives its exit code.
///
/// # Errors
/// When it could not be run, or its results could not be kept.
pub(crate) fn run(args: &RunArgs) -> Result<u8, Failure> {
    let plan = plan::load(&args.plan, &args.overrides.to_overrides())?;
    let prepared = prepare(plan, &args.plan, &args.place)?;
    block_on(async |telemetry| run_prepared(args, prepared, telemetry).await)
}

/// Does what a command that runs something does, and then ends whatever still runs of it.
///
/// # Errors
/// Those of the work; and when the system gives us no threads.
pub(crate) fn block_on(
    work: impl AsyncFnOnce(&mut Option<Telemetry>) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let runtime = runtime()?;
    let mut telemetry = None;
    let code = runtime.block_on(work(&mut telemetry));
    // Whatever still runs is dropped here: load threads see their commands close, processes of the plan are killed.
    runtime.shutdown_timeout(Duration::from_secs(2));
    // Nobody makes spans any more.
    if let Some(traces) = telemetry.as_ref().and_then(Telemetry::traces) {
        traces.end();
    }
    code
}

fn runtime() -> Result<Runtime, Failure> {
    // Load has threads of its own; the services between phases need little.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| {
        Failure::environment(format!("threads cannot be started: {error}; allow more with ulimit -u"))
    })
}

/// Reads all that a plan names: every problem of its files at once.
///
/// # Errors
/// When a file or a flag is wrong, or the plan cannot be run where it is to be.
pub(crate) fn prepare(mut plan: Plan, file: &Path, args: &PlaceArgs) -> Result<Prepared, Failure> {
    if let Some(api) = &args.api {
        plan.control.api = loopback("--api", api)?.to_string();
    }
    let prometheus =
        args.prometheus.as_deref().map(|address| loopback("--prometheus", address)).transpose()?;
    if let Some(dir) = &args.report_dir {
        plan.report.dir.clone_from(dir);
    }
    let base_dir = base_dir(file)?;
    let guests = guests::find_all(&plan, &base_dir, &guests::directories(&args.guests))?;
    guests::check_versions(&guests)?;
    let bundle = bundle::Bundle::collect(&plan, &base_dir, guests)?;
    if args.nats.nats.is_some() && !plan.processes.is_empty() {
        let names: Vec<&str> = plan.processes.keys().map(String::as_str).collect();
        return Err(Failure::input(format!(
            "processes: found {}, but a deployed suite starts no processes of a plan: start them where they belong, and leave \
             the section out",
            names.join(", ")
        )));
    }
    let report_dir = std::path::absolute(&plan.report.dir)
        .map_err(|error| Failure::environment(format!("the working directory is gone: {error}")))?;
    Ok(Prepared { plan, base_dir, report_dir, bundle, prometheus })
}

fn loopback(flag: &str, text: &str) -> Result<SocketAddr, Failure> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(Failure::input(format!(
            "{flag}: found {text:?}, expected a loopback address and port such as 127.0.0.1:8088; port 0 = any free one"
        ))),
    }
}

/// The directory of the plan, absolute: where its relative paths begin.
pub(crate) fn base_dir(plan: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(plan)
        .map_err(|error| Failure::environment(format!("the working directory is gone: {error}")))?;
    Ok(absolute.parent().unwrap_or(&absolute).to_path_buf())
}

async fn run_prepared(
    args: &RunArgs,
    prepared: Prepared,
    telemetry: &mut Option<Telemetry>,
) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let mut dir = RunDir::create(&prepared.report_dir, &prepared.plan)?;
    *telemetry = log_to(&dir.path().join("gauntlet.log"), &args.place.traces);
    let services = match Services::open(&prepared, &args.place.nats, dir.path()).await {
        Ok(services) => services,
        Err(failure) => {
            run_dir::remove(dir.path());
            return Err(failure);
        }
    };
    let mut progress = Progress::new(&prepared.plan, args.quiet || args.json);
    let mut session = Session { services: &services, signals: &mut signals, telemetry: telemetry.as_ref() };
    let announced = dir.path().to_owned();
    match session.follow(&prepared, &mut dir, &announced, &mut progress).await {
        Ok(Run { followed: Followed::AtOnce(code), .. }) => {
            // Not even for spans is anybody waited for.
            *telemetry = None;
            run_dir::withdraw(&announced);
            output::note("ended at once: nothing was collected, and the run has no verdict");
            Ok(code)
        }
        Ok(Run { followed: Followed::Ended { code, history }, id, root }) => {
            let report = async {
                let reported = closing::write(&prepared, id, history, &services, &dir).await;
                closing::show(args.json, &reported.summary, &dir, reported.written)?;
                reported.problem.map_or(Ok(()), Err)
            };
            let reported = traces::within(root, report).await;
            run_dir::withdraw(&announced);
            let left = services.stop("the run is over", CLOSING).await;
            finish(code, reported.err(), left)
        }
        Err(failure) => {
            let left = services.stop("the run failed", CLOSING).await;
            run_dir::withdraw(&announced);
            if dir.began() {
                output::note(&format!("what there is: {}", dir.path().display()));
            } else {
                run_dir::remove(dir.path());
            }
            // What brought a service down says more than that it is gone.
            Err(worst(left.into_iter().chain([failure]))
                .unwrap_or_else(|| Failure::bug("a failure without a failure")))
        }
    }
}

/// Services with which runs are done, one after another, and what is heard and kept meanwhile.
pub(crate) struct Session<'s> {
    pub(crate) services: &'s Services,
    pub(crate) signals: &'s mut Signals,
    pub(crate) telemetry: Option<&'s Telemetry>,
}

/// A run that was followed.
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// How it came to its end.
    pub(crate) followed: Followed,
    /// Its span.
    pub(crate) root: tracing::Span,
}

impl Session<'_> {
    /// Creates the run of a plan and follows it to its end. While it is under way, the file in `announced` says where its API
    /// is; who called takes it away.
    ///
    /// # Errors
    /// When the scheduler finds problems in the plan, the history cannot be kept, or a service is lost.
    pub(crate) async fn follow(
        &mut self,
        prepared: &Prepared,
        dir: &mut RunDir,
        announced: &Path,
        progress: &mut Progress,
    ) -> Result<Run, Failure> {
        let Self { services, signals, telemetry } = self;
        let id = RunId::new();
        let root =
            service::span!("gauntlet run", gauntlet.run.id = %id, gauntlet.plan.name = %prepared.plan.name);
        let followed = async {
            let following = follow::Following::subscribe(services, id).await?;
            let control = match services.api(id) {
                Some(api) => {
                    run_dir::announce(announced, &api)?;
                    api.url
                }
                None => format!("the suite's HTTP API, run {id}"),
            };
            progress.began(dir.path(), &control);
            services.create(id, prepared).await?;
            following.until_the_end(services, dir, signals, progress, *telemetry).await
        }
        .instrument(root.clone())
        .await;
        progress.clear();
        match &followed {
            Ok(Followed::Ended { code, .. }) if *code != code::PASSED => {
                traces::failed(&root, &format_args!("exit code {code}"));
            }
            Ok(_) => {}
            Err(failure) => traces::failed(&root, failure),
        }
        Ok(Run { id, followed: followed?, root })
    }
}

/// The run's own code, unless something worse happened while it was closed.
pub(crate) fn finish(run: u8, report: Option<Failure>, services: Vec<Failure>) -> Result<u8, Failure> {
    let Some(failure) = worst(report.into_iter().chain(services)) else { return Ok(run) };
    let (_, ruling, _) = settle(vec![Reason::new(run, ""), Reason::new(failure.code(), "")]);
    if run == code::PASSED || ruling != run {
        return Err(failure);
    }
    output::error(&failure.to_string());
    Ok(run)
}

/// The failure whose exit code rules.
pub(crate) fn worst(failures: impl IntoIterator<Item = Failure>) -> Option<Failure> {
    let mut failures: Vec<Failure> = failures.into_iter().collect();
    let reasons = failures.iter().map(|failure| Reason::new(failure.code(), "")).collect();
    let (_, code, _) = settle(reasons);
    let at = failures.iter().position(|failure| failure.code() == code)?;
    Some(failures.swap_remove(at))
}
