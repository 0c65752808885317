//! The serving end of a command.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message as _;
use protocol::id::RunId;
use protocol::message::Command;
use service::{OnError, Shutdown, Tasks, traces};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use crate::in_process::servers::RawRequest;
use crate::{Address, Bus, BusError};

/// Answers the commands that are addressed to a service, each kind in a task of its own: a long answer keeps only its
/// like waiting.
#[derive(Debug)]
pub struct Server<'a, S> {
    /// Where they come from.
    pub bus: &'a Bus,
    /// Who answers.
    pub service: &'a Arc<S>,
    /// Who waits for the tasks; one that ends otherwise than by `end` or with the bus ends the service.
    pub tasks: &'a Tasks,
    /// From then on nothing is answered.
    pub end: &'a Shutdown,
}

impl<S: Send + Sync + 'static> Server<'_, S> {
    /// Begins to answer one kind of command. `name` is that of its task, as in `serve OpenChaos`.
    ///
    /// # Errors
    /// When the transport refuses.
    pub async fn serve<C, R>(
        &self,
        name: &'static str,
        handle: impl Fn(Arc<S>, C) -> R + Send + Sync + 'static,
    ) -> Result<(), BusError>
    where
        C: Command,
        R: Future<Output = Result<C::Reply, String>> + Send + 'static,
    {
        let requests = self.bus.serve::<C>(Address::Service).await?;
        let (service, end) = (Arc::clone(self.service), self.end.clone());
        self.tasks.spawn(name, OnError::ShutDown, async move {
            requests.answer(&end, |command| handle(Arc::clone(&service), command)).await;
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(())
    }
}

/// A stream of requests. Dropping it withdraws the server; requests that it holds get no answer.
#[derive(Debug)]
pub struct Requests<C> {
    requests: Receiver<RawRequest>,
    /// Of a server that is addressed by itself.
    instance: Option<String>,
    kind: PhantomData<fn() -> C>,
}

impl<C: Command> Requests<C> {
    pub(crate) fn new(requests: Receiver<RawRequest>, address: Address) -> Self {
        let instance = match address {
            Address::Service => None,
            Address::Instance(id) => Some(id),
        };
        Self { requests, instance, kind: PhantomData }
    }

    /// The next request; `None` when the bus has ended. Safe to drop and call anew, as in `select!`.
    pub async fn next(&mut self) -> Option<Request<C>> {
        loop {
            let RawRequest { body, reply, trace } = self.requests.recv().await?;
            match C::decode(body) {
                Ok(body) => {
                    let span = traces::under(trace.as_ref(), || self.span_of(&body));
                    return Some(Request { body, replier: Replier { reply, span, kind: PhantomData } });
                }
                Err(error) => {
                    tracing::warn!(subject = ?C::SUBJECT, %error, "a command cannot be read and is refused");
                    let _ = reply.send(Err(format!("the command cannot be read: {error}")));
                }
            }
        }
    }
}

impl<C: Command> Requests<C> {
    /// Answers one request after the other until `end`, or until the bus has ended. What `handle` does is done in the span
    /// of its command.
    pub async fn answer<R>(mut self, end: &Shutdown, handle: impl Fn(C) -> R)
    where
        R: Future<Output = Result<C::Reply, String>>,
    {
        loop {
            let request = tokio::select! {
                biased;
                () = end.triggered() => return,
                request = self.next() => request,
            };
            let Some(request) = request else { return };
            let (command, replier) = request.into_parts();
            let answer = handle(command).instrument(replier.span().clone()).await;
            replier.reply(answer);
        }
    }

    /// What a server does for a command.
    fn span_of(&self, command: &C) -> Span {
        let (area, what) = C::SUBJECT;
        let span = service::span!("command", otel.name = format!("{area} {what}"), otel.kind = "server");
        if let Ok(run) = RunId::from_bytes(command.run()) {
            traces::note(&span, "gauntlet.run.id", run.to_string());
        }
        if let Some(phase) = command.phase() {
            traces::note(&span, "gauntlet.phase.index", i64::from(phase));
        }
        if let Some(worker) = &self.instance {
            // Only load-workers are addressed one by one.
            traces::note(&span, "gauntlet.worker.id", worker.clone());
        }
        span
    }
}

/// A request that waits for its answer. Dropped without one, the caller learns that there will be none.
#[derive(Debug)]
pub struct Request<C: Command> {
    /// What is asked for.
    pub body: C,
    replier: Replier<C>,
}

impl<C: Command> Request<C> {
    /// Answers: with the reply, or with why not, worded for the user.
    pub fn reply(self, answer: Result<C::Reply, String>) {
        self.replier.reply(answer);
    }

    /// What is done for the command, from its arrival to its answer, in the trace of whoever sent it; disabled where that is
    /// none.
    #[must_use]
    pub fn span(&self) -> Span {
        self.replier.span.clone()
    }

    /// The command by itself, and what answers it later.
    #[must_use]
    pub fn into_parts(self) -> (C, Replier<C>) {
        (self.body, self.replier)
    }
}

/// What answers one request.
#[derive(Debug)]
pub struct Replier<C> {
    reply: oneshot::Sender<Result<bytes::Bytes, String>>,
    span: Span,
    kind: PhantomData<fn() -> C>,
}

impl<C: Command> Replier<C> {
    /// Answers: with the reply, or with why not, worded for the user.
    pub fn reply(self, answer: Result<C::Reply, String>) {
        if let Err(why) = &answer {
            traces::failed(&self.span, why);
        }
        let encoded = answer.map(|reply| reply.encode_to_vec().into());
        // A caller whose deadline has passed does not hear it.
        let _ = self.reply.send(encoded);
    }

    /// [`Request::span`].
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// Whether somebody still waits for the answer.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }
}
