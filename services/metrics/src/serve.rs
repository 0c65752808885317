//! The commands of the service.

use std::sync::Arc;

use bus::Server;
use protocol::v1;
use service::Tasks;

use crate::Error;
use crate::service_state::Service;

/// Begins to serve.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let server = Server { bus: &service.bus, service, tasks, end: &service.shutdown };
    server.serve("serve WatchRun", Service::watch).await?;
    server.serve("serve UnwatchRun", Service::unwatch).await?;
    server.serve("serve MarkPhase", Service::mark_phase).await?;
    server.serve("serve QueryAggregate", Service::query_aggregate).await?;
    server.serve("serve QueryRun", Service::query_run).await?;
    Ok(server.serve("serve QueryProbes", Service::query_probes).await?)
}

/// Done.
pub(crate) const fn done() -> v1::Ack {
    v1::Ack {}
}
