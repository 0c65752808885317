//! The stress cycle controller: runs, phases, decisions, history and the public HTTP API (requirement R2).
//!
//! [`run`] serves until told to stop. A run begins with the command `CreateRun` (or `POST /v1/runs`), and goes through its
//! phases in a task of its own: pre-phase checks (`validation`), execution, collection, decision (`decision`,
//! [`objectives`]), next phase. Everything that happens is an entry of the run's history, of which the scheduler is the
//! only writer: stored first, then announced.
#![forbid(unsafe_code)]

mod api;
mod clock;
mod control;
mod decision;
mod division;
mod endpoint_news;
mod expectations;
mod figures;
mod history;
mod links;
mod news;
pub mod objectives;
mod orphans;
mod processes;
mod run;
mod service_loop;
mod shedding;
mod table;
mod takeover;
mod validation;
pub mod verdict;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bus::{Bus, BusError};
use protocol::id::WorkerId;
use service::{Blame, ServiceError, Shutdown};
use store::{Store, StoreError};
use tokio::sync::oneshot;

pub use api::openapi;
pub use clock::Clock;

/// How a scheduler is set up.
pub struct Options {
    /// Where the HTTP API listens, `host:port`; port 0 = any free one. Not loopback = a token is needed.
    pub api: String,
    /// What callers of the HTTP API must send as `Authorization: Bearer …`; absent = nothing, and loopback only.
    pub token: Option<String>,
    /// Told the API's address once it listens and commands are served.
    pub ready: Option<oneshot::Sender<SocketAddr>>,
    /// Directory for what the plan's processes print (`<name>.log`), and, while they run, for what is known of them
    /// (`processes/`, which others open to act on them); its free disk is checked before each phase.
    pub run_dir: PathBuf,
    /// Workers that are known before their first heartbeat, as in one process; a run need not wait to hear them, and ends
    /// when one is lost. Empty = workers are apart and known by their heartbeats: they may be lost, come back and join.
    pub workers: Vec<WorkerId>,
    /// Workers that a run waits for before it begins, as long as `control.validate-timeout`; at least 1.
    pub least_workers: usize,
    /// How long before an instant its command is sent: start of a phase, change of load. Must cover delivery.
    pub lead: Duration,
    /// Name of this scheduler as the holder of leases on its runs. A scheduler that restarts under the same name takes
    /// up its former run at once; under another, when their leases have ended.
    pub instance: String,
    /// The wall clock.
    pub clock: Clock,
}

impl Options {
    /// A scheduler for one process: API on a free loopback port, no token, 5 ms of lead.
    #[must_use]
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            api: "127.0.0.1:0".to_owned(),
            token: None,
            ready: None,
            run_dir: run_dir.into(),
            workers: Vec::new(),
            least_workers: 1,
            lead: Duration::from_millis(5),
            instance: "scheduler".to_owned(),
            clock: Clock::system(),
        }
    }
}

/// Why a scheduler cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error(
        "api address {address:?}: {problem}: expected `host:port` such as `127.0.0.1:7070`; set `control.api`"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Others could reach the API, and nothing protects it.
    #[error("api address {address} is not loopback: set a token, or listen on 127.0.0.1 (`control.api`)")]
    Unprotected {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The port cannot be had.
    #[error(
        "api address {address}: cannot listen there: {source}: end what uses the port, or set `control.api` to another, 0 = any"
    )]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The API's server failed.
    #[error("api: {0}")]
    Serve(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl ServiceError for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::Address { .. } | Self::Unprotected { .. } => Blame::Input,
            Self::Listen { .. } | Self::Serve(_) => Blame::Environment,
            Self::Store(error) if error.is_environment() => Blame::Environment,
            Self::Store(_) => Blame::Bug,
            Self::Bus(_) => Blame::Environment,
        }
    }
}

/// Serves commands and the HTTP API and runs what it is asked to, until `shutdown`; then ends its runs gracefully, each
/// with the shutdown's reason, and returns when they are over.
///
/// # Errors
/// When the API's address cannot be used, or the store or the bus fails.
pub async fn run(options: Options, bus: Bus, store: Store, shutdown: Shutdown) -> Result<(), Error> {
    service_loop::run(options, bus, store, shutdown).await
}
