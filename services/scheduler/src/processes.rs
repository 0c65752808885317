//! The plan's processes: started before the run, watched during it, stopped after it.

use std::path::Path;

use plan::model::{Plan, Resources};
use platform::process::{Running, Spec};
use protocol::event::Event;
use protocol::v1;
use store::StoreError;

use crate::clock::ms;
use crate::history::History;
use crate::run::Trouble;
use crate::verdict::{Reason, code};

/// The processes that were started, and those of them that were seen to end.
#[derive(Default)]
pub(crate) struct Processes {
    running: Vec<Running>,
    ended: Vec<String>,
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
        log_dir: &Path,
        history: &History,
    ) -> Result<(), Trouble> {
        for (name, process) in &plan.processes {
            let wrong = |error: platform::process::StartError| {
                Trouble::Reason(Reason::new(code::ENVIRONMENT, format!("process {name}: {error}")))
            };
            let log = log_dir.join(format!("{name}.log"));
            let running = Running::start(&Spec::from_plan(name, process), base_dir, &log).map_err(wrong)?;
            let pid = running.pid();
            self.running.push(running);
            let Some(running) = self.running.last() else { continue };
            let ready_after = running.wait_ready().await.map_err(wrong)?;
            let ready_after_ms = ms(ready_after);
            history.append(Event::ProcessStarted { process: name.clone(), pid, ready_after_ms }).await?;
        }
        Ok(())
    }

    /// The processes by target, for whoever reads their CPU and memory.
    pub(crate) fn watched(&self, plan: &Plan) -> Vec<v1::WatchedProcess> {
        let mut watched = Vec::new();
        for (index, target) in plan.targets.iter().enumerate() {
            let Resources::Processes(names) = &target.resources else { continue };
            let target = u32::try_from(index).unwrap_or(u32::MAX);
            for running in names.iter().filter_map(|name| self.running.iter().find(|r| r.name() == name)) {
                let instance = running.name().to_owned();
                watched.push(v1::WatchedProcess { target, pid: running.pid(), instance });
            }
        }
        watched
    }

    /// Reports processes that have ended since the last look: `shop: exit code 1`.
    ///
    /// # Errors
    /// When the history cannot be stored.
    pub(crate) async fn look(&mut self, history: &History) -> Result<Vec<String>, StoreError> {
        let mut exits = Vec::new();
        for running in &self.running {
            let Some(status) = running.try_status() else { continue };
            let process = running.name().to_owned();
            if !self.ended.contains(&process) {
                exits.push(format!("{process}: {status}"));
                self.ended.push(process.clone());
                history.append(Event::ProcessExited { process, status }).await?;
            }
        }
        Ok(exits)
    }

    /// Stops them, the last one started first. Says which had to be killed.
    pub(crate) async fn stop(&mut self) -> Vec<String> {
        let mut killed = Vec::new();
        while let Some(running) = self.running.pop() {
            let name = running.name().to_owned();
            if running.stop().await.killed {
                killed.push(name);
            }
        }
        killed
    }
}
