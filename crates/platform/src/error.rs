//! What can go wrong on a platform, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::ProcessId;
use crate::processes::StartError;

/// Why a platform did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// It could not be started, or was not ready.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The name cannot be an instance's.
    #[error(
        "instance {name:?}: expected a name of 1 to 200 bytes without a slash that does not begin with a dot: rename it in the plan"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// There is no such instance.
    #[error("instance {name}: not known in {}: {}", .dir.display(), names(.known))]
    Unknown {
        /// Who was asked for.
        name: String,
        /// The state directory.
        dir: PathBuf,
        /// Those that are there.
        known: Vec<String>,
    },
    /// It has to run for that.
    #[error("instance {name}: does not run: {found}: start it first")]
    NotRunning {
        /// The instance.
        name: String,
        /// `never started`, `exit code 1`.
        found: String,
    },
    /// An instance of this name runs already.
    #[error("instance {name}: runs already as process {process}: end it before it is defined anew")]
    Runs {
        /// The instance.
        name: String,
        /// Its process.
        process: ProcessId,
    },
    /// Only the owner of a state directory defines instances.
    #[error("instance {name}: {} was opened, not created: define instances where their owner is", .dir.display())]
    NotOwner {
        /// The instance.
        name: String,
        /// The state directory.
        dir: PathBuf,
    },
    /// The state directory belongs to another process that lives.
    #[error("state directory {}: process {owner} uses it: choose another directory, or end that process", .dir.display())]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// Whose it is.
        owner: ProcessId,
    },
    /// Whoever it was started for has ended.
    #[error("instance {name}: process {owner}, for which it ran, has ended: it is not started any more")]
    OwnerEnded {
        /// The instance.
        name: String,
        /// Whose it was.
        owner: ProcessId,
    },
    /// Somebody else is starting or stopping it for too long.
    #[error("instance {name}: somebody else has been starting or stopping it for {waited:?}: try again")]
    Busy {
        /// The instance.
        name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A file of the state directory cannot be read or written.
    #[error("state of instances: {}: {source}: check the directory's disk and rights", .path.display())]
    State {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the state directory is not as we write it.
    #[error("state of instances: {}: {problem}: end what runs there and remove the file", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system does not let us see or signal it.
    #[error("instance {name}: {doing}: {source}")]
    System {
        /// The instance.
        name: String,
        /// What we were doing.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Some of its processes did not follow a signal.
    #[error("instance {name}: {} had not {wanted} after {waited:?}", list(.left))]
    Disobeyed {
        /// The instance.
        name: String,
        /// Those that did not.
        left: Vec<ProcessId>,
        /// `ended`, `stopped`, `gone on`.
        wanted: &'static str,
        /// How long was waited.
        waited: Duration,
    },
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) }
}

fn list(left: &[ProcessId]) -> String {
    let left: Vec<String> = left.iter().map(|process| format!("process {process}")).collect();
    left.join(", ")
}
