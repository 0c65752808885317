//! The serving end of commands: a pump per subject takes requests off the connection, hands them to the server's bounded queue and
//! sends the answers. A command that comes twice is done once.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use service::OnError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Nats;
use super::envelope::{self, Kind};
use crate::error::BusError;
use crate::in_process::servers::RawRequest;

/// Requests that may wait at a server, as in process.
const WAITING: usize = 64;
/// Answers kept for commands that come again.
const REMEMBERED: usize = 128;
/// Answers over this size are not kept: their commands are questions, which bear being asked twice.
const REMEMBERED_BYTES: usize = 64 << 10;
/// What a message may have beside its payload.
const HEADERS: usize = 1024;

/// Begins to serve a subject.
pub(super) async fn serve(
    nats: &Nats,
    subject: &str,
    group: bool,
) -> Result<mpsc::Receiver<RawRequest>, BusError> {
    let subscribed = if group {
        // The group has the subject's name: whoever serves it takes part.
        nats.client.queue_subscribe(subject.to_owned(), subject.to_owned()).await
    } else {
        nats.client.subscribe(subject.to_owned()).await
    };
    let messages = subscribed.map_err(|error| nats.lost(subject, error.to_string()))?;
    let (queue, requests) = mpsc::channel(WAITING);
    let part = nats.client.max_payload().saturating_sub(HEADERS).max(HEADERS);
    let server = Server {
        replies: Replies { client: nats.client.clone(), part },
        queue,
        answers: FuturesUnordered::new(),
        pending: HashMap::new(),
        done: HashMap::new(),
        order: VecDeque::new(),
    };
    nats.tasks.spawn("bus server", OnError::Log, async move {
        server.run(messages).await;
        Ok::<(), BusError>(())
    });
    Ok(requests)
}

/// How a command was answered.
#[derive(Clone)]
struct Answered {
    kind: Kind,
    body: Bytes,
}

/// Sends replies.
struct Replies {
    client: Client,
    /// Bytes of a reply's part.
    part: usize,
}

struct Server {
    replies: Replies,
    queue: mpsc::Sender<RawRequest>,
    answers: FuturesUnordered<BoxFuture<'static, (String, Option<Answered>)>>,
    /// Commands at the server, and where each answer is awaited.
    pending: HashMap<String, Vec<Subject>>,
    done: HashMap<String, Answered>,
    /// Of `done`, oldest first.
    order: VecDeque<String>,
}

impl Server {
    /// Until the stream of requests is dropped; then what was taken is still answered.
    async fn run(mut self, mut messages: Subscriber) {
        let mut open = true;
        while open || !self.answers.is_empty() {
            tokio::select! {
                () = self.queue.closed(), if open => {
                    open = false;
                    self.withdraw(&mut messages).await;
                }
                message = messages.next(), if open => match message {
                    Some(message) => self.take(message).await,
                    None => open = false,
                },
                Some((command, answered)) = self.answers.next(), if !self.answers.is_empty() => {
                    self.answer(command, answered).await;
                }
            }
        }
    }

    /// What is on its way to a server that has ended is given back.
    async fn withdraw(&mut self, messages: &mut Subscriber) {
        if messages.drain().await.is_err() {
            return;
        }
        // Bounded: a server that is gone must not wait for a connection that is, too.
        let rest = async {
            while let Some(message) = messages.next().await {
                if let Some(reply) = message.reply {
                    self.replies.send(&reply, Kind::NotTaken, Bytes::new()).await;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    }

    async fn take(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        let headers = message.headers.as_ref();
        let command = headers.and_then(|headers| headers.get(envelope::COMMAND));
        let command = command.map_or_else(|| reply.to_string(), |command| command.as_str().to_owned());
        if let Some(waiting) = self.pending.get_mut(&command) {
            if !waiting.contains(&reply) {
                waiting.push(reply);
            }
            return;
        }
        if let Some(Answered { kind, body }) = self.done.get(&command).cloned() {
            self.replies.send(&reply, kind, body).await;
            return;
        }
        let deadline = Duration::from_millis(envelope::number(headers, envelope::DEADLINE).unwrap_or(0));
        let (sender, answer) = oneshot::channel();
        // One that cannot be read is none: a trace is not worth a command.
        let trace = headers.and_then(|headers| headers.get(envelope::TRACE)?.as_str().parse().ok());
        match self.queue.try_send(RawRequest { body: message.payload, reply: sender, trace }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return self.replies.send(&reply, Kind::Busy, Bytes::new()).await,
            Err(TrySendError::Closed(_)) => {
                return self.replies.send(&reply, Kind::NotTaken, Bytes::new()).await;
            }
        }
        self.pending.insert(command.clone(), vec![reply]);
        self.answers.push(Box::pin(async move {
            let answered = match tokio::time::timeout(deadline, answer).await {
                Ok(Ok(Ok(body))) => Some(Answered { kind: Kind::Done, body }),
                Ok(Ok(Err(text))) => Some(Answered { kind: Kind::Refused, body: text.into() }),
                Ok(Err(_)) => Some(Answered { kind: Kind::Gone, body: Bytes::new() }),
                // Nobody waits any more, which the server sees by its replier.
                Err(_) => None,
            };
            (command, answered)
        }));
    }

    async fn answer(&mut self, command: String, answered: Option<Answered>) {
        let waiting = self.pending.remove(&command).unwrap_or_default();
        let Some(answered) = answered else { return };
        for reply in &waiting {
            self.replies.send(reply, answered.kind, answered.body.clone()).await;
        }
        if answered.kind != Kind::Gone && answered.body.len() <= REMEMBERED_BYTES {
            self.done.insert(command.clone(), answered);
            self.order.push_back(command);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.done.remove(&oldest);
            }
        }
    }
}

impl Replies {
    async fn send(&self, to: &Subject, kind: Kind, body: Bytes) {
        let of = body.len().div_ceil(self.part).max(1);
        for part in 0..of {
            let mut headers = HeaderMap::new();
            headers.insert(envelope::REPLY, kind.text());
            headers.insert(envelope::PART, format!("{part}/{of}"));
            let bytes = body.slice(part * self.part..body.len().min((part + 1) * self.part));
            if let Err(error) = self.client.publish_with_headers(to.clone(), headers, bytes).await {
                tracing::warn!(%error, "an answer cannot be sent; its caller asks again or gives up");
                return;
            }
        }
    }
}
