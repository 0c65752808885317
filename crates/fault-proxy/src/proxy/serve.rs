//! The listener's loop and the life of a connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use service::{OnError, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::budget::Budget;
use crate::connection::{self, Closing, Setting};
use crate::draw::Identity;
use crate::flow::{Chain, Traffic};
use crate::splice::Pipes;

/// How long to wait after a connection could not be accepted: the process has no free file.
const BREATH: Duration = Duration::from_millis(100);

/// What has happened at a proxy.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections accepted. The number of each is its place among them.
    pub(crate) accepted: AtomicU64,
    /// Those that have ended.
    pub(crate) ended: AtomicU64,
    /// Those whose upstream could not be reached.
    pub(crate) unreachable: AtomicU64,
    /// Those that a toxic reset.
    pub(crate) reset: AtomicU64,
    /// Times that the system had no connection for us though one had come.
    pub(crate) not_accepted: AtomicU64,
    pub(crate) upstream: Arc<Traffic>,
    pub(crate) downstream: Arc<Traffic>,
}

/// What all connections of a proxy share.
pub(crate) struct Common {
    name: String,
    seed: u64,
    budget: Budget,
    pipes: Pipes,
    counters: Counters,
}

impl Common {
    pub(crate) fn new(name: &str, seed: u64, budget: Budget, pipes: Pipes) -> Self {
        Self { name: name.to_owned(), seed, budget, pipes, counters: Counters::default() }
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Accepts until it is aborted.
pub(super) async fn accept(
    listener: TcpListener,
    upstream: String,
    common: Arc<Common>,
    chain: watch::Receiver<Chain>,
    connections: Tasks,
) -> Result<(), Infallible> {
    let upstream: Arc<str> = upstream.into();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let number = common.counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                let counted = Counted(Arc::clone(&common));
                let life = serve(client, Arc::clone(&upstream), number, counted, chain.clone());
                connections.spawn("proxied connection", OnError::Log, life);
            }
            Err(error) => {
                let before = common.counters.not_accepted.fetch_add(1, Ordering::Relaxed);
                if before.is_multiple_of(100) {
                    tracing::warn!(proxy = common.name, %error, "a connection cannot be accepted; raise ulimit -n");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Counts a connection as ended, however it ends.
struct Counted(Arc<Common>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.ended.fetch_add(1, Ordering::Relaxed);
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: Arc<str>,
    number: u64,
    counted: Counted,
    chain: watch::Receiver<Chain>,
) -> Result<(), Infallible> {
    let common = &counted.0;
    let mut server = match TcpStream::connect(&*upstream).await {
        Ok(server) => server,
        Err(error) => {
            common.counters.unreachable.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(proxy = common.name, upstream = &*upstream, %error, "the upstream cannot be reached");
            return Ok(());
        }
    };
    for socket in [&client, &server] {
        // Refused, it only costs time. A slice is to be a packet, and a small answer is not to wait.
        let _ = socket.set_nodelay(true);
    }
    let setting = Setting {
        identity: Identity::new(common.seed, &common.name, number),
        chain,
        budget: common.budget.clone(),
        upstream: Arc::clone(&common.counters.upstream),
        downstream: Arc::clone(&common.counters.downstream),
        pipes: common.pipes.clone(),
    };
    let closing = connection::carry(client.split(), server.split(), setting).await;
    if closing == Closing::Reset {
        common.counters.reset.fetch_add(1, Ordering::Relaxed);
        for socket in [&client, &server] {
            // Closed with data that nobody will fetch: the other side sees a reset.
            let _ = socket.set_zero_linger();
        }
    }
    Ok(())
}
