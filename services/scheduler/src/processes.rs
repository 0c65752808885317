//! The plan's processes: started before the run, watched during it, stopped after it.

use std::path::{Path, PathBuf};

use plan::model::{Fault, Plan, PlatformRef, Recipe, Resources, Target};
use platform::identity::ProcessId;
use platform::processes::{Events, Processes as Driver, Spec};
use platform::{EventKind, InstanceId, Platform as _, PlatformError};
use protocol::event::Event;
use protocol::v1;
use store::StoreError;

use crate::clock::ms;
use crate::history::History;
use crate::run::Trouble;
use crate::verdict::{Reason, code};

/// What is said of an end that nobody knows more of.
const UNKNOWN: &str = "ended with unknown status";

/// Where the driver keeps what it knows of a run's processes.
pub(crate) fn state_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("processes")
}

/// The processes that were started, by a driver that others open in the same directory.
#[derive(Default)]
pub(crate) struct Processes {
    driver: Option<Driver>,
    events: Option<Events>,
    /// In the order in which they were started; each is here before it is.
    ids: Vec<InstanceId>,
}

impl Processes {
    /// Starts the plan's processes one after the other, each once the one before is ready. What was started is in `self`
    /// also when one fails.
    ///
    /// # Errors
    /// When one cannot be started or is not ready in time.
    pub(crate) async fn start(
        &mut self,
        plan: &Plan,
        base_dir: &Path,
        run_dir: &Path,
        history: &History,
    ) -> Result<(), Trouble> {
        if plan.processes.is_empty() {
            return Ok(());
        }
        let (driver, events) = take(run_dir).await.map_err(|error| trouble("processes", &error))?;
        self.events = Some(events);
        let driver = self.driver.insert(driver);
        for (name, process) in &plan.processes {
            let wrong = |error: PlatformError| trouble(&format!("process {name}"), &error);
            let log = run_dir.join(format!("{name}.log"));
            let spec = Spec { clock_adjustable: is_clock_set(plan, name), ..Spec::from_plan(name, process) };
            let id = driver.define(&spec, base_dir, &log).await.map_err(wrong)?;
            self.ids.push(id.clone());
            if is_only_backup(plan, name) {
                continue;
            }
            let started = driver.start(&id).await.map_err(wrong)?;
            let pid = started.instance.process.map_or(0, |process| process.pid);
            let ready_after_ms = ms(started.ready_after);
            history.append(Event::ProcessStarted { process: name.clone(), pid, ready_after_ms }).await?;
        }
        Ok(())
    }

    /// Where the driver records them, for others who act on them; empty = there are none.
    pub(crate) fn state_dir(&self) -> String {
        self.driver.as_ref().map_or_else(String::new, |driver| driver.dir().to_string_lossy().into_owned())
    }

    /// The processes by target, for whoever reads their CPU and memory.
    pub(crate) async fn watched(&self, plan: &Plan) -> Vec<v1::WatchedProcess> {
        let Some(driver) = &self.driver else { return Vec::new() };
        let state_dir = driver.dir().to_string_lossy().into_owned();
        let mut watched = Vec::new();
        for (target, name) in
            (0..).zip(&plan.targets).flat_map(|(index, target)| named(index, &target.resources))
        {
            let Some(id) = self.ids.iter().find(|id| id.as_str() == name) else { continue };
            let process = driver.instance(id).await.ok().and_then(|instance| instance.process);
            if let Some(process) = process {
                let (instance, state_dir) = (name.clone(), state_dir.clone());
                watched.push(v1::WatchedProcess { target, pid: process.pid, instance, state_dir });
            }
        }
        watched
    }

    /// Reports processes that have ended since the last look; returns those of them that nobody had asked to:
    /// `shop: exit code 1`.
    ///
    /// # Errors
    /// When the history cannot be stored.
    pub(crate) async fn look(&mut self, history: &History) -> Result<Vec<String>, StoreError> {
        let Some(events) = &mut self.events else { return Ok(Vec::new()) };
        let news = events.look().unwrap_or_else(|error| {
            tracing::warn!(%error, "whether the plan's processes run is not known");
            Vec::new()
        });
        let mut exits = Vec::new();
        for event in news {
            let EventKind::Exited { status, asked } = event.kind else { continue };
            let process = event.instance.to_string();
            let status = status.unwrap_or_else(|| UNKNOWN.to_owned());
            if asked.is_none() {
                exits.push(format!("{process}: {status}"));
            }
            history.append(Event::ProcessExited { process, status }).await?;
        }
        Ok(exits)
    }

    /// Stops them, the last one started first. Says which had to be killed, or could not be ended.
    pub(crate) async fn stop(&mut self) -> Vec<String> {
        self.events = None;
        let Some(driver) = self.driver.take() else { return Vec::new() };
        let mut notices = Vec::new();
        while let Some(id) = self.ids.pop() {
            match driver.stop(&id).await {
                Ok(stopped) if stopped.killed => {
                    notices.push(format!("process {id} did not end in time after SIGTERM and was killed"));
                }
                Ok(_) => {}
                Err(error) => notices.push(error.to_string()),
            }
        }
        if let Err(error) = driver.close().await {
            notices.push(error.to_string());
        }
        notices
    }
}

/// Whether a fault of the plan sets the clock of a process: only one that was started for it bears that.
fn is_clock_set(plan: &Plan, name: &str) -> bool {
    let hits = |fault: &Fault| {
        matches!(fault.recipe, Recipe::ClockSkew { .. })
            && plan.targets.iter().any(|target| target.name == fault.target && runs(target, name))
    };
    plan.chaos.iter().any(hits)
}

/// Whether a process is there to be failed over to and for nothing else: recovery starts it when it is needed.
fn is_only_backup(plan: &Plan, name: &str) -> bool {
    let backups = plan.recovery.values().filter_map(|recovery| recovery.backup.as_ref()?.process.as_deref());
    let is_backup = backups.into_iter().any(|backup| backup == name);
    is_backup && !plan.targets.iter().any(|target| runs(target, name))
}

/// Whether a process is an instance of a target.
fn runs(target: &Target, name: &str) -> bool {
    match &target.platform {
        Some(PlatformRef::Processes(names)) => names.iter().any(|one| one == name),
        None => false,
    }
}

/// Takes a run's state directory.
async fn take(run_dir: &Path) -> Result<(Driver, Events), PlatformError> {
    end_orphans(run_dir).await?;
    let us =
        ProcessId::current().map_err(|source| PlatformError::State { path: "/proc/self".into(), source })?;
    let driver = Driver::create(&state_dir(run_dir), us)?;
    let events = driver.watch()?;
    Ok((driver, events))
}

/// Ends processes of a scheduler that was killed: they run on without it.
///
/// # Errors
/// When the state directory cannot be read, or one cannot be ended.
pub(crate) async fn end_orphans(run_dir: &Path) -> Result<(), PlatformError> {
    for orphan in Driver::end_orphans(&state_dir(run_dir)).await? {
        tracing::warn!(process = %orphan, "a process of a scheduler that was killed is ended");
    }
    Ok(())
}

/// The processes that a target's CPU and memory are read from.
fn named(target: u32, resources: &Resources) -> Vec<(u32, &String)> {
    match resources {
        Resources::Processes(names) => names.iter().map(|name| (target, name)).collect(),
        _ => Vec::new(),
    }
}

fn trouble(what: &str, error: &PlatformError) -> Trouble {
    Trouble::Reason(Reason::new(code::ENVIRONMENT, format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_waits_and_a_clock_can_be_set_where_a_fault_does() {
        let text = r#"
run-phases = ["baseline"]
[processes.a]
command = ["a"]
[processes.b]
command = ["b"]
[processes.spare]
command = ["spare"]
[targets.shop]
url = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
platform = { process = ["a", "b"] }
chaos = true
[[scenarios]]
guest = "http"
[[chaos]]
recipe = "clock-skew"
target = "shop"
phase = "baseline"
duration = "5s"
stop = "none"
offset = "30s"
[recovery.shop]
strategy = ["failover"]
backup = { process = "spare", url = "http://127.0.0.1:3" }
"#;
        let plan = plan::parse(text, Path::new("plan.toml")).unwrap();
        let names = ["a", "b", "spare"];
        assert_eq!(names.map(|name| is_clock_set(&plan, name)), [true, true, false]);
        assert_eq!(names.map(|name| is_only_backup(&plan, name)), [false, false, true]);
    }
}
