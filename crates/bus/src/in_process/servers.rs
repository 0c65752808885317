//! Commands: a bounded queue per server; the servers at one subject take turns.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use service::traces::TraceParent;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{CommandError, Unanswered, Why};

/// Requests that may wait at a server.
const WAITING: usize = 64;

/// A command as it reaches its server.
#[derive(Debug)]
pub(crate) struct RawRequest {
    pub(crate) body: Bytes,
    pub(crate) reply: oneshot::Sender<Result<Bytes, String>>,
    /// The span that it was sent in.
    pub(crate) trace: Option<TraceParent>,
}

#[derive(Debug, Default)]
pub(crate) struct Servers {
    groups: Mutex<HashMap<String, Group>>,
    joined: Notify,
}

#[derive(Debug, Default)]
struct Group {
    servers: Vec<Sender<RawRequest>>,
    turn: usize,
}

impl Group {
    /// The server whose turn it is: the next one with room, else the next one. Those that ended are forgotten.
    fn next(&mut self) -> Option<Sender<RawRequest>> {
        self.servers.retain(|server| !server.is_closed());
        let count = self.servers.len();
        let order = (0..count).map(|step| (self.turn + step) % count);
        let chosen =
            order.clone().find(|index| self.servers[*index].capacity() > 0).or_else(|| order.min())?;
        self.turn = chosen + 1;
        self.servers.get(chosen).cloned()
    }
}

impl Servers {
    pub(crate) fn serve(&self, subject: &str) -> Receiver<RawRequest> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry(subject.to_owned()).or_default().servers.push(sender);
        drop(groups);
        self.joined.notify_waiters();
        receiver
    }

    pub(crate) async fn request(
        &self,
        subject: &str,
        body: Bytes,
        trace: Option<TraceParent>,
        deadline: Duration,
    ) -> Result<Result<Bytes, String>, CommandError> {
        let until = Instant::now() + deadline;
        let unanswered =
            |why| CommandError::NoAnswer(Unanswered { subject: subject.to_owned(), deadline, why });
        let (reply, answer) = oneshot::channel();
        let mut request = RawRequest { body, reply, trace };
        loop {
            let joined = self.joined.notified();
            let mut joined = pin!(joined);
            // Registered before the look, so that a server that joins in between wakes us.
            joined.as_mut().enable();
            let Some(server) = self.next(subject) else {
                timeout_at(until, joined).await.map_err(|_| unanswered(Why::NobodyServes))?;
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            match server.send_timeout(request, left).await {
                Ok(()) => break,
                // It ended while we waited for room: the request is still ours, so another may have it.
                Err(SendTimeoutError::Closed(back)) => request = back,
                Err(SendTimeoutError::Timeout(_)) => return Err(unanswered(Why::Busy)),
            }
        }
        match timeout_at(until, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unanswered(Why::Gone)),
            Err(_) => Err(unanswered(Why::Silent)),
        }
    }

    fn next(&self, subject: &str) -> Option<Sender<RawRequest>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let next = groups.get_mut(subject).and_then(Group::next);
        if next.is_none() {
            groups.remove(subject);
        }
        next
    }
}
