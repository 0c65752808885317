//! Chaos: the faults of a run, injected when the plan says, ended in time, and seen to be gone.
//!
//! * Which faults come, when and to whom is a function of the plan ([`plan::chaos::schedule`]); this service maps a
//!   phase's start once to its monotonic clock and begins each fault at its instant.
//! * It touches nothing itself. The fault agent, a process of its own, does what is done to processes and to this host, and
//!   undoes it when we die; the fault proxy, another one, does what is done to connections; processes are started and
//!   stopped through the platform.
//! * What happens is told as records, in order: a fault is told to begin before anything is touched, to be there when it
//!   was read back, and to have ended when it was seen to be gone.
//! * Every fault ends: at its duration, by its stop condition, by hand, with its phase, with this service, or when the
//!   scheduler is not heard for the plan's `control.controller-lease`. What could not be seen to be gone is `unrecovered`, and
//!   said so.
#![forbid(unsafe_code)]

mod agent_source;
mod backends;
mod board;
mod by_hand;
mod capabilities;
mod fault;
mod journal;
mod left;
mod opening;
mod options;
mod phase;
mod run;
mod schedule;
mod scheduler_lost;
mod serve;
mod service;
mod stop_condition;

use std::path::PathBuf;
use std::sync::Arc;

use ::service::{Blame, ServiceError, Shutdown, Tasks};
use bus::{Bus, BusError};

pub use options::Options;

use crate::service::Service;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The state directory cannot be used.
    #[error("chaos: state directory {}: {source}: choose one that can be written", .path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A task without which the service cannot go on.
    #[error(transparent)]
    Task(#[from] ::service::Failure),
}

impl ServiceError for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::Task(failure) => failure.blame(),
            Self::Bus(_) | Self::StateDir { .. } => Blame::Environment,
        }
    }
}

/// Ends the service's tasks with it, also when it is dropped before its end: some of them hold what owns them.
struct Ended(Tasks);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves until `shutdown` is triggered. On return every fault was undone, or was told to be unrecovered, and the agent has
/// ended. So has the proxy, unless its run goes on: then load does, too, and the proxy stays for it until another life of
/// this service takes it over, or its lease has ended.
///
/// # Errors
/// When the state directory cannot be written or the bus fails.
pub async fn run(options: Options, bus: Bus, shutdown: Shutdown) -> Result<(), Error> {
    let unusable = |source| Error::StateDir { path: options.state_dir.clone(), source };
    std::fs::create_dir_all(&options.state_dir).map_err(unusable)?;
    // Faults end after the shutdown; what tells of them ends after they have.
    let end = Shutdown::new();
    let tasks = Tasks::new(end.clone());
    let _ended = Ended(tasks.clone());
    let Options { ready, .. } = options;
    let options = Options { ready: None, ..options };
    let service = Arc::new(Service::new(options, bus, tasks.clone(), shutdown.clone()));
    // Before anything is accepted: what an earlier life left is undone.
    service.clean_up().await;
    serve::start(&service, &tasks, &shutdown, &end).await?;
    if let Some(ready) = ready {
        // Nobody may be waiting for it.
        let _ = ready.send(());
    }
    tokio::select! {
        () = shutdown.triggered() => {}
        () = end.triggered() => {}
    }
    service.end(&shutdown.reason().unwrap_or_default()).await;
    end.trigger("chaos has ended");
    tasks.finish(options::FINISH).await;
    match tasks.failures().into_iter().next() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}
