//! The service around the load threads: commands, bundles, heartbeats, publishing.
//!
//! One task owns everything of a run (`service_loop`); what takes long (compiling guests, resolving names) runs beside it and
//! hands over what came of it. Heartbeats have a thread of their own, so that nothing here can delay them.

mod active;
mod assign;
mod endpoint_news;
pub(crate) mod endpoints;
mod guests;
mod health;
mod heartbeat;
mod mix;
mod orphanage;
mod phases;
mod prepare;
mod publisher;
mod room;
mod running;
mod scheduler_lost;
mod service_loop;
mod tls;
mod trial;
mod weight;

use std::path::PathBuf;
use std::time::Duration;

use bus::{Bus, BusError};
use protocol::id::WorkerId;
use sandbox::Compile;
use service::{Blame, ServiceError, Shutdown};
use tokio::sync::oneshot;

pub use weight::Weight;

/// How a load-worker is set up.
#[derive(Debug)]
pub struct Options {
    /// Its id: commands to it are addressed to this.
    pub worker: WorkerId,
    /// Where its spools are (in `spool/`), across restarts.
    pub state_dir: PathBuf,
    /// Where compiled guests are kept; absent = each run compiles.
    pub cache_dir: Option<PathBuf>,
    /// Where guests are compiled.
    pub compile: Compile,
    /// Load threads instead of the plan's; absent = the plan's, and without one there cores − 1, at least 1.
    pub threads: Option<u32>,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// How long resolving the host name of a target may take.
    pub resolve_timeout: Duration,
    /// Over a network: the worker stops by itself when it is cut off from the bus or its scheduler is gone, and measures
    /// its clock against the scheduler's. `None` in one process, where neither can happen.
    pub apart: Option<Apart>,
    /// Told when commands are served.
    pub ready: Option<oneshot::Sender<()>>,
}

/// What a worker needs that is on another host than its scheduler (requirements R4.6, R9.6).
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// How often the clock's offset is measured.
    pub clock_every: Duration,
    /// What this host's wall clock shows too much; not 0 only in tests of what a wrong clock does.
    pub clock_shift_ns: i64,
    /// Its part of the load against other workers'; `None` = it measures, and so do they.
    pub weight: Option<Weight>,
}

impl Default for Apart {
    fn default() -> Self {
        Self { clock_every: Duration::from_secs(30), clock_shift_ns: 0, weight: None }
    }
}

impl Options {
    /// A worker that compiles guests in its own process and keeps nothing of them.
    #[must_use]
    pub fn new(worker: WorkerId, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            worker,
            state_dir: state_dir.into(),
            cache_dir: None,
            compile: Compile::InProcess,
            threads: None,
            heartbeat: Duration::from_millis(500),
            resolve_timeout: Duration::from_secs(5),
            apart: None,
            ready: None,
        }
    }
}

/// Why a worker cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The thread for heartbeats could not be started.
    #[error("the heartbeat thread does not start: {0}: allow this user more threads (`ulimit -u`)")]
    Heartbeat(std::io::Error),
    /// A load thread ended in the middle of a run. What it had counted is published or stays in its spool.
    #[error("load thread {thread} ended: {message}")]
    LoadThread {
        /// Which.
        thread: u32,
        /// What happened.
        message: String,
    },
}

impl ServiceError for Error {
    fn blame(&self) -> Blame {
        match self {
            // What a load thread meets in the world it counts; it ends by our own fault only.
            Self::LoadThread { .. } => Blame::Bug,
            Self::Bus(_) | Self::Heartbeat(_) => Blame::Environment,
        }
    }
}

/// Serves commands to this worker until `shutdown`; a run that is under way then is ended at once, with what it counted
/// published. A worker has no store: what it must not lose is in its spool.
///
/// # Errors
/// When the bus fails or a load thread ends by itself.
pub async fn run(options: Options, bus: Bus, shutdown: Shutdown) -> Result<(), Error> {
    service_loop::run(options, bus, shutdown).await
}

#[cfg(test)]
mod tests;
