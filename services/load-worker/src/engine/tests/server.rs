//! Small servers that do exactly what a test wants, one thread a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};

/// What to do with a request.
pub(super) enum Act {
    /// Write these bytes and go on.
    Reply(Vec<u8>),
    /// Write these bytes and close.
    ReplyClose(Vec<u8>),
    /// Close with a reset, answering nothing.
    Reset,
    /// Answer nothing and stay.
    Silence,
    /// Wait until the gate opens, then write.
    Gate(Vec<u8>),
    /// Write the first bytes, wait until the gate opens, write the second and close.
    GateBetween(Vec<u8>, Vec<u8>),
    /// Write the first bytes, and the second over and over until the peer has enough.
    Endless(&'static [u8], Vec<u8>),
    /// Do this with the connection and close it.
    Do(Box<dyn FnOnce(&TcpStream) + Send>),
}

/// A plain 200 with a body.
pub(super) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Kind: plain\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a server saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) most_open: AtomicUsize,
    pub(super) requests: AtomicUsize,
    pub(super) heads: Mutex<Vec<String>>,
}

#[derive(Default)]
pub(super) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }
}

pub(super) struct Server {
    pub(super) addr: SocketAddr,
    pub(super) seen: Arc<Seen>,
    pub(super) gate: Arc<Gate>,
    stop: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

type Behaviour = dyn Fn(usize, usize) -> Act + Send + Sync;

impl Server {
    /// `behaviour` is asked with the number of the connection and of the request on it, both from 0.
    pub(super) fn start(behaviour: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), behaviour)
    }

    pub(super) fn at(
        addr: SocketAddr,
        behaviour: impl Fn(usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, gate, stop) =
            (Arc::<Seen>::default(), Arc::<Gate>::default(), Arc::<AtomicBool>::default());
        let streams = Arc::<Mutex<Vec<Weak<TcpStream>>>>::default();
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let thread = {
            let (seen, gate, stop, streams) = (seen.clone(), gate.clone(), stop.clone(), streams.clone());
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                    let stream = Arc::new(stream);
                    streams.lock().unwrap().push(Arc::downgrade(&stream));
                    let (seen, gate, behaviour) = (seen.clone(), gate.clone(), behaviour.clone());
                    std::thread::spawn(move || {
                        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                        seen.most_open.fetch_max(open, Ordering::SeqCst);
                        serve(&stream, number, &seen, &gate, &*behaviour);
                        seen.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            })
        };
        Self { addr, seen, gate, stop, streams, thread: Some(thread) }
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections and the listener.
    pub(super) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.addr);
            thread.join().unwrap();
            for stream in self.streams.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.gate.open();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: &TcpStream, number: usize, seen: &Seen, gate: &Gate, behaviour: &Behaviour) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    let mut count = 0;
    loop {
        let Some(head) = read_request(&mut stream, &mut buffer) else { return };
        seen.requests.fetch_add(1, Ordering::SeqCst);
        seen.heads.lock().unwrap().push(head);
        let act = behaviour(number, count);
        count += 1;
        match act {
            Act::Reply(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Act::ReplyClose(bytes) => {
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Act::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
                return;
            }
            Act::Silence => {}
            Act::Gate(bytes) => {
                gate.pass();
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Act::GateBetween(first, then) => {
                if stream.write_all(&first).is_ok() {
                    gate.pass();
                    let _ = stream.write_all(&then);
                    let _ = stream.shutdown(Shutdown::Both);
                }
                return;
            }
            Act::Endless(first, bytes) => {
                if stream.write_all(first).is_ok() {
                    while stream.write_all(&bytes).is_ok() {}
                }
                return;
            }
            Act::Do(act) => {
                act(stream);
                return;
            }
        }
    }
}

/// Reads a head and the body that it announces; `None` = the peer has closed.
pub(super) fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<String> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..at]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= at + 4 + length {
                let body = String::from_utf8_lossy(&buffer[at + 4..at + 4 + length]).into_owned();
                buffer.drain(..at + 4 + length);
                return Some(format!("{head}\n\n{body}"));
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}
