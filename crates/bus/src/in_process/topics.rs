//! Broadcasts: a ring per subject; a subscriber that falls behind by its length loses the oldest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Messages that a subscriber may be behind.
const BEHIND: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Topics {
    senders: Mutex<HashMap<String, Sender<Bytes>>>,
}

impl Topics {
    pub(crate) fn publish(&self, subject: &str, message: Bytes) {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(subject) {
            // Fails when nobody listens any more, which is no loss.
            let _ = sender.send(message);
        }
    }

    pub(crate) fn subscribe(&self, subject: &str) -> Receiver<Bytes> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(subject.to_owned()).or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
    }
}
