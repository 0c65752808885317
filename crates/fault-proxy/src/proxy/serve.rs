//! The listener's loop and the life of a connection.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_congestion;
use service::{OnError, Shutdown, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::budget::Budget;
use crate::connection::{self, Closing, Setting};
use crate::draw::{DrawLog, Identity};
use crate::flow::{Chain, Traffic};
use crate::splice::Pipes;
use crate::wire::Draws;

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
    draws: Arc<DrawLog>,
}

impl Common {
    pub(crate) fn new(name: &str, seed: u64, budget: Budget, pipes: Pipes) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            budget,
            pipes,
            counters: Counters::default(),
            draws: Arc::default(),
        }
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn draws(&self) -> Draws {
        self.draws.view(self.seed)
    }
}

/// Where connections lead at present, and who owns them.
pub(super) struct Course {
    present: Mutex<(Arc<str>, Tasks)>,
}

impl Course {
    pub(super) fn new(upstream: &str) -> Self {
        Self { present: Mutex::new(Self::leading_to(upstream)) }
    }

    /// Nobody hears this signal: connections end by being dropped, and none of them can fail the proxy.
    fn leading_to(upstream: &str) -> (Arc<str>, Tasks) {
        (upstream.into(), Tasks::new(Shutdown::new()))
    }

    /// Leads all that come from now on elsewhere; the owner of those that came before.
    pub(super) fn change(&self, upstream: &str) -> Tasks {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *present, Self::leading_to(upstream)).1
    }

    /// The owner of the connections that are there.
    pub(super) fn connections(&self) -> Tasks {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Begins a connection. It belongs to those that came before a change, or leads where the change says.
    fn begin<F>(&self, life: impl FnOnce(Arc<str>) -> F)
    where
        F: Future<Output = Result<(), Infallible>> + Send + 'static,
    {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.1.spawn("proxied connection", OnError::Log, life(Arc::clone(&present.0)));
    }
}

/// Accepts until it is aborted.
pub(super) async fn accept(
    listener: TcpListener,
    course: Arc<Course>,
    common: Arc<Common>,
    chain: watch::Receiver<Chain>,
) -> Result<(), Infallible> {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let number = common.counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                let counted = Counted(Arc::clone(&common));
                course.begin(|upstream| serve(client, upstream, number, counted, chain.clone()));
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
        prepare(socket);
    }
    let setting = Setting {
        identity: Identity::new(common.seed, &common.name, number)
            .leading_to(upstream)
            .noted_in(Arc::clone(&common.draws)),
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

/// Has a socket send at once what it is given. What is refused only costs time.
fn prepare(socket: &TcpStream) {
    // A slice is to be a packet, and a small answer is not to wait.
    let _ = socket.set_nodelay(true);
    let is_near = || Ok::<_, std::io::Error>(socket.peer_addr()?.ip() == socket.local_addr()?.ip());
    if is_near().unwrap_or(false) {
        // On the way to this very machine there is nothing to be congested, and a control that paces (BBR, where it is the
        // system's default) takes a timer for every packet. This one is in every kernel and open to everybody.
        let _ = set_tcp_congestion(socket, "reno");
    }
}
