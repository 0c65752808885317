//! The seam between those who act on systems under test and what these run on.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;

use crate::PlatformError;
use crate::instance::{Asked, Instance, InstanceId, Started, Stopped};

/// What systems under test run on: processes of this machine ([`crate::processes::Processes`]), later containers and pods.
#[async_trait]
pub trait Platform: Send + Sync + fmt::Debug {
    /// All instances, in order of name.
    ///
    /// # Errors
    /// When the platform cannot be asked.
    async fn instances(&self) -> Result<Vec<Instance>, PlatformError>;

    /// One instance.
    ///
    /// # Errors
    /// When there is none of this name, or the platform cannot be asked.
    async fn instance(&self, id: &InstanceId) -> Result<Instance, PlatformError>;

    /// Makes sure that it runs and is ready. One that runs already is left as it is; two who start it at once get one.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time; then nothing of what was begun here is left.
    async fn start(&self, id: &InstanceId) -> Result<Started, PlatformError>;

    /// Ends it gracefully, and kills what is left after its stop timeout. Nothing of it is left on return.
    ///
    /// # Errors
    /// When it cannot be ended.
    async fn stop(&self, id: &InstanceId) -> Result<Stopped, PlatformError>;

    /// Ends it at once with all that belongs to it, without a chance to clean up. Nothing of it is left on return.
    ///
    /// # Errors
    /// When it cannot be ended.
    async fn kill(&self, id: &InstanceId) -> Result<Stopped, PlatformError>;

    /// Stops it in its tracks, with all that belongs to it; on return it is seen to stand still.
    ///
    /// # Errors
    /// When it does not run, or does not stand still in time.
    async fn pause(&self, id: &InstanceId) -> Result<(), PlatformError>;

    /// Lets it go on after a pause; on return nothing of it stands still.
    ///
    /// # Errors
    /// When it has ended, or does not go on in time.
    async fn resume(&self, id: &InstanceId) -> Result<(), PlatformError>;

    /// Says that an end of the present generation that is to come is on purpose, for those who end it by other means.
    ///
    /// # Errors
    /// When there is no such instance, or it cannot be noted.
    async fn expect_exit(&self, id: &InstanceId, asked: Asked) -> Result<(), PlatformError>;

    /// Where it accepts TCP connections now.
    ///
    /// # Errors
    /// When it does not run.
    async fn addresses(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, PlatformError>;

    /// Which program it runs: equal texts mean the same program.
    ///
    /// # Errors
    /// When it does not run.
    async fn version(&self, id: &InstanceId) -> Result<String, PlatformError>;

    /// What it printed last since it was started, at most so many lines (and at most 64 KiB), oldest first.
    ///
    /// # Errors
    /// When there is no such instance.
    async fn logs(&self, id: &InstanceId, lines: usize) -> Result<Vec<String>, PlatformError>;

    /// Starts and ends from now on, whoever causes them.
    ///
    /// # Errors
    /// When the platform cannot be asked.
    fn events(&self) -> Result<Box<dyn EventSource>, PlatformError>;
}

/// Tells of starts and ends.
#[async_trait]
pub trait EventSource: Send + fmt::Debug {
    /// The next one; waits for it. Can be dropped and asked again without a loss.
    ///
    /// # Errors
    /// When the platform cannot be asked any more; asking again may help.
    async fn next(&mut self) -> Result<Event, PlatformError>;
}

/// A start or an end of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which.
    pub instance: InstanceId,
    /// Which of its lives: the first start begins generation 1.
    pub generation: u32,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was started; it need not be ready yet.
    Started,
    /// It has ended.
    Exited {
        /// How, if anybody knows: `exit code 1`, `signal 9`.
        status: Option<String>,
        /// What had been asked of it; absent = it ended by itself.
        asked: Option<Asked>,
    },
}
