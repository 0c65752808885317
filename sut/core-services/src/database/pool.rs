//! Connections to one server: at least so many are kept, never more than so many are open.

use std::time::Duration;

use deadpool_postgres::{
    Client, Manager, ManagerConfig, Pool as Connections, PoolError, QueueMode, RecyclingMethod, Runtime,
    Status, TimeoutType,
};
use tokio_postgres::NoTls;

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

/// The connections.
pub(super) struct Pool {
    settings: Settings,
    connections: Connections,
}

impl Pool {
    pub(super) fn new(mut config: tokio_postgres::Config, settings: Settings) -> Result<Self, String> {
        config.connect_timeout(settings.timeout).application_name("core-services");
        if config.get_options().is_none() {
            // What nobody waits for any more, the server need not go on with.
            config.options(format!("-c statement_timeout={}", settings.timeout.as_millis()));
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connections = Connections::builder(Manager::from_config(config, NoTls, manager))
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
    pub(super) async fn get(&self) -> Result<Client, String> {
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

    /// Closes connections that are broken, or idle and more than are kept; opens those that are missing. A server that is
    /// away is tried again the next time.
    pub(super) async fn maintain(&self) {
        let Settings { keep, idle, .. } = self.settings;
        let mut surplus = self.status().size.saturating_sub(keep);
        self.connections.retain(|client, metrics| {
            let stays = !client.is_closed() && (surplus == 0 || metrics.last_used() < idle);
            surplus -= usize::from(!stays && surplus > 0);
            stays
        });
        // Those that are open are given out first, so all have to be held for a moment.
        let mut held = Vec::new();
        while self.status().size < keep.min(self.settings.max) && held.len() < keep {
            match self.connections.get().await {
                Ok(client) => held.push(client),
                Err(_) => return,
            }
        }
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }
}

/// An error with its causes: what the server said is in the last one.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
