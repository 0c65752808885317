//! Instances: what a platform runs, in terms that processes, containers and pods share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::PlatformError;
use crate::identity::ProcessId;

/// Longest name of an instance, in bytes: files are named after it.
const LONGEST_NAME: usize = 200;

/// The name of an instance, unique on its platform: for a process of the plan, its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Takes a name that can also name a file.
    ///
    /// # Errors
    /// When it is empty, longer than 200 bytes, begins with a dot or contains a slash or a NUL.
    pub fn new(name: impl Into<String>) -> Result<Self, PlatformError> {
        let name = name.into();
        let fits = (1..=LONGEST_NAME).contains(&name.len());
        if fits && !name.starts_with('.') && !name.contains(['/', '\0']) {
            Ok(Self(name))
        } else {
            Err(PlatformError::Name { name })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Known, but never started.
    Created,
    /// It runs.
    Running,
    /// It is stopped in its tracks until it is resumed.
    Paused,
    /// It has ended, by itself or because somebody ended it.
    Exited,
}

/// What was asked of an instance before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// To end gracefully.
    Stop,
    /// Nothing: it was to be killed.
    Kill,
}

/// Whether an instance's wall clock can be set off from the machine's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// It follows an offset in a file, in libfaketime's form: `+0`, `-30s`, `+1.5`.
    Adjustable {
        /// The file.
        file: PathBuf,
    },
    /// It does not, although that was wanted.
    Fixed {
        /// Why not, for people.
        why: String,
    },
}

/// An instance as it is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Which one.
    pub id: InstanceId,
    /// What it is doing.
    pub state: InstanceState,
    /// How often it was started; 0 = never.
    pub generation: u32,
    /// The process that leads it, also after its end; absent on platforms that hide it, and before the first start.
    pub process: Option<ProcessId>,
    /// When it was started last, in milliseconds of Unix time; 0 = never.
    pub started_unix_ms: u64,
    /// How it ended, once it has and if anybody knows: `exit code 1`, `signal 9`.
    pub status: Option<String>,
    /// What was asked of this generation; absent on an end by itself.
    pub asked: Option<Asked>,
    /// Its clock, where it was to be adjustable.
    pub clock: Option<Clock>,
}

/// A start that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The instance; it was running and ready.
    pub instance: Instance,
    /// `false` = it was running already, as when somebody else was faster.
    pub by_us: bool,
    /// How long after the start, or after we looked, it was ready.
    pub ready_after: Duration,
}

/// How an instance ended when it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// `exit code 0`, `signal 15`, `ended with unknown status`.
    pub status: String,
    /// It had not ended within its stop timeout and was killed.
    pub killed: bool,
}
