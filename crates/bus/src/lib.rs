//! How services talk, by three verbs and a store of objects:
//!
//! * *broadcast*: to whoever listens now; may be lost, and the loss is counted;
//! * *command*: one server of a queue group, or one instance, answers before a deadline;
//! * *record*: durable on return, delivered at least once to every consumer, in the order of each producer.
//!
//! Messages are encoded even between tasks of one process, so that the embedded suite and the deployed one behave alike.
//! Every queue is bounded: a slow subscriber loses broadcasts, a busy server makes callers wait, a full log refuses.
#![forbid(unsafe_code)]

mod broadcast;
mod clock;
mod command;
mod error;
mod in_process;
mod nats;
mod news;
mod object;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::message::{
    Broadcast, Command, Record, broadcast_filter, broadcast_subject, command_subject, log_name,
    record_subject,
};
use service::traces::TraceParent;
use store::{RecordKey, Store};

pub use broadcast::Subscription;
pub use clock::{Offset, SchedulerClock};
pub use command::{Replier, Request, Requests, Server};
pub use error::{BusError, CommandError, RecordError, Unanswered, Why};
use in_process::InProcess;
use nats::Nats;
pub use nats::{Credentials, NatsOptions, ServerConfig, ServerConfigError, ServerTls, server_config};
pub use news::{News, Told};
use object::Objects;
use record::Consumer;
pub use record::{Delivery, Records};

/// Bytes that an encoded broadcast, command or record may have at most: what every NATS server takes by default is more.
/// Split what is larger, or put it into the object store. Replies may be larger.
pub const MAX_MESSAGE: usize = 256 << 10;

/// Who is to answer a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Any instance of the service that the command's subject names: its queue group.
    Service,
    /// The instance with this id.
    Instance(String),
}

impl Address {
    fn subject<C: Command>(&self) -> String {
        match self {
            Self::Service => command_subject::<C>(None),
            Self::Instance(id) => command_subject::<C>(Some(id)),
        }
    }
}

/// The bus. Clones share it; subscriptions and requests end when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    objects: Objects,
}

#[derive(Debug)]
enum Transport {
    InProcess(Box<InProcess>),
    Nats(Box<Nats>),
}

impl Bus {
    /// A bus between the tasks of this process; records go into `store`, objects into files in `objects_dir`, which is made
    /// if need be.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn in_process(store: Store, objects_dir: &Path) -> Result<Self, BusError> {
        let objects = Objects::open(objects_dir)?;
        let transport = Transport::InProcess(Box::new(InProcess::new(store)));
        Ok(Self { inner: Arc::new(Inner { transport, objects }) })
    }

    /// A bus between processes, over NATS with JetStream. The connection is made anew as often as it breaks, for ever.
    ///
    /// # Errors
    /// When the server does not answer or does not let this user in, has no JetStream, or takes only small messages.
    pub async fn connect(options: NatsOptions) -> Result<Self, BusError> {
        let objects = nats::objects(&options)?;
        let transport = Transport::Nats(Box::new(nats::connect(options).await?));
        Ok(Self { inner: Arc::new(Inner { transport, objects }) })
    }

    /// Whether the server is reached, as far as is known; always, within one process.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.inner.transport {
            Transport::InProcess(_) => true,
            Transport::Nats(nats) => nats.is_connected(),
        }
    }

    /// Ends everything that this bus does, as a kill of the process would: nothing is given back or acknowledged. For tests
    /// of what comes after.
    pub fn sever(&self) {
        if let Transport::Nats(nats) = &self.inner.transport {
            nats.sever();
        }
    }

    /// Says something to all who listen now. Nobody listening is no error.
    ///
    /// # Errors
    /// When the message is too large.
    pub async fn broadcast<M: Broadcast>(&self, message: &M) -> Result<(), BusError> {
        let subject = broadcast_filter::<M>();
        let bytes = encode(&subject, message)?;
        match &self.inner.transport {
            Transport::InProcess(process) => process.topics.publish(&subject, bytes),
            Transport::Nats(nats) => nats.publish(broadcast_subject(message), bytes).await?,
        }
        Ok(())
    }

    /// Listens to a broadcast of all runs, from now on.
    ///
    /// # Errors
    /// When the transport refuses.
    pub async fn subscribe<M: Broadcast>(&self) -> Result<Subscription<M>, BusError> {
        let filter = broadcast_filter::<M>();
        Ok(Subscription::new(match &self.inner.transport {
            Transport::InProcess(process) => process.topics.subscribe(&filter),
            Transport::Nats(nats) => nats.subscribe(&filter).await?,
        }))
    }

    /// Asks for something and waits for the answer, at most `deadline`; a server that is not there yet is waited for.
    ///
    /// The server may have done it although no answer came: commands must bear being done twice. What it does is part of the
    /// trace that this is called in ([`Request::span`]).
    ///
    /// # Errors
    /// When nobody answers in time, or the server refuses.
    pub async fn command<C: Command>(
        &self,
        to: &Address,
        command: &C,
        deadline: Duration,
    ) -> Result<C::Reply, CommandError> {
        let subject = to.subject::<C>();
        let bytes = encode(&subject, command)?;
        let trace = TraceParent::here();
        let answer = match &self.inner.transport {
            Transport::InProcess(process) => {
                process.servers.request(&subject, bytes, trace, deadline).await?
            }
            Transport::Nats(nats) => nats.request(&subject, bytes, trace, deadline).await?,
        };
        let bytes = answer.map_err(CommandError::Refused)?;
        prost::Message::decode(bytes).map_err(|source| CommandError::Malformed { subject, source })
    }

    /// Serves a command. Servers at one address take turns.
    ///
    /// # Errors
    /// When the transport refuses.
    pub async fn serve<C: Command>(&self, address: Address) -> Result<Requests<C>, BusError> {
        let subject = address.subject::<C>();
        let requests = match &self.inner.transport {
            Transport::InProcess(process) => process.servers.serve(&subject),
            Transport::Nats(nats) => nats.serve(&subject, address == Address::Service).await?,
        };
        Ok(Requests::new(requests, address))
    }

    /// Appends a record to its log; durable on return. A record whose key is in the log already is not appended again, which
    /// is no error: a producer that does not know whether it succeeded repeats itself.
    ///
    /// # Errors
    /// [`RecordError::Full`] when the log has no room: keep the data, merge it, try again later.
    pub async fn record<R: Record>(&self, key: &RecordKey, record: &R) -> Result<(), RecordError> {
        let log = log_name::<R>();
        let bytes = encode(&log, record)?;
        match &self.inner.transport {
            Transport::InProcess(process) => process.logs.append(&log, key, bytes).await,
            Transport::Nats(nats) => nats.append(&log, record_subject(record), key, bytes).await,
        }
    }

    /// Consumes a log under a name: from the first record that this name has not acknowledged. From the first call on,
    /// records wait for this consumer. Streams of one name share the records among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consume<R: Record>(&self, consumer: &str) -> Result<Records<R>, BusError> {
        let log = log_name::<R>();
        Ok(Records::new(match &self.inner.transport {
            Transport::InProcess(process) => Consumer::InProcess(process.logs.consume(&log, consumer).await?),
            Transport::Nats(nats) => Consumer::Nats(nats.consume(&log, consumer).await?),
        }))
    }

    /// Waits until what was said before has reached the bus, at most `deadline`.
    ///
    /// # Errors
    /// When it did not in time: this process may be cut off. Never within one process.
    pub async fn round_trip(&self, deadline: Duration) -> Result<(), BusError> {
        match &self.inner.transport {
            Transport::InProcess(_) => Ok(()),
            Transport::Nats(nats) => nats.round_trip(deadline).await,
        }
    }

    /// Keeps bytes under their digest, `sha256:` and 64 hexadecimal digits. Keeping them twice is no error.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub async fn put_object(&self, bytes: &[u8]) -> Result<String, BusError> {
        let digest = self.inner.objects.put(bytes).await?;
        if let Transport::Nats(nats) = &self.inner.transport {
            nats.put_object(&digest, bytes).await?;
        }
        Ok(digest)
    }

    /// A local file with the bytes of this digest, which were read and verified. Do not write to it.
    ///
    /// # Errors
    /// When there is no such object, or when it is damaged.
    pub async fn fetch_object(&self, digest: &str) -> Result<PathBuf, BusError> {
        let here = self.inner.objects.fetch(digest).await;
        let (Transport::Nats(nats), Err(BusError::NoObject { .. } | BusError::Damaged { .. })) =
            (&self.inner.transport, &here)
        else {
            return here;
        };
        if let Some(bytes) = nats.get_object(digest).await? {
            // Under the digest of what came: if that is another, the object is not here afterwards.
            self.inner.objects.put(&bytes).await?;
        }
        self.inner.objects.fetch(digest).await
    }
}

fn encode<M: prost::Message>(subject: &str, message: &M) -> Result<bytes::Bytes, BusError> {
    let bytes = message.encode_to_vec();
    if bytes.len() > MAX_MESSAGE {
        return Err(BusError::TooLarge { subject: subject.to_owned(), bytes: bytes.len() });
    }
    Ok(bytes.into())
}
