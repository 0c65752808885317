//! Connections to one server: at least so many are kept, never more than so many are open.

use std::error::Error;
use std::time::Duration;

use deadpool::managed::{Manager, Object, Pool as Connections, PoolError, QueueMode, TimeoutType};
use deadpool::{Runtime, Status};

/// The limits of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Connections that stay open, used or not.
    pub keep: usize,
    /// Connections at most.
    pub max: usize,
    /// How long a call waits for a connection, a new one takes to open, and a query to answer.
    pub timeout: Duration,
    /// After how long without use those above `keep` are closed.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keep: 10, max: 100, timeout: Duration::from_secs(5), idle: Duration::from_secs(300) }
    }
}

/// The connections that a manager opens.
pub(super) struct Pool<M: Manager> {
    settings: Settings,
    connections: Connections<M>,
}

impl<M: Manager<Error: Error + 'static>> Pool<M> {
    pub(super) fn new(manager: M, settings: Settings) -> Result<Self, String> {
        let connections = Connections::builder(manager)
            .max_size(settings.max)
            .wait_timeout(Some(settings.timeout))
            .create_timeout(Some(settings.timeout))
            .recycle_timeout(Some(settings.timeout))
            // Taken in turns, all connections of a burst would stay in use for ever, a little each.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { settings, connections })
    }

    /// A connection that is not in use, or a new one.
    pub(super) async fn get(&self) -> Result<Object<M>, String> {
        self.connections.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                let Settings { max, timeout, .. } = self.settings;
                format!("all {max} connections were in use for {timeout:?}")
            }
            PoolError::Timeout(_) => format!("no connection within {:?}", self.settings.timeout),
            PoolError::Backend(error) => describe(&error),
            error => error.to_string(),
        })
    }

    pub(super) fn status(&self) -> Status {
        self.connections.status()
    }

    /// Closes connections that are not usable, or idle and more than are kept; opens those that are missing. A server that
    /// is away is tried again the next time.
    pub(super) async fn maintain(&self, is_usable: impl Fn(&M::Type) -> bool) {
        let Settings { keep, idle, .. } = self.settings;
        let mut surplus = self.status().size.saturating_sub(keep);
        self.connections.retain(|connection, metrics| {
            let stays = is_usable(connection) && (surplus == 0 || metrics.last_used() < idle);
            surplus -= usize::from(!stays && surplus > 0);
            stays
        });
        // Those that are open are given out first, so all have to be held for a moment.
        let mut held = Vec::new();
        while self.status().size < keep.min(self.settings.max) && held.len() < keep {
            match self.connections.get().await {
                Ok(connection) => held.push(connection),
                Err(_) => return,
            }
        }
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }
}

/// An error with its causes: what the server said is in the last one.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
