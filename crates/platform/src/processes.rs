//! The driver for processes of this machine.
//!
//! Each process of the plan is started as the leader of a session of its own: no key of our terminal reaches it, and all
//! that it starts is found by the session, also once the leader has ended. Standard input is `/dev/null`, output goes to a
//! log file. What left the session is found by its parents and by a mark in its environment, so that a daemon does not
//! escape either, unless it takes both away.
//!
//! What is known of instances is in a state directory, not in this process: whoever opens it sees the same, and can stop,
//! kill, pause and start them. A lock per instance makes two who start it at once start one. Instances run *for* a
//! process, their owner: dropping the owner's handle ends them, and once the owner has died anybody may, through
//! [`Processes::end_orphans`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::PlatformError;
use crate::identity::ProcessId;
use crate::instance::InstanceId;

mod clock;
mod driver;
mod ending;
mod events;
mod launch;
mod log;
mod members;
mod observe;
mod ownership;
mod pausing;
mod program;
mod sockets;
mod spec;
mod start_error;
mod state_dir;
mod version;

pub use clock::libfaketime;
pub use events::Events;
pub use spec::Spec;
pub use start_error::StartError;
use state_dir::{Lock, Record, StateDir};

/// How long somebody else may start or stop an instance, beyond its stop timeout, before we give up waiting.
const OTHERS: Duration = Duration::from_secs(60);

/// The instances of a state directory.
#[derive(Debug)]
pub struct Processes {
    dir: StateDir,
    /// For whom they run, if this is the owner's handle.
    owner: Option<ProcessId>,
}

impl Processes {
    /// Makes a state directory, or takes one whose owner has ended, for instances that run for `owner`; what an owner that
    /// has ended left there must be ended before, by [`Processes::end_orphans`]. Dropping the handle kills what runs there.
    ///
    /// # Errors
    /// When the directory cannot be made, or another process that lives has instances there.
    pub fn create(dir: &Path, owner: ProcessId) -> Result<Self, PlatformError> {
        let dir = StateDir::create(dir)?;
        for record in dir.records()? {
            let alive = record.owner.is_alive().map_err(system(&record.id, "looking for its owner"))?;
            if record.owner != owner && alive {
                return Err(PlatformError::InUse { dir: dir.path().to_owned(), owner: record.owner });
            }
        }
        Ok(Self { dir, owner: Some(owner) })
    }

    /// Opens a state directory of another process, or another handle of this one. Dropping it ends nothing.
    ///
    /// # Errors
    /// When the directory is not there.
    pub fn open(dir: &Path) -> Result<Self, PlatformError> {
        Ok(Self { dir: StateDir::open(dir)?, owner: None })
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes an instance known, without starting it. Relative paths of the spec begin at `base_dir`; what it prints is
    /// appended to `log_file`. One of the same name that has ended is replaced.
    ///
    /// # Errors
    /// When the program or the directory is not there, the ready check cannot be made, the name is no instance's, or one of
    /// this name runs; and when this handle is not the owner's.
    pub async fn define(
        &self,
        spec: &Spec,
        base_dir: &Path,
        log_file: &Path,
    ) -> Result<InstanceId, PlatformError> {
        let id = InstanceId::new(&spec.name)?;
        let Some(owner) = &self.owner else {
            return Err(PlatformError::NotOwner { name: spec.name.clone(), dir: self.dir().to_owned() });
        };
        let mut record = Record::new(id.clone(), spec.clone(), owner.clone());
        // Whoever starts it may have another working directory.
        record.base_dir = absolute(base_dir);
        record.log = absolute(log_file);
        record.program = program::find(spec, &record.base_dir)?;
        launch::check(&record)?;
        let _lock = self.dir.lock(&id, OTHERS + spec.stop_timeout).await?;
        if let Some(known) = self.dir.record(&id)? {
            if let Some(process) = observe::alive(&known)? {
                return Err(PlatformError::Runs { name: spec.name.clone(), process: process.id().clone() });
            }
            // Of one that has ended, others may be left.
            ending::destroy(&self.dir, &known, Vec::new()).await?;
        }
        self.dir.forget_past(&id)?;
        if spec.clock_adjustable {
            self.dir.reset_clock(&id)?;
        }
        self.dir.write(&record)?;
        Ok(id)
    }

    async fn lock(&self, id: &InstanceId) -> Result<(Lock, Record), PlatformError> {
        let stop_timeout = self.dir.known(id)?.spec.stop_timeout;
        let lock = self.dir.lock(id, OTHERS + stop_timeout).await?;
        // As it is now that nobody else changes it.
        let record = self.dir.known(id)?;
        Ok((lock, record))
    }
}

/// The process that leads an instance, whoever started it last; `None` = it is not known there, or was never started. For
/// those who only read of it.
///
/// # Errors
/// When the state directory's file cannot be read.
pub fn leader(dir: &Path, name: &str) -> Result<Option<ProcessId>, PlatformError> {
    let id = InstanceId::new(name)?;
    Ok(StateDir::open(dir)?.record(&id)?.and_then(|record| record.process))
}

/// An error of the system about an instance.
fn system(id: &InstanceId, doing: &'static str) -> impl FnOnce(std::io::Error) -> PlatformError {
    move |source| PlatformError::System { name: id.to_string(), doing, source }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
