//! The transport over NATS with JetStream: core subjects for broadcasts and commands, streams for records, an object store for
//! bundles.

mod callers;
mod connect;
mod consumer;
mod envelope;
mod link;
mod objects;
mod records;
mod server_config;
mod servers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use bytes::Bytes;
use futures::StreamExt as _;
use service::traces::TraceParent;
use service::{OnError, Tasks};
use tokio::sync::{OnceCell, broadcast, mpsc};

pub use connect::{Credentials, NatsOptions};
pub(crate) use connect::{connect, objects};
pub use server_config::{ServerConfig, ServerConfigError, ServerTls, server_config};

use crate::error::{BusError, CommandError, RecordError};
use crate::in_process::servers::RawRequest;
use callers::Callers;
pub(crate) use consumer::{Consumer, Delivery};
use link::Link;

/// Messages that a subscriber may be behind, as in process.
const BEHIND: usize = 1024;

/// A consumer of this process, once it has begun.
type Place = Arc<OnceCell<Arc<Consumer>>>;

/// A connection and what runs on it. Dropped, all of it ends.
#[derive(Debug)]
pub(crate) struct Nats {
    client: async_nats::Client,
    jetstream: Context,
    link: Link,
    options: NatsOptions,
    /// Owns every pump; with it they end.
    tasks: Tasks,
    callers: Arc<Callers>,
    consumers: Mutex<HashMap<(String, String), Place>>,
    streams: tokio::sync::Mutex<Vec<String>>,
}

impl Nats {
    /// Whether the server is reached, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Says something to whoever listens. While the server is away it is lost: what is said late says something wrong.
    pub(crate) async fn publish(&self, subject: String, message: Bytes) -> Result<(), BusError> {
        if !self.is_connected() {
            tracing::debug!(subject, "not connected: a broadcast is lost");
            return Ok(());
        }
        let sent = self.client.publish(subject.clone(), message);
        let sent = tokio::time::timeout(self.options.ack_timeout, sent).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&subject, error.to_string())),
            Err(_) => Err(self.lost(&subject, "it could not be handed to the connection".to_owned())),
        }
    }

    /// Listens to a subject. A pump takes messages off the connection at once, so that a slow subscriber loses its own.
    pub(crate) async fn subscribe(&self, subject: &str) -> Result<broadcast::Receiver<Bytes>, BusError> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        let mut messages = subscribed.map_err(|error| self.lost(subject, error.to_string()))?;
        self.settled().await?;
        let (sender, receiver) = broadcast::channel(BEHIND);
        self.tasks.spawn("bus subscription", OnError::Log, async move {
            loop {
                tokio::select! {
                    // Else nobody would notice a subscriber that has gone from a quiet subject.
                    () = sender.closed() => break,
                    message = messages.next() => match message {
                        Some(message) => _ = sender.send(message.payload),
                        None => break,
                    },
                }
            }
            Ok::<(), BusError>(())
        });
        Ok(receiver)
    }

    /// Asks and waits for the answer.
    pub(crate) async fn request(
        &self,
        subject: &str,
        body: Bytes,
        trace: Option<TraceParent>,
        deadline: Duration,
    ) -> Result<Result<Bytes, String>, CommandError> {
        self.callers.request(&self.client, subject, body, trace, deadline).await
    }

    /// Serves a subject, as one of a queue group where there may be several.
    pub(crate) async fn serve(
        &self,
        subject: &str,
        group: bool,
    ) -> Result<mpsc::Receiver<RawRequest>, BusError> {
        let requests = servers::serve(self, subject, group).await?;
        self.settled().await?;
        Ok(requests)
    }

    /// Appends a record to the stream of its log.
    pub(crate) async fn append(
        &self,
        log: &str,
        subject: String,
        key: &store::RecordKey,
        payload: Bytes,
    ) -> Result<(), RecordError> {
        self.stream(log).await?;
        records::append(self, log, subject, key, payload).await
    }

    /// A consumer's place in a log.
    pub(crate) async fn consume(&self, log: &str, name: &str) -> Result<Arc<Consumer>, BusError> {
        self.stream(log).await?;
        let place = Arc::clone(lock(&self.consumers).entry((log.to_owned(), name.to_owned())).or_default());
        // Begun once, however many call at once: what a second one fetched would never be given out.
        let consumer = place.get_or_try_init(|| consumer::start(self, log, name)).await?;
        Ok(Arc::clone(consumer))
    }

    /// Waits until a message has gone to the server and come back.
    pub(crate) async fn round_trip(&self, deadline: Duration) -> Result<(), BusError> {
        let echoed = self.callers.echo(&self.client, deadline).await;
        if echoed { Ok(()) } else { Err(self.lost("the server", format!("no answer within {deadline:?}"))) }
    }

    /// Waits until the server knows of a subscription: what is sent from here on reaches it.
    async fn settled(&self) -> Result<(), BusError> {
        self.round_trip(self.options.connect_timeout).await
    }

    /// Ends everything at once, as a kill would: nothing is given back or acknowledged.
    pub(crate) fn sever(&self) {
        self.tasks.abort();
    }

    fn lost(&self, what: &str, detail: String) -> BusError {
        BusError::Lost { url: self.options.shown(), what: what.to_owned(), detail }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between any two statements: a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
