//! The commands of the service.

use std::sync::Arc;

use ::service::Tasks;
use bus::Server;

use crate::Error;
use crate::service::Service;

/// Begins to serve.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let server = Server { bus: &service.bus, service, tasks, end: &service.shutdown };
    server.serve("serve OpenRecovery", Service::open).await?;
    server.serve("serve BeginRecoveryPhase", Service::begin_phase).await?;
    server.serve("serve EndRecoveryPhase", Service::end_phase).await?;
    server.serve("serve CloseRecovery", Service::close).await?;
    Ok(server.serve("serve QueryRecovery", Service::query).await?)
}
