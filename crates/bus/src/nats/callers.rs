//! The asking end of commands: one inbox for all that this process asks, a command sent again until its deadline where its
//! server may have died with it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use service::traces::TraceParent;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::envelope::{self, Kind};
use super::lock;
use crate::error::{BusError, CommandError, Unanswered, Why};

/// Messages of replies that may wait for one caller.
const PARTS: usize = 256;
/// Bytes of a reply in all parts at most.
const LARGEST: usize = 64 << 20;
/// How long to wait before a command that nobody took is sent again: first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How long an answer may take before the command is sent again, in case its server died: first, and at most. A server
/// that lives does it once all the same.
const REPEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Everybody who waits for an answer.
#[derive(Debug)]
pub(super) struct Callers {
    /// [`protocol::access::reply_inbox`] and what tells this connection from others of the name.
    inbox: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Message>>>,
}

impl Callers {
    pub(super) fn new(inbox: String) -> Self {
        Self { inbox, next: AtomicU64::new(0), waiting: Mutex::default() }
    }

    /// Hands replies to those who wait, until the connection ends.
    pub(super) async fn receive(&self, mut replies: async_nats::Subscriber) {
        while let Some(reply) = replies.next().await {
            let token = reply.subject.rsplit('.').next().and_then(|token| token.parse().ok());
            let caller = token.and_then(|token: u64| lock(&self.waiting).get(&token).cloned());
            // Nobody waits for what comes after the deadline; and a caller whose queue is full has more than it can use.
            if let Some(caller) = caller {
                let _ = caller.try_send(reply);
            }
        }
    }

    /// The subject that [`Self::receive`] listens to.
    pub(super) fn subject(&self) -> String {
        format!("{}.>", self.inbox)
    }

    fn wait(&self) -> Waiting<'_> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(PARTS);
        lock(&self.waiting).insert(token, sender);
        Waiting { callers: self, token, replies }
    }

    /// Whether a message to ourselves came back by way of the server in time.
    pub(super) async fn echo(&self, client: &Client, deadline: Duration) -> bool {
        let mut waiting = self.wait();
        let there_and_back = async {
            client.publish(waiting.subject(), Bytes::new()).await.ok()?;
            waiting.replies.recv().await
        };
        matches!(tokio::time::timeout(deadline, there_and_back).await, Ok(Some(_)))
    }

    /// Asks a subject and waits for the answer.
    pub(super) async fn request(
        &self,
        client: &Client,
        subject: &str,
        body: Bytes,
        trace: Option<TraceParent>,
        deadline: Duration,
    ) -> Result<Result<Bytes, String>, CommandError> {
        let until = Instant::now() + deadline;
        let unanswered =
            |why| CommandError::NoAnswer(Unanswered { subject: subject.to_owned(), deadline, why });
        let mut waiting = self.wait();
        let command = format!("{}.{}", self.inbox, waiting.token);
        let (mut pause, mut repeat) = (AGAIN.0, REPEAT.0);
        loop {
            let mut headers = HeaderMap::new();
            let left = until.saturating_duration_since(Instant::now());
            headers.insert(envelope::DEADLINE, left.as_millis().to_string());
            headers.insert(envelope::COMMAND, command.clone());
            if let Some(trace) = &trace {
                headers.insert(envelope::TRACE, trace.to_string());
            }
            let sent = client.publish_with_reply_and_headers(
                subject.to_owned(),
                waiting.subject(),
                headers,
                body.clone(),
            );
            match timeout_at(until, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(CommandError::Bus(BusError::lost(subject, error.to_string()))),
                Err(_) => return Err(unanswered(Why::Silent)),
            }
            let again = until.min(Instant::now() + repeat);
            let why = match waiting.answer(again).await {
                Answer::Done(body) => return Ok(Ok(body)),
                Answer::Refused(text) => return Ok(Err(text)),
                Answer::Gone => return Err(unanswered(Why::Gone)),
                Answer::TooLarge => {
                    let detail = format!("its answer has over {LARGEST} bytes");
                    return Err(CommandError::Bus(BusError::lost(subject, detail)));
                }
                Answer::NotTaken => continue,
                Answer::Nobody => Why::NobodyServes,
                Answer::Busy => Why::Busy,
                Answer::None => {
                    repeat = (repeat * 2).min(REPEAT.1);
                    Why::Silent
                }
            };
            if why != Why::Silent {
                tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
                pause = (pause * 2).min(AGAIN.1);
            }
            if Instant::now() >= until {
                return Err(unanswered(why));
            }
        }
    }
}

/// One caller. Dropped, its replies are nobody's.
struct Waiting<'a> {
    callers: &'a Callers,
    token: u64,
    replies: mpsc::Receiver<Message>,
}

/// What came of sending a command once.
enum Answer {
    Done(Bytes),
    Refused(String),
    Gone,
    NotTaken,
    Nobody,
    Busy,
    TooLarge,
    /// Nothing in time.
    None,
}

impl Waiting<'_> {
    fn subject(&self) -> String {
        format!("{}.{}", self.callers.inbox, self.token)
    }

    async fn answer(&mut self, until: Instant) -> Answer {
        let mut parts: Vec<Option<Bytes>> = Vec::new();
        loop {
            let Ok(Some(reply)) = timeout_at(until, self.replies.recv()).await else { return Answer::None };
            let headers = reply.headers.as_ref();
            let Some(kind) = Kind::read(headers) else {
                if reply.status == Some(StatusCode::NO_RESPONDERS) {
                    return Answer::Nobody;
                }
                continue;
            };
            match kind {
                Kind::Refused => {
                    return Answer::Refused(String::from_utf8_lossy(&reply.payload).into_owned());
                }
                Kind::Gone => return Answer::Gone,
                Kind::Busy => return Answer::Busy,
                Kind::NotTaken => return Answer::NotTaken,
                Kind::Done => {}
            }
            let Some((part, of)) = envelope::part(headers) else { continue };
            if of == 1 {
                return Answer::Done(reply.payload);
            }
            if of > LARGEST / 1024 {
                return Answer::TooLarge;
            }
            // The same reply may come twice, when the command was sent twice.
            if parts.len() != of {
                parts = vec![None; of];
            }
            parts[part] = Some(reply.payload);
            if parts.iter().flatten().map(Bytes::len).sum::<usize>() > LARGEST {
                return Answer::TooLarge;
            }
            if parts.iter().all(Option::is_some) {
                let mut whole = BytesMut::new();
                parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
                return Answer::Done(whole.freeze());
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.callers.waiting).remove(&self.token);
    }
}
