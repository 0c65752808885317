//! An HTTP server that draws what it does from a seed and the request's path, and logs what it did: what a load
//! generator reports is compared with.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest and the longest latency; between them they are even on a logarithmic scale.
const LATENCY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// What statuses are drawn from, evenly.
const STATUSES: [u16; 5] = [200, 200, 200, 404, 503];

/// Largest body but for one byte.
const BODY: u64 = 10_000;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Written whole.
    Whole,
    /// Half of it was written, then the connection was closed.
    Half,
    /// The connection was reset, with nothing written.
    Reset,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As requested.
    pub path: String,
    /// What became of the answer.
    pub fate: Fate,
    /// Of the answer.
    pub status: u16,
    /// From when the request had been read to just before the answer was written.
    pub took: Duration,
    /// Bytes of the request.
    pub read: u64,
    /// Bytes of the answer that were written.
    pub written: u64,
}

/// The server: a thread for each connection. Ends with the value, its connections when their peers close them.
#[derive(Debug)]
pub struct Logged {
    addr: SocketAddr,
    log: Arc<Mutex<Vec<Entry>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Logged {
    /// Starts it. Of a hundred answers, about `spoilt` are reset and as many half-written.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(seed: u64, spoilt: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let addr = listener.local_addr().expect("an address");
        let (log, stop) = (Arc::<Mutex<Vec<Entry>>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let log = Arc::clone(&log);
                    std::thread::spawn(move || serve(&stream, seed, spoilt, &log));
                }
            })
        };
        Self { addr, log, stop, thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests that are over, in the order of their ends. One is logged after its answer was written.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers requests without bodies until the peer closes or an answer is spoilt.
fn serve(mut stream: &TcpStream, seed: u64, spoilt: u64, log: &Mutex<Vec<Entry>>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(head) = head(stream, &mut buffer) {
        let arrived = Instant::now();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let key = draws::at(seed, draws::text(&path));
        let fate = match draws::up_to(99, draws::at(key, 0)) {
            n if n < spoilt => Fate::Reset,
            n if n < 2 * spoilt => Fate::Half,
            _ => Fate::Whole,
        };
        let draw = |number: u64, most: u64| usize::try_from(draws::up_to(most, draws::at(key, number)));
        let status = STATUSES[draw(1, STATUSES.len() as u64 - 1).unwrap_or_default()];
        let body = "x".repeat(1 + draw(2, BODY).unwrap_or_default());
        let answer = format!(
            "HTTP/1.1 {status} Drawn\r\nContent-Length: {}\r\nX-Key: {key:x}\r\n\r\n{body}",
            body.len()
        );
        let part = match fate {
            Fate::Whole => answer.as_bytes(),
            Fate::Half => &answer.as_bytes()[..answer.len() / 2],
            Fate::Reset => &[],
        };
        wait(arrived + latency(draws::at(key, 3)));
        let took = arrived.elapsed();
        if stream.write_all(part).is_err() {
            return;
        }
        let (read, written) = (head.len() as u64, part.len() as u64);
        let entry = Entry { path, fate, status, took, read, written };
        log.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        match fate {
            Fate::Whole => {}
            Fate::Half => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Fate::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                return;
            }
        }
    }
}

/// The next head with its empty line; `None` when the peer has closed.
fn head(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(String::from_utf8_lossy(&buffer.drain(..at + 4).collect::<Vec<_>>()).into_owned());
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn latency(draw: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a draw")]
    let part = draw as f64 / u64::MAX as f64;
    let (least, most) = (LATENCY.0.as_secs_f64(), LATENCY.1.as_secs_f64());
    Duration::from_secs_f64(least * (most / least).powf(part))
}

#[expect(clippy::disallowed_methods, reason = "a latency is what this server is for")]
fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}
