//! Commands to the other services, each with its deadline and with errors in words that name the service.

mod chaos;
mod load;
mod metrics;
mod recovery;

use std::time::Duration;

use bus::{Address, Bus, CommandError};
use protocol::id::{RunId, WorkerId};
use protocol::message::Command;

pub(crate) use chaos::Chaos;
pub(crate) use load::{Bundle, Load};
pub(crate) use metrics::Metrics;
pub(crate) use recovery::Recovery;

/// How long `chaos` and `recovery` may take to answer: to be started anew, to undo what a former life left, to start what
/// they need. What is to be undone at a phase's end must be gone by then, too.
const FAULTS_DEADLINE: Duration = Duration::from_secs(30);

/// Why a command had no good answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The service did not answer in time, or there is none.
    #[error("lost {who}: {detail}")]
    Lost {
        /// `metrics`, `load-worker 01…`.
        who: String,
        /// What was tried and how it ended.
        detail: String,
    },
    /// The service answered that it will not.
    #[error("{who} refused {what}: {why}")]
    Refused {
        /// `metrics`, `load-worker 01…`.
        who: String,
        /// The last word of the command's subject.
        what: &'static str,
        /// Its words.
        why: String,
    },
}

/// The way to other services about one run.
#[derive(Clone)]
pub(crate) struct Link {
    bus: Bus,
    run: Vec<u8>,
}

impl Link {
    pub(crate) fn new(bus: Bus, run: RunId) -> Self {
        Self { bus, run: run.to_bytes() }
    }

    /// The run's id as messages carry it.
    pub(crate) fn run(&self) -> &[u8] {
        &self.run
    }

    /// The same, for a message to own.
    fn own_run(&self) -> Vec<u8> {
        self.run.clone()
    }

    /// Asks the service that the command's subject names.
    async fn ask<C: Command>(&self, command: &C, deadline: Duration) -> Result<C::Reply, LinkError> {
        self.send(|| C::SUBJECT.0.to_owned(), &Address::Service, command, deadline).await
    }

    /// Asks one load-worker.
    async fn ask_worker<C: Command>(
        &self,
        to: WorkerId,
        command: &C,
        deadline: Duration,
    ) -> Result<C::Reply, LinkError> {
        self.send(|| format!("load-worker {to}"), &Address::Instance(to.to_string()), command, deadline).await
    }

    async fn send<C: Command>(
        &self,
        who: impl Fn() -> String,
        to: &Address,
        command: &C,
        deadline: Duration,
    ) -> Result<C::Reply, LinkError> {
        let what = C::SUBJECT.1;
        self.bus.command(to, command, deadline).await.map_err(|error| match error {
            CommandError::Refused(why) => LinkError::Refused { who: who(), what, why },
            other => LinkError::Lost { who: who(), detail: format!("`{what}` was not answered ({other})") },
        })
    }
}
