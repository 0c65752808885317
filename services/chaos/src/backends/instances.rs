//! The plan's processes, as the platform's driver knows them.

use std::path::PathBuf;
use std::sync::Arc;

use fault_agent::Clock;
use futures::future::join_all;
use platform::identity::ProcessId;
use platform::{Asked, Instance, InstanceId, InstanceState, Platform, PlatformError, Started};

/// The processes of a run. Clones mean the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    platform: Arc<dyn Platform>,
}

/// An instance that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Its leading process.
    pub(crate) process: ProcessId,
    /// The file that its wall clock follows; `None` = it cannot be set off.
    clock: Option<PathBuf>,
}

/// Their clocks, as the agent sets them.
pub(crate) fn clocks(running: &[Running]) -> Vec<Clock> {
    running
        .iter()
        .map(|instance| Clock { victim: instance.process.clone(), file: instance.clock.clone() })
        .collect()
}

impl Instances {
    pub(crate) fn new(platform: Arc<dyn Platform>) -> Self {
        Self { platform }
    }

    /// An instance as it is.
    pub(crate) async fn get(&self, name: &str) -> Result<Instance, PlatformError> {
        self.platform.instance(&InstanceId::new(name)?).await
    }

    /// All of these, if all run.
    pub(crate) async fn running(&self, names: &[String]) -> Result<Vec<Running>, String> {
        let mut running = Vec::new();
        for name in names {
            let instance = self.get(name).await.map_err(|error| error.to_string())?;
            let runs = match instance.state {
                InstanceState::Running => Ok(instance.process),
                InstanceState::Paused => Err("somebody paused it".to_owned()),
                InstanceState::Created => Err("it was never started".to_owned()),
                InstanceState::Exited => {
                    Err(format!("it has ended: {}", instance.status.as_deref().unwrap_or("nobody knows how")))
                }
            };
            let process = runs.map_err(|found| format!("instance {name} does not run: {found}"))?;
            let process = process.ok_or_else(|| format!("instance {name}: its process is not known"))?;
            let clock = match instance.clock {
                Some(platform::Clock::Adjustable { file }) => Some(file),
                Some(platform::Clock::Fixed { .. }) | None => None,
            };
            running.push(Running { process, clock });
        }
        Ok(running)
    }

    /// Says that they will be killed on purpose.
    pub(crate) async fn expect_kill(&self, names: &[String]) -> Result<(), String> {
        for name in names {
            let expected = async { self.platform.expect_exit(&InstanceId::new(name)?, Asked::Kill).await };
            expected.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Stops them gracefully, all at once.
    pub(crate) async fn stop(&self, names: &[String]) -> Result<String, String> {
        let stops = names.iter().map(async |name| {
            let stopped = self.platform.stop(&InstanceId::new(name)?).await?;
            let forced = if stopped.killed { ", killed after its stop timeout" } else { "" };
            Ok::<String, PlatformError>(format!("{name} has ended: {}{forced}", stopped.status))
        });
        all(join_all(stops).await)
    }

    /// Makes sure that they run and are ready, all at once.
    pub(crate) async fn run(&self, names: &[String]) -> Result<String, String> {
        let starts =
            names.iter().map(async |name| match self.platform.start(&InstanceId::new(name)?).await {
                Ok(Started { instance, by_us, ready_after }) => {
                    let process = instance.process.map(|process| process.pid).unwrap_or_default();
                    let who = if by_us { "was started again" } else { "runs again already" };
                    Ok(format!("{name} {who}: process {process}, ready after {} ms", ready_after.as_millis()))
                }
                // Then it is to stay as it is.
                Err(error @ PlatformError::OwnerEnded { .. }) => Ok(error.to_string()),
                Err(error) => Err(error),
            });
        all(join_all(starts).await)
    }
}

fn all(results: Vec<Result<String, PlatformError>>) -> Result<String, String> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(text) => done.push(text),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() { Ok(done.join("; ")) } else { Err(failed.join("; ")) }
}
