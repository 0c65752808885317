//! CPU and memory of a process and its children.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::usage::read_tree;

use super::record::ProbeId;
use super::{Context, Now};

/// Reads one process: `cpu` is its share of the machine's cores between two readings, `memory` its share of the
/// machine's memory.
#[derive(Debug)]
pub(super) struct Usage {
    /// Of `cpu` and `memory`.
    pub(super) ids: [ProbeId; 2],
    pub(super) target: u32,
    pub(super) pid: u32,
    pub(super) instance: String,
    /// Where the platform records which process the instance is now; absent = it is always this one.
    pub(super) state_dir: Option<PathBuf>,
    pub(super) interval: Duration,
}

impl Usage {
    pub(super) async fn run(self, context: Context) -> Result<(), Infallible> {
        let mut rounds = context.rounds(self.interval);
        let mut before: Option<(platform::usage::Usage, Now)> = None;
        while rounds.next().await {
            let (pid, instance, state_dir) = (self.pid, self.instance.clone(), self.state_dir.clone());
            // It reads all of /proc: some milliseconds on a busy machine.
            let reading = async {
                // The time is taken beside the reading: a busy machine comes back to this task late.
                let read = tokio::task::spawn_blocking(move || {
                    let pid = state_dir.and_then(|dir| present(&dir, &instance)).unwrap_or(pid);
                    (pid, Now::read(), read_tree(pid))
                });
                let (pid, now, usage) = read.await.map_err(|error| error.to_string())?;
                usage.map(|usage| (usage, now)).map_err(|error| format!("process {pid}: {error}"))
            };
            let Some(result) = context.attempt(reading).await else { break };
            let mut record = context.record();
            let Some(machine) = context.machine else {
                self.ids
                    .iter()
                    .for_each(|id| record.failed(*id, "the machine's cores and memory are not known"));
                continue;
            };
            match result {
                Ok((usage, now)) => {
                    self.ids.iter().for_each(|id| record.good(*id, now));
                    let memory = usage.rss_bytes as f64 / machine.memory_bytes as f64;
                    record.point(self.target, "memory", &self.instance, now, memory);
                    if let Some(share) = cpu_share(before, (usage, now), machine.cores) {
                        record.point(self.target, "cpu", &self.instance, now, share);
                    }
                    before = Some((usage, now));
                }
                Err(error) => {
                    before = None;
                    self.ids.iter().for_each(|id| record.failed(*id, &error));
                }
            }
        }
        Ok(())
    }
}

/// The process that an instance is now: it may have been started anew. `None` where the platform's records cannot be read,
/// as on another host.
fn present(state_dir: &Path, instance: &str) -> Option<u32> {
    platform::processes::leader(state_dir, instance).ok().flatten().map(|process| process.pid)
}

/// Share of the cores between two readings of the same process. A fall (a child that took its time along) gives none.
fn cpu_share(
    before: Option<(platform::usage::Usage, Now)>,
    (usage, now): (platform::usage::Usage, Now),
    cores: u32,
) -> Option<f64> {
    let (earlier, then) = before.filter(|(earlier, _)| earlier.started_ticks == usage.started_ticks)?;
    share(usage.cpu_seconds - earlier.cpu_seconds, then, now, f64::from(cores))
}

/// CPU seconds over wall seconds and cores.
pub(super) fn share(cpu_seconds: f64, then: Now, now: Now, cores: f64) -> Option<f64> {
    let wall = now.monotonic.saturating_duration_since(then.monotonic).as_secs_f64();
    (cpu_seconds >= 0.0 && wall > 0.0 && cores > 0.0).then(|| cpu_seconds / wall / cores)
}
