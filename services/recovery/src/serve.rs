//! The commands of the service.

use std::sync::Arc;

use ::service::{OnError, Tasks};
use bus::{Address, Requests};
use protocol::id::RunId;
use protocol::message::Command;
use tracing::Instrument as _;

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

async fn serve<C, H>(
    (service, tasks): &(&Arc<Service>, &Tasks),
    name: &'static str,
    handle: H,
) -> Result<(), Error>
where
    C: Command,
    H: Handle<C>,
{
    let requests: Requests<C> = service.bus.serve(Address::Service).await?;
    tasks.spawn(name, OnError::ShutDown, answer(Arc::clone(service), requests, handle));
    Ok(())
}

/// An asynchronous method of the service that answers a command.
trait Handle<C: Command>: Send + 'static {
    fn call(
        &self,
        service: Arc<Service>,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, String>> + Send;
}

impl<C, F, R> Handle<C> for F
where
    C: Command,
    F: Fn(Arc<Service>, C) -> R + Send + 'static,
    R: Future<Output = Result<C::Reply, String>> + Send,
{
    fn call(
        &self,
        service: Arc<Service>,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, String>> + Send {
        self(service, command)
    }
}

async fn answer<C: Command, H: Handle<C>>(
    service: Arc<Service>,
    mut requests: Requests<C>,
    handle: H,
) -> Result<(), Error> {
    loop {
        let request = tokio::select! {
            biased;
            () = service.shutdown.triggered() => return Ok(()),
            request = requests.next() => request,
        };
        let Some(request) = request else { return Ok(()) };
        let (command, replier) = request.into_parts();
        let answer = handle.call(Arc::clone(&service), command).instrument(replier.span().clone());
        replier.reply(answer.await);
    }
}

/// The run that a command is about.
pub(crate) fn run_of(bytes: &[u8]) -> Result<RunId, String> {
    RunId::from_bytes(bytes).map_err(|error| error.to_string())
}
