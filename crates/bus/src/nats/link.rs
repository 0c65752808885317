//! The connection as one of several after each other: what was asked or given out on one that broke is not answered on the
//! next, and the library waits for it all the same.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;

/// How often to look whether the connection still is the one that something was asked on.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("connects", &self.connects()).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Which connection this is.
    pub(super) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Whether it is another connection than then, or none.
    pub(super) fn broke(&self, connects: u64) -> bool {
        !self.is_up() || self.connects() != connects
    }

    /// What comes of a future; `None` when the connection breaks before.
    pub(super) async fn unbroken<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let connects = self.connects();
        let mut future = pin!(future);
        loop {
            tokio::select! {
                value = &mut future => return Some(value),
                () = tokio::time::sleep(LOOK) => {
                    if self.broke(connects) {
                        return None;
                    }
                }
            }
        }
    }
}
