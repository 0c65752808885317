//! What the service hears: beats of the scheduler, and commands.

use std::sync::Arc;

use ::service::{OnError, Shutdown, Tasks};
use bus::Server;
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
    let until = |end| Server { bus: &service.bus, service, tasks, end };
    let server = until(shutdown);
    server.serve("serve OpenChaos", Service::open).await?;
    server.serve("serve BeginChaosPhase", Service::begin_phase).await?;
    let server = until(end);
    server.serve("serve EndChaosPhase", Service::end_phase).await?;
    server.serve("serve CloseChaos", Service::close).await?;
    server.serve("serve InjectFault", Service::inject).await?;
    server.serve("serve StopFault", Service::stop).await?;
    Ok(server.serve("serve QueryFaults", Service::query).await?)
}
