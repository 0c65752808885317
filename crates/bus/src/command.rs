//! The serving end of a command.

use std::marker::PhantomData;

use prost::Message as _;
use protocol::message::Command;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

use crate::in_process::servers::RawRequest;

/// A stream of requests. Dropping it withdraws the server; requests that it holds get no answer.
#[derive(Debug)]
pub struct Requests<C> {
    requests: Receiver<RawRequest>,
    kind: PhantomData<fn() -> C>,
}

impl<C: Command> Requests<C> {
    pub(crate) fn new(requests: Receiver<RawRequest>) -> Self {
        Self { requests, kind: PhantomData }
    }

    /// The next request; `None` when the bus has ended. Safe to drop and call anew, as in `select!`.
    pub async fn next(&mut self) -> Option<Request<C>> {
        loop {
            let RawRequest { body, reply } = self.requests.recv().await?;
            match C::decode(body) {
                Ok(body) => return Some(Request { body, replier: Replier { reply, kind: PhantomData } }),
                Err(error) => {
                    tracing::warn!(subject = ?C::SUBJECT, %error, "a command cannot be read and is refused");
                    let _ = reply.send(Err(format!("the command cannot be read: {error}")));
                }
            }
        }
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
    kind: PhantomData<fn() -> C>,
}

impl<C: Command> Replier<C> {
    /// Answers: with the reply, or with why not, worded for the user.
    pub fn reply(self, answer: Result<C::Reply, String>) {
        let encoded = answer.map(|reply| reply.encode_to_vec().into());
        // A caller whose deadline has passed does not hear it.
        let _ = self.reply.send(encoded);
    }

    /// Whether somebody still waits for the answer.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }
}
