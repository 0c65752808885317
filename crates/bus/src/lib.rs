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
mod command;
mod error;
mod in_process;
mod object;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::message::{Broadcast, Command, Record, broadcast_filter, command_subject, log_name};
use store::{RecordKey, Store};

pub use broadcast::Subscription;
pub use command::{Replier, Request, Requests};
pub use error::{BusError, CommandError, RecordError, Unanswered, Why};
use in_process::InProcess;
use object::Objects;
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
    transport: InProcess,
    objects: Objects,
}

impl Bus {
    /// A bus between the tasks of this process; records go into `store`, objects into files in `objects_dir`, which is made
    /// if need be.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn in_process(store: Store, objects_dir: &Path) -> Result<Self, BusError> {
        let objects = Objects::open(objects_dir)?;
        Ok(Self { inner: Arc::new(Inner { transport: InProcess::new(store), objects }) })
    }

    /// Says something to all who listen now. Nobody listening is no error.
    ///
    /// # Errors
    /// When the message is too large.
    #[expect(clippy::unused_async, reason = "a transport over the network waits here")]
    pub async fn broadcast<M: Broadcast>(&self, message: &M) -> Result<(), BusError> {
        let subject = broadcast_filter::<M>();
        let bytes = encode(&subject, message)?;
        self.inner.transport.topics.publish(&subject, bytes);
        Ok(())
    }

    /// Listens to a broadcast of all runs, from now on.
    ///
    /// # Errors
    /// When the transport refuses.
    #[expect(clippy::unused_async, reason = "a transport over the network waits here")]
    pub async fn subscribe<M: Broadcast>(&self) -> Result<Subscription<M>, BusError> {
        Ok(Subscription::new(self.inner.transport.topics.subscribe(&broadcast_filter::<M>())))
    }

    /// Asks for something and waits for the answer, at most `deadline`; a server that is not there yet is waited for.
    ///
    /// The server may have done it although no answer came: commands must bear being done twice.
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
        let answer = self.inner.transport.servers.request(&subject, bytes, deadline).await?;
        let bytes = answer.map_err(CommandError::Refused)?;
        prost::Message::decode(bytes).map_err(|source| CommandError::Malformed { subject, source })
    }

    /// Serves a command. Servers at one address take turns.
    ///
    /// # Errors
    /// When the transport refuses.
    #[expect(clippy::unused_async, reason = "a transport over the network waits here")]
    pub async fn serve<C: Command>(&self, address: Address) -> Result<Requests<C>, BusError> {
        Ok(Requests::new(self.inner.transport.servers.serve(&address.subject::<C>())))
    }

    /// Appends a record to its log; durable on return. A record whose key is in the log already is not appended again, which
    /// is no error: a producer that does not know whether it succeeded repeats itself.
    ///
    /// # Errors
    /// [`RecordError::Full`] when the log has no room: keep the data, merge it, try again later.
    pub async fn record<R: Record>(&self, key: &RecordKey, record: &R) -> Result<(), RecordError> {
        let log = log_name::<R>();
        let bytes = encode(&log, record)?;
        self.inner.transport.logs.append(&log, key, bytes).await
    }

    /// Consumes a log under a name: from the first record that this name has not acknowledged. From the first call on,
    /// records wait for this consumer. Streams of one name share the records among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consume<R: Record>(&self, consumer: &str) -> Result<Records<R>, BusError> {
        Ok(Records::new(self.inner.transport.logs.consume(&log_name::<R>(), consumer).await?))
    }

    /// Waits until what was said before has reached the bus, at most `deadline`.
    ///
    /// # Errors
    /// When it did not in time: this process may be cut off. Never within one process.
    #[expect(clippy::unused_async, reason = "a transport over the network waits here")]
    pub async fn round_trip(&self, _deadline: Duration) -> Result<(), BusError> {
        Ok(())
    }

    /// Keeps bytes under their digest, `sha256:` and 64 hexadecimal digits. Keeping them twice is no error.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub async fn put_object(&self, bytes: &[u8]) -> Result<String, BusError> {
        self.inner.objects.put(bytes).await
    }

    /// A local file with the bytes of this digest, which were read and verified. Do not write to it.
    ///
    /// # Errors
    /// When there is no such object, or when it is damaged.
    pub async fn fetch_object(&self, digest: &str) -> Result<PathBuf, BusError> {
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
