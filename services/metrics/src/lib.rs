//! Exact merging of samples, live aggregates, target probes and the Prometheus endpoint.
//!
//! * Samples and guest faults come as records, are applied once by their key and acknowledged after the commit.
//!   What is in memory is a function of what is in the store: a restart reads it again.
//! * A run's phases are summed up by (scenario, step, target) and by second; sums are exact, percentiles are read
//!   from merged histograms only. An [`Aggregate`](protocol::v1::Aggregate) is broadcast for each second of a
//!   watched run as soon as all workers have told of it.
//! * Targets are probed from `WatchRun` to `UnwatchRun`, each probe by a task of its own.
//! * The newest run can be scraped by Prometheus, if an address is given.
#![forbid(unsafe_code)]

mod endpoint;
mod exposed;
#[cfg(test)]
mod fixture;
mod ingest;
mod live;
mod metric_definitions;
mod note;
mod probe;
mod query;
mod serve;
mod service_state;
mod state;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError};
use service::{Blame, OnError, ServiceError, Shutdown, Tasks};
use store::{Store, StoreError};
use tokio::sync::oneshot;

use service_state::Service;

#[cfg(test)]
mod tests;

/// How long tasks may take to end.
const FINISH: Duration = Duration::from_secs(2);

/// What can be chosen about the service.
#[derive(Debug, Default)]
pub struct Options {
    /// Where Prometheus may scrape `/metrics`: a loopback address; port 0 = any free one. `None` = nowhere.
    pub prometheus: Option<SocketAddr>,
    /// Is told the address once it is bound.
    pub prometheus_bound: Option<oneshot::Sender<SocketAddr>>,
    /// Is told when commands are served and samples taken.
    pub ready: Option<oneshot::Sender<()>>,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store failed: nothing could be applied any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Prometheus endpoint would be open to the network.
    #[error(
        "metrics endpoint {0}: not a loopback address: expected 127.0.0.1 or [::1], for it has no access control"
    )]
    NotLoopback(SocketAddr),
    /// The Prometheus endpoint has no port.
    #[error("metrics endpoint {address}: {source}: choose a free port, or 0 for any")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task without which the service cannot go on.
    #[error(transparent)]
    Task(#[from] service::Failure),
}

impl ServiceError for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::NotLoopback(_) => Blame::Input,
            Self::Store(error) if !error.is_environment() => Blame::Bug,
            Self::Task(failure) => failure.blame(),
            Self::Bus(_) | Self::Store(_) | Self::Bind { .. } => Blame::Environment,
        }
    }
}

/// Serves until `shutdown` is triggered.
///
/// # Errors
/// When the endpoint's address cannot be used, or the bus or the store fails.
pub async fn run(options: Options, bus: Bus, store: Store, shutdown: Shutdown) -> Result<(), Error> {
    let listener = match options.prometheus {
        Some(address) => Some(endpoint::bind(address).await?),
        None => None,
    };
    let service = Arc::new(Service::new(bus, store, shutdown.clone()));
    service.load_unfinished().await?;
    let tasks = Tasks::new(shutdown.clone());
    if let Some(listener) = listener {
        let bound = listener.local_addr().map_err(|source| Error::Bind { address: endpoint::ANY, source })?;
        tracing::info!(address = %bound, "metrics endpoint");
        if let Some(tell) = options.prometheus_bound {
            // Who asked may have lost interest.
            let _ = tell.send(bound);
        }
        let served = endpoint::serve(listener, Arc::clone(&service), shutdown.clone());
        tasks.spawn("metrics endpoint", OnError::Log, served);
    }
    ingest::start(&service, &tasks).await?;
    serve::start(&service, &tasks).await?;
    tasks.spawn("live aggregates", OnError::ShutDown, live::run(Arc::clone(&service)));
    tasks.spawn("probe notes", OnError::ShutDown, watch::keep_notes(Arc::clone(&service)));
    service.resume_probes().await;
    if let Some(ready) = options.ready {
        // Nobody may be waiting for it.
        let _ = ready.send(());
    }
    shutdown.triggered().await;
    service.stop_all_probes().await;
    tasks.finish(FINISH).await;
    match tasks.failures().into_iter().next() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}
