//! Items in PostgreSQL or, when there is none, in SQLite: writes go to the primary, reads to the replica with the fewest in
//! progress. In front of both is a bulkhead, each server has a circuit breaker and a pool of its own, and what was read or written is cached: in two levels
//! in this process and, with a NATS, in a third that several share.

mod backend;
mod distributed;
mod integrity;
mod items;
mod ledger;
mod limits;
mod metrics;
mod node;
mod pool;
mod postgres;
mod query;
mod reused;
mod settings;
mod sqlite;
mod tiers;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resilience::bulkhead::{Bulkhead, Full, Place};
use sha2::Sha256;

use crate::breaker::Admission;

use distributed::Distributed;
pub use distributed::Settings as DistributedSettings;
pub(crate) use ledger::Checksum;
use ledger::Ledger;
use limits::Held;
pub(crate) use limits::Limits;
use node::Node;
pub use pool::Settings as PoolSettings;
use reused::Reused;
pub use reused::Settings as ReusedSettings;
pub use settings::{Primary, Settings};
pub(crate) use tiers::Level;
use tiers::Tiers;

/// How often connections are looked after: the idle ones closed, missing ones opened.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The breakers of all servers that could have been asked are open, the first one for so long.
    #[error("the circuit breaker is open")]
    Open(Duration),
    /// As many calls wait as may.
    #[error(transparent)]
    Full(#[from] Full),
    /// The call waited in vain for its turn.
    #[error("no place within {0:?}: too many calls are in progress")]
    Waited(Duration),
    /// The call waited in vain for something that calls use one after the other.
    #[error("all {count} {what} were in use for {wait:?}")]
    Exhausted {
        /// What there are so many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How long it waited.
        wait: Duration,
    },
    /// A server failed.
    #[error("{place} failed: {detail}")]
    Failed {
        /// Which: host, port and database.
        place: String,
        /// Its words, or ours.
        detail: String,
    },
}

/// Servers, caches and what was acknowledged.
pub(crate) struct Database {
    primary: Node,
    replicas: Vec<Node>,
    /// Where the search for the replica with the fewest reads begins, so that equal ones take turns.
    turn: AtomicUsize,
    bulkhead: Bulkhead,
    held: tokio::sync::Mutex<Held>,
    settings: Settings,
    tiers: Tiers,
    buffers: Reused<Vec<u8>>,
    digests: Reused<Sha256>,
    distributed: Option<Distributed>,
    ledger: Mutex<Ledger>,
}

impl Database {
    /// Connects to the primary, makes the table and, if it is empty, `items` made-up items. A replica that is away is no
    /// reason not to begin.
    pub(crate) async fn open(settings: Settings, items: usize) -> Result<Self, Error> {
        let primary = Node::primary(&settings)?;
        let named = settings.replicas.iter().enumerate();
        let replicas = named
            .map(|(n, url)| Node::postgres(format!("replica-{}", n + 1), url, &settings))
            .collect::<Result<_, _>>()?;
        let origin = primary.prepare(items).await?;
        let distributed = match &settings.distributed {
            Some(cache) => Some(Distributed::new(cache.clone(), settings.breaker, origin).await?),
            None => None,
        };
        Ok(Self {
            primary,
            replicas,
            turn: AtomicUsize::new(0),
            bulkhead: Bulkhead::new(settings.bulkhead),
            held: tokio::sync::Mutex::default(),
            tiers: Tiers::new(&settings),
            buffers: Reused::new("buffers", settings.reused.buffers, settings.pool.timeout, Vec::new),
            digests: Reused::new("digests", settings.reused.digests, settings.pool.timeout, Sha256::default),
            distributed,
            ledger: Mutex::default(),
            settings,
        })
    }

    /// Looks after the connections, until it is dropped.
    pub(crate) async fn maintain(&self) {
        // Beside each other: a server that does not answer keeps nobody from looking after the cache.
        tokio::join!(self.maintain_pools(), self.maintain_distributed());
    }

    async fn maintain_pools(&self) {
        loop {
            for node in self.nodes() {
                node.backend().maintain().await;
            }
            tokio::time::sleep(MAINTENANCE).await;
        }
    }

    async fn maintain_distributed(&self) {
        let Some(distributed) = &self.distributed else { return };
        loop {
            distributed.maintain().await;
            tokio::time::sleep(MAINTENANCE).await;
        }
    }

    /// Whether writes can be expected to work: the breaker of the primary is not open.
    pub(crate) fn is_ready(&self) -> bool {
        !self.primary.breaker().is_open()
    }

    /// Refuses all further calls and closes the connections that nobody uses.
    pub(crate) fn close(&self) {
        self.nodes().for_each(|node| node.backend().close());
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// A place among the calls in progress.
    async fn enter(&self) -> Result<Place, Error> {
        let wait = self.settings.pool.timeout;
        let entered = tokio::time::timeout(wait, self.bulkhead.enter()).await;
        Ok(entered.map_err(|_| Error::Waited(wait))??)
    }

    /// The primary, if its breaker admits a call.
    fn for_write(&self) -> Result<(&Node, Admission<'_>), Error> {
        let call = self.primary.breaker().admit().map_err(Error::Open)?;
        Ok((&self.primary, call))
    }

    /// The replica with the fewest calls in progress whose breaker admits one; the primary when there is none such. Without
    /// the breakers, one that fails at once would be the least busy and get everything.
    fn for_read(&self) -> Result<(&Node, Admission<'_>), Error> {
        let begin = self.turn.fetch_add(1, Ordering::Relaxed) % self.replicas.len().max(1);
        let (before, from) = self.replicas.split_at(begin);
        let mut order: Vec<&Node> = from.iter().chain(before).collect();
        order.sort_by_key(|node| node.in_progress());
        let admitted = order.into_iter().find_map(|node| Some((node, node.breaker().admit().ok()?)));
        admitted.map_or_else(|| self.for_write(), Ok)
    }
}
