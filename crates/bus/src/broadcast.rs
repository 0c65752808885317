//! The listening end of a broadcast.

use std::marker::PhantomData;

use bytes::Bytes;
use protocol::message::Broadcast;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// A stream of broadcasts.
#[derive(Debug)]
pub struct Subscription<M> {
    messages: Receiver<Bytes>,
    lost: u64,
    malformed: u64,
    kind: PhantomData<fn() -> M>,
}

impl<M: Broadcast> Subscription<M> {
    pub(crate) fn new(messages: Receiver<Bytes>) -> Self {
        Self { messages, lost: 0, malformed: 0, kind: PhantomData }
    }

    /// The next message; `None` when the bus has ended. Safe to drop and call anew, as in `select!`.
    pub async fn next(&mut self) -> Option<M> {
        loop {
            match self.messages.recv().await {
                Ok(bytes) => match M::decode(bytes) {
                    Ok(message) => return Some(message),
                    Err(error) => {
                        self.malformed += 1;
                        tracing::warn!(subject = ?M::SUBJECT, %error, "a broadcast cannot be read and is skipped");
                    }
                },
                Err(RecvError::Lagged(lost)) => self.lost += lost,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Messages lost so far because this subscriber was slow.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Messages skipped so far because they could not be read.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}
