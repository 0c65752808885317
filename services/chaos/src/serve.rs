//! What the service hears: beats of the scheduler, and commands. Each kind of command has a task of its own: a long answer
//! keeps only its like waiting.

use std::sync::Arc;

use ::service::{OnError, Shutdown, Tasks};
use bus::Address;
use protocol::message::Command;
use protocol::v1;

use crate::Error;
use crate::scheduler_lost;
use crate::service::Service;

/// Begins to serve: what ends faults until `end`, what begins something until the shutdown. Who asks for that later waits
/// for the next life of this service.
pub(crate) async fn start(
    service: &Arc<Service>,
    tasks: &Tasks,
    shutdown: &Shutdown,
    end: &Shutdown,
) -> Result<(), Error> {
    let beats = service.bus.subscribe::<v1::SchedulerBeat>().await?;
    let hear = scheduler_lost::hear(Arc::clone(service), beats, end.clone());
    tasks.spawn("scheduler beats", OnError::ShutDown, hear);
    let owner = &(service, tasks, shutdown);
    serve(owner, "serve OpenChaos", Service::open).await?;
    serve(owner, "serve BeginChaosPhase", Service::begin_phase).await?;
    let owner = &(service, tasks, end);
    serve(owner, "serve EndChaosPhase", Service::end_phase).await?;
    serve(owner, "serve CloseChaos", Service::close).await?;
    serve(owner, "serve InjectFault", Service::inject).await?;
    serve(owner, "serve StopFault", Service::stop).await?;
    serve(owner, "serve QueryFaults", Service::query).await
}

async fn serve<C, R>(
    (service, tasks, end): &(&Arc<Service>, &Tasks, &Shutdown),
    name: &'static str,
    handle: impl Fn(Arc<Service>, C) -> R + Send + Sync + 'static,
) -> Result<(), Error>
where
    C: Command,
    R: Future<Output = Result<C::Reply, String>> + Send + 'static,
{
    let requests = service.bus.serve::<C>(Address::Service).await?;
    let (service, end) = (Arc::clone(service), (*end).clone());
    tasks.spawn(name, OnError::ShutDown, async move {
        requests.answer(&end, |command| handle(Arc::clone(&service), command)).await;
        Ok::<(), std::convert::Infallible>(())
    });
    Ok(())
}
