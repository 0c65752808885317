//! What steers a run: checks before phases, shutdown, and what becomes of a run whose scheduler died.

use std::time::Duration;

use serde::Serialize;

/// Pre-phase checks, decisions and shutdown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Check target, resources, monitoring and workers before each phase, and play the scenarios' trials before the first.
    pub validate: bool,
    /// How long a pre-phase check may take to pass.
    pub validate_timeout: Duration,
    /// How long the load takes to ramp to zero on a graceful stop.
    pub ramp_down: Duration,
    /// Interval of health and resource probes.
    pub probe_interval: Duration,
    /// Deadline of a probe.
    pub probe_timeout: Duration,
    /// Where the HTTP API listens; port 0 = any free one.
    pub api: String,
    /// A worker silent for this long is lost; one that hears nothing of the bus for as long sends nothing more.
    pub worker_timeout: Duration,
    /// How long deployed workers go on without hearing of the scheduler, and faults with it; then workers ramp down, and
    /// faults end.
    pub controller_lease: Duration,
    /// What a scheduler that was started anew does with a run that its former life left open.
    pub scheduler_restart: SchedulerRestart,
}

/// What becomes of a run whose scheduler died and was started anew. Only runs on deployed workers can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerRestart {
    /// It goes on: the load was sent all the while.
    Resume,
    /// It is ended on the workers, what they counted is collected, and it is closed as aborted.
    Close,
}
