//! The loads whose cost is measured: each takes an address and says how much was done in how long.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::median;
use crate::upstream::Upstream;

/// A server on a thread of its own, so that it takes no time from the client's.
pub(super) struct Apart {
    pub(super) address: String,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Apart {
    pub(super) fn start<F: Future<Output = Upstream>>(serve: impl FnOnce() -> F + Send + 'static) -> Self {
        let (say, hear) = std::sync::mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let upstream = serve().await;
                say.send(upstream.address.clone()).unwrap();
                let _ = ended.await;
            });
        });
        Self { address: hear.recv().unwrap(), _end: end }
    }

    /// Sends without end to whoever comes.
    pub(super) fn flood() -> Self {
        Self::start(|| {
            Upstream::start(|mut socket| async move {
                let data = vec![7; 256 << 10];
                while socket.write_all(&data).await.is_ok() {}
            })
        })
    }
}

/// What was done.
pub(super) struct Done {
    pub(super) units: f64,
    pub(super) took: Duration,
}

/// Microseconds of a round trip of 64 bytes, one at a time: the median, as if all had taken it.
pub(super) async fn round_trips(address: String) -> Done {
    const TRIPS: usize = 4_000;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut buffer = [0; 64];
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        socket.write_all(&buffer).await.unwrap();
        socket.read_exact(&mut buffer).await.unwrap();
        trips.push(start.elapsed().as_secs_f64());
    }
    Done { units: TRIPS as f64, took: Duration::from_secs_f64(median(trips) * TRIPS as f64) }
}

/// Echoes of 1 KiB by 32 connections with one each under way.
pub(super) async fn echoes(address: String) -> Done {
    const EACH: usize = 1_000;
    const CONNECTIONS: usize = 32;
    at_once(CONNECTIONS, EACH, || {
        let address = address.clone();
        async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut buffer = [0; 1_024];
            for _ in 0..EACH {
                socket.write_all(&buffer).await.unwrap();
                socket.read_exact(&mut buffer).await.unwrap();
            }
        }
    })
    .await
}

/// Requests to an HTTP server that does a little for each, by 64 connections with one each under way.
pub(super) async fn requests(address: String) -> Done {
    const EACH: usize = 300;
    const CONNECTIONS: usize = 64;
    at_once(CONNECTIONS, EACH, || {
        let address = address.clone();
        async move {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let request = format!("GET /items/1 HTTP/1.1\r\nhost: {address}\r\n\r\n");
            let mut buffer = vec![0; 16 << 10];
            for _ in 0..EACH {
                socket.write_all(request.as_bytes()).await.unwrap();
                // An answer is small and comes as a whole.
                let bytes = socket.read(&mut buffer).await.unwrap();
                assert!(buffer[..bytes].starts_with(b"HTTP/1.1 200"));
            }
        }
    })
    .await
}

/// Megabytes from server to client by one connection.
pub(super) async fn bulk(address: String) -> Done {
    transfer(address, Duration::from_millis(400)).await
}

/// Megabytes from server to clients by eight connections at once.
pub(super) async fn bulk_of_eight(address: String) -> Done {
    let start = Instant::now();
    let transfers = (0..8).map(|_| Box::pin(transfer(address.clone(), Duration::from_millis(400))));
    let mut transfers: Vec<_> = transfers.collect();
    let mut units = 0.0;
    std::future::poll_fn(|context| {
        transfers.retain_mut(|transfer| match transfer.as_mut().poll(context) {
            std::task::Poll::Ready(done) => {
                units += done.units;
                false
            }
            std::task::Poll::Pending => true,
        });
        if transfers.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    Done { units, took: start.elapsed() }
}

async fn transfer(address: String, time: Duration) -> Done {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < time {
        bytes += socket.read(&mut buffer).await.unwrap();
    }
    Done { units: bytes as f64 / 1e6, took: start.elapsed() }
}

async fn at_once<F: Future<Output = ()> + Send + 'static>(
    connections: usize,
    each: usize,
    connection: impl Fn() -> F,
) -> Done {
    let tasks = Tasks::new(Shutdown::new());
    let start = Instant::now();
    for _ in 0..connections {
        let connection = connection();
        tasks.spawn("load", OnError::Log, async move {
            connection.await;
            Ok::<_, Infallible>(())
        });
    }
    assert!(tasks.finish(Duration::from_secs(120)).await.is_empty());
    assert!(tasks.failures().is_empty(), "{:?}", tasks.failures());
    Done { units: (connections * each) as f64, took: start.elapsed() }
}
