//! The commands of the service.

use std::sync::Arc;

use ::service::{OnError, Tasks};
use bus::Address;
use protocol::message::Command;

use crate::Error;
use crate::service::Service;

/// Begins to serve. Each kind of command has a task of its own: a long answer keeps only its like waiting.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let owner = &(service, tasks);
    serve(owner, "serve OpenRecovery", Service::open).await?;
    serve(owner, "serve BeginRecoveryPhase", Service::begin_phase).await?;
    serve(owner, "serve EndRecoveryPhase", Service::end_phase).await?;
    serve(owner, "serve CloseRecovery", Service::close).await?;
    serve(owner, "serve QueryRecovery", Service::query).await
}

async fn serve<C, R>(
    (service, tasks): &(&Arc<Service>, &Tasks),
    name: &'static str,
    handle: impl Fn(Arc<Service>, C) -> R + Send + Sync + 'static,
) -> Result<(), Error>
where
    C: Command,
    R: Future<Output = Result<C::Reply, String>> + Send + 'static,
{
    let requests = service.bus.serve::<C>(Address::Service).await?;
    let service = Arc::clone(service);
    tasks.spawn(name, OnError::ShutDown, async move {
        requests.answer(&service.shutdown, |command| handle(Arc::clone(&service), command)).await;
        Ok::<(), Error>(())
    });
    Ok(())
}
