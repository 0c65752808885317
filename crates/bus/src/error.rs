//! What can go wrong on the bus.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use store::StoreError;

use crate::MAX_MESSAGE;

/// Why the bus failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The message must be split.
    #[error("message on {subject}: {bytes} bytes: at most {MAX_MESSAGE} are sent")]
    TooLarge {
        /// Its subject or log.
        subject: String,
        /// Its encoded size.
        bytes: usize,
    },
    /// The store of records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Text that is no digest.
    #[error("{found:?} is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
    NotADigest {
        /// The text.
        found: String,
    },
    /// The object was never put.
    #[error("object {digest} is not in {}: put it before it is named", .dir.display())]
    NoObject {
        /// Its digest.
        digest: String,
        /// The object store.
        dir: PathBuf,
    },
    /// The object's file was changed.
    #[error("object {digest}: the file {} has digest {found}: remove it and put the object again", .path.display())]
    Damaged {
        /// The digest asked for.
        digest: String,
        /// Its file.
        path: PathBuf,
        /// The digest of what is in the file.
        found: String,
    },
    /// No connection to NATS.
    #[error(
        "NATS at {url}: cannot connect ({detail}): start it, or correct its URL, credentials or certificates"
    )]
    Connect {
        /// The servers.
        url: String,
        /// What was seen.
        detail: String,
    },
    /// The server lacks what records and objects need.
    #[error(
        "NATS at {url}: JetStream cannot be used ({detail}): start it with JetStream on (`nats-server -js`)"
    )]
    NoJetStream {
        /// The servers.
        url: String,
        /// What was seen.
        detail: String,
    },
    /// The server takes only small messages.
    #[error(
        "NATS at {url}: takes messages of {found} bytes at most, {needed} are needed: raise its `max_payload`"
    )]
    SmallPayload {
        /// The servers.
        url: String,
        /// Its limit.
        found: usize,
        /// What must fit.
        needed: usize,
    },
    /// The connection, or the server, did not do it.
    #[error("NATS at {url}: {what}: {detail}")]
    Lost {
        /// The servers.
        url: String,
        /// What was to be done.
        what: String,
        /// What was seen.
        detail: String,
    },
    /// No room for an object.
    #[error("object store {}: the disk is full: free space there or choose another directory", .path.display())]
    DiskFull {
        /// The object store.
        path: PathBuf,
    },
    /// The object store cannot be used.
    #[error("object store {}: {source}: choose a writable directory", .path.display())]
    Objects {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BusError {
    pub(crate) fn lost(what: &str, detail: String) -> Self {
        Self::Lost { url: "the server".to_owned(), what: what.to_owned(), detail }
    }

    /// Whether the cause lies in the environment (server, network, disk) and not in the call.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Store(error) => error.is_environment(),
            Self::Connect { .. }
            | Self::NoJetStream { .. }
            | Self::SmallPayload { .. }
            | Self::Lost { .. }
            | Self::DiskFull { .. }
            | Self::Objects { .. } => true,
            Self::TooLarge { .. }
            | Self::NotADigest { .. }
            | Self::NoObject { .. }
            | Self::Damaged { .. } => false,
        }
    }
}

/// Why a command was not done, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No answer before the deadline.
    #[error(transparent)]
    NoAnswer(Unanswered),
    /// The server answered that it will not; its words.
    #[error("{0}")]
    Refused(String),
    /// The answer cannot be read.
    #[error("answer on {subject} cannot be read: {source}: are both sides of one version?")]
    Malformed {
        /// The command's subject.
        subject: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The command could not be sent.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A command without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer to {subject} within {deadline:?}: {why}")]
pub struct Unanswered {
    /// The command's subject.
    pub subject: String,
    /// How long it was to be waited.
    pub deadline: Duration,
    /// What was seen.
    pub why: Why,
}

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No server at the address.
    #[error("nobody serves it")]
    NobodyServes,
    /// Servers are there, but their queues stayed full.
    #[error("its servers are busy")]
    Busy,
    /// A server has it, but did not answer in time.
    #[error("its server did not answer")]
    Silent,
    /// The server that had it ended without an answer. Known only within a process, and before the deadline.
    #[error("its server ended without an answer")]
    Gone,
}

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The log has no room: its consumers are behind.
    #[error("log {log}: full at {max_bytes} bytes: its consumer is behind")]
    Full {
        /// The log.
        log: String,
        /// Its limit.
        max_bytes: u64,
    },
    /// Anything else.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LogFull { log, max_bytes } => Self::Full { log, max_bytes },
            other => Self::Bus(BusError::Store(other)),
        }
    }
}
