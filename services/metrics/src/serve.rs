//! The commands of the service.

use std::sync::Arc;

use bus::Address;
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Tasks};

use crate::Error;
use crate::service_state::Service;

/// Begins to serve. Each kind of command has a task of its own: a long answer keeps only its like waiting.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let owner = &(service, tasks);
    serve(owner, "serve WatchRun", Service::watch).await?;
    serve(owner, "serve UnwatchRun", Service::unwatch).await?;
    serve(owner, "serve MarkPhase", Service::mark_phase).await?;
    serve(owner, "serve QueryAggregate", Service::query_aggregate).await?;
    serve(owner, "serve QueryRun", Service::query_run).await?;
    serve(owner, "serve QueryProbes", Service::query_probes).await
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

/// Done.
pub(crate) const fn done() -> v1::Ack {
    v1::Ack {}
}
