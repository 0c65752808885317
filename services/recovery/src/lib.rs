//! Recovery: watches the targets of runs, finds what is wrong with them and why, and brings them back (requirement R7.1).
//!
//! * Each instance is watched in three ways: as load reaches it, directly, and as a process. What the three see together
//!   says what kind of trouble it is ([`protocol::faults::Issue`]).
//! * Trouble is an **incident**. The faults that chaos tells of are compared with when it began: the one that was there then
//!   is its cause. An incident without one is the target's own.
//! * An incident is acted upon as the plan says, one way after the other: start the instance again, lead load to a backup,
//!   send less load. Each has a precondition, a deadline, a verification and a limit.
//! * What is seen and done is told as records. It is over once the target was seen to be healthy often enough.
//!
//! Nothing that it started on the platform is ended with it: that belongs to the platform's owner, the run.
#![forbid(unsafe_code)]

mod actions;
mod board;
mod budgets;
mod cause;
mod condition;
mod fault_news;
mod guard;
mod health;
mod host;
mod incident;
mod opening;
mod options;
mod place;
mod route;
mod run;
mod serve;
mod service;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use ::service::{Blame, ServiceError, Shutdown, Tasks};
use bus::{Bus, BusError};

pub use options::Options;

use crate::service::Service;

/// How long tasks may take to end.
const FINISH: Duration = Duration::from_secs(2);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A task without which the service cannot go on.
    #[error(transparent)]
    Task(#[from] ::service::Failure),
}

impl ServiceError for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::Task(failure) => failure.blame(),
            Self::Bus(_) => Blame::Environment,
        }
    }
}

/// Serves until `shutdown` is triggered. On return nothing is watched or acted upon any more.
///
/// # Errors
/// When the bus fails.
pub async fn run(options: Options, bus: Bus, shutdown: Shutdown) -> Result<(), Error> {
    let tasks = Tasks::new(shutdown.clone());
    let Options { clock, ready } = options;
    let service = Arc::new(Service::new(bus, clock, shutdown.clone()));
    fault_news::start(&service, &tasks).await?;
    serve::start(&service, &tasks).await?;
    if let Some(ready) = ready {
        // Nobody may be waiting for it.
        let _ = ready.send(());
    }
    shutdown.triggered().await;
    service.end_all().await;
    tasks.finish(FINISH).await;
    match tasks.failures().into_iter().next() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}
