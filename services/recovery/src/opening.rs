//! What has to be there before recovery can take part in a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::{Bus, SchedulerClock};
use plan::model::{Strategy, Target, Tls};
use plan::{Plan, Problems};
use platform::Platform;
use platform::processes::Processes;
use prober::{Connector, connector};
use protocol::id::RunId;
use protocol::v1;

use crate::place::{Files, Watched};
use crate::route::Route;
use crate::run::Parts;

/// Gathers what a run is made from.
///
/// # Errors
/// All that keeps recovery from taking part.
pub(crate) async fn open(
    run: RunId,
    command: &v1::OpenRecovery,
    bus: &Bus,
    clock: &SchedulerClock,
) -> Result<Parts, Vec<v1::Problem>> {
    let plan = plan_of(bus, &command.plan_digest).await.map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let route = Route::new(command).unwrap_or_else(|error| {
        problems.push(environment(error.to_string(), "start the run anew; see chaos' log"));
        Route::default()
    });
    let platform = platform(&command.platform_dir, &plan, &mut problems);
    let files = files(bus, command, &mut problems).await;
    let mut watched = Vec::new();
    for target in &plan.targets {
        let recovery = plan.recovery.get(&target.name);
        let health = target.health.as_deref();
        let connector = match tls(target, &files) {
            Ok(connector) => connector,
            Err(missing) => {
                problems.push(missing);
                continue;
            }
        };
        match Watched::new(target, recovery, &connector, health) {
            Ok(target) => watched.push(target),
            Err(error) => problems.push(problem("plan", error.to_string(), "rename the process")),
        }
        let fails_over = recovery.is_some_and(|recovery| recovery.strategy.contains(&Strategy::Failover));
        if fails_over && !(0..target.urls.len()).all(|instance| route.leads(&target.name, instance)) {
            let message = format!(
                "recovery.{}: failover leads load elsewhere by the fault proxy, but there is none before each endpoint",
                target.name
            );
            problems.push(environment(
                message,
                "see why chaos opened no proxy, or leave failover out of `strategy`",
            ));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Parts { run, bus: bus.clone(), plan, platform, clock: clock.clone(), route, watched })
}

async fn plan_of(bus: &Bus, digest: &str) -> Result<Plan, v1::Problem> {
    let path = bus.fetch_object(digest).await;
    let path = path.map_err(|error| environment(format!("the plan: {error}"), "send the run anew"))?;
    let text = tokio::fs::read_to_string(&path).await;
    let text = text.map_err(|error| {
        environment(format!("the plan: {}: {error}", path.display()), "send the run anew")
    })?;
    plan::parse(&text, Path::new("plan.toml")).map_err(|problems: Problems| {
        problem("plan", problems.to_string(), "use one version of Gauntlet for all services")
    })
}

/// The platform that the plan's processes run on; `None` where it has none.
fn platform(dir: &str, plan: &Plan, problems: &mut Vec<v1::Problem>) -> Option<Arc<dyn Platform>> {
    if dir.is_empty() || plan.processes.is_empty() {
        return None;
    }
    match Processes::open(Path::new(dir)) {
        Ok(processes) => Some(Arc::new(processes)),
        Err(error) => {
            let mend = "run recovery on the host, and as the user, of the scheduler that starts the plan's processes";
            problems.push(environment(error.to_string(), mend));
            None
        }
    }
}

/// The certificates that came with the run, fetched.
async fn files(bus: &Bus, command: &v1::OpenRecovery, problems: &mut Vec<v1::Problem>) -> Files {
    let mut files = Files::new();
    for file in &command.files {
        match bus.fetch_object(&file.digest).await {
            Ok(path) => {
                files.insert(file.name.clone(), path);
            }
            Err(error) => {
                problems.push(environment(format!("{}: {error}", file.name), "send the run anew"));
            }
        }
    }
    files
}

/// TLS towards a target, by the certificates that came with the run. Those that cannot be used fail each probe, which says so.
///
/// # Errors
/// When one did not come: a probe does not believe whom the plan does not.
fn tls(target: &Target, files: &Files) -> Result<Connector, v1::Problem> {
    let name = &target.name;
    let file = |kind: &str| -> Result<PathBuf, v1::Problem> {
        let wanted = format!("{kind}:{name}");
        files.get(&wanted).cloned().ok_or_else(|| {
            let mend = "start the run from the plan's directory, so that its files are bundled";
            problem("plan", format!("target {name}: the bundle has no file {wanted}"), mend)
        })
    };
    let ca = target.tls.ca.as_ref().map(|_| file("ca")).transpose()?;
    let client = match target.tls.client {
        Some(_) => Some((file("cert")?, file("key")?)),
        None => None,
    };
    let tls = Tls { ca, client, ..target.tls.clone() };
    // The files are where the bus has put them: absolute.
    Ok(connector(&tls, Path::new("/")).unwrap_or_else(Connector::Broken))
}

fn environment(message: String, mend: &str) -> v1::Problem {
    problem("environment", message, mend)
}

fn problem(kind: &str, message: String, mend: &str) -> v1::Problem {
    v1::Problem { message, mend: mend.to_owned(), kind: kind.to_owned() }
}
