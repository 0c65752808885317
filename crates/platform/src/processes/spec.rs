//! What a process of the plan is started from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use plan::model::Process;
use serde::{Deserialize, Serialize};

/// How to start a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the plan.
    pub name: String,
    /// Program and arguments; a relative program is found from the plan's directory, else in PATH.
    pub command: Vec<String>,
    /// `http://…` that answers 2xx, or `tcp://host:port` that accepts, when it is ready. `None` = ready at once.
    pub ready: Option<String>,
    /// How long until ready at most.
    pub ready_timeout: Duration,
    /// Environment beside that of whoever starts it.
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the plan's; `None` = the plan's.
    pub dir: Option<PathBuf>,
    /// How long it may take to end after SIGTERM before SIGKILL.
    pub stop_timeout: Duration,
    /// Its wall clock is to follow a file, so that it can be set off; it costs each reading of the clock a reading of the file.
    pub clock_adjustable: bool,
}

impl Spec {
    /// The process `name` of a plan, with the machine's clock.
    #[must_use]
    pub fn from_plan(name: &str, process: &Process) -> Self {
        Self {
            name: name.to_owned(),
            command: process.command.clone(),
            ready: process.ready.clone(),
            ready_timeout: process.ready_timeout,
            env: process.env.clone(),
            dir: process.dir.clone(),
            stop_timeout: process.stop_timeout,
            clock_adjustable: false,
        }
    }
}
