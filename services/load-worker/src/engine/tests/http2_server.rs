//! Servers that speak HTTP/2, by the server side of `h2` or frame by frame.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What to do with a request.
pub(super) enum Act {
    /// Answer with these fields and this body.
    Reply(Vec<(&'static str, String)>, Vec<u8>),
    /// Wait until the gate opens, then answer 200 without a body.
    Gate,
    /// Answer nothing and keep the stream.
    Silence,
    /// Reset the stream.
    Reset(Reason),
    /// Send a head that announces a body of this length and four bytes of it, and keep the stream.
    Half(u64),
    /// Answer with these fields and the first bytes, wait until the gate opens, and end with the second.
    GateBetween(Vec<(&'static str, String)>, Vec<u8>, Vec<u8>),
    /// Answer with these fields and these frames, all at once.
    Frames(Vec<(&'static str, String)>, Vec<Vec<u8>>),
    /// Answer with these fields and these bytes, and keep the stream.
    Unended(Vec<(&'static str, String)>, Vec<u8>),
    /// Answer with these fields and these bytes, wait until the gate opens, and reset the stream.
    Broken(Vec<(&'static str, String)>, Vec<u8>),
    /// Answer with these fields and these bytes over and over, as many as the client takes.
    Endless(Vec<(&'static str, String)>, &'static [u8]),
    /// Answer, and take no more requests on the connection.
    Last,
    /// Close the connection.
    Close,
}

/// A plain 200 with a body.
pub(super) fn ok(body: &str) -> Act {
    Act::Reply(vec![("x-kind", "plain".to_owned())], body.as_bytes().to_vec())
}

/// What a server saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) requests: AtomicUsize,
    /// Requests that are not answered, by connection.
    pub(super) in_flight: Mutex<Vec<usize>>,
    /// Streams that were reset before they were answered.
    pub(super) resets: AtomicUsize,
    /// Method, URI, fields and body of each request.
    pub(super) heads: Mutex<Vec<(String, String, HeaderMap, usize)>>,
}

type Behaviour = dyn Fn(usize, usize) -> Act + Send + Sync;

/// Lives until it is dropped.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    pub(super) seen: Arc<Seen>,
    gate: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Seen>,
    gate: watch::Receiver<bool>,
    behaviour: Arc<Behaviour>,
    builder: Builder,
}

impl Server {
    /// `behaviour` is asked with the number of the connection and of the request on it, both from 0.
    pub(super) fn start(behaviour: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Self {
        Self::with(|_| {}, None, behaviour)
    }

    pub(super) fn with(
        tweak: impl FnOnce(&mut Builder),
        tls: Option<Arc<rustls::ServerConfig>>,
        behaviour: impl Fn(usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let (gate, opened) = watch::channel(false);
        let mut builder = Builder::new();
        tweak(&mut builder);
        let seen = Arc::<Seen>::default();
        let shared =
            Shared { seen: Arc::clone(&seen), gate: opened, behaviour: Arc::new(behaviour), builder };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.seen.connections.fetch_add(1, Ordering::SeqCst);
                shared.seen.in_flight.lock().unwrap().push(0);
                let (shared, tls) = (shared.clone(), tls.clone());
                spawn(async move {
                    shared.seen.open.fetch_add(1, Ordering::SeqCst);
                    match tls {
                        None => serve(stream, number, &shared).await,
                        Some(config) => {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                serve(stream, number, &shared).await;
                            }
                        }
                    }
                    shared.seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, seen, gate, _runtime: runtime }
    }

    pub(super) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn in_flight(&self) -> Vec<usize> {
        self.seen.in_flight.lock().unwrap().clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with its server's runtime, and nobody waits for it")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, number: usize, shared: &Shared) {
    let Ok(mut connection) = shared.builder.handshake::<_, Bytes>(io).await else { return };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        shared.seen.requests.fetch_add(1, Ordering::SeqCst);
        let act = (shared.behaviour)(number, count);
        count += 1;
        match act {
            Act::Close => return,
            Act::Last => connection.graceful_shutdown(),
            _ => {}
        }
        shared.seen.in_flight.lock().unwrap()[number] += 1;
        let shared = shared.clone();
        spawn(async move {
            answer(request, respond, act, &shared).await;
            shared.seen.in_flight.lock().unwrap()[number] -= 1;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    act: Act,
    shared: &Shared,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let mut length = 0;
    while let Some(Ok(data)) = body.data().await {
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    shared.seen.heads.lock().unwrap().push((
        head.method.to_string(),
        head.uri.to_string(),
        head.headers,
        length,
    ));
    let mut response = Response::new(());
    match act {
        Act::Reply(fields, body) => {
            add(&mut response, fields);
            let empty = body.is_empty();
            let mut stream = respond.send_response(response, empty).ok()?;
            if !empty {
                stream.send_data(body.into(), true).ok()?;
            }
        }
        Act::Gate => {
            let mut gate = shared.gate.clone();
            tokio::select! {
                _ = gate.wait_for(|open| *open) => {}
                _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {
                    shared.seen.resets.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
            }
            respond.send_response(response, true).ok()?;
        }
        Act::Silence => {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            if reset.is_ok() {
                shared.seen.resets.fetch_add(1, Ordering::SeqCst);
            }
        }
        Act::Reset(reason) => respond.send_reset(reason),
        Act::Half(length) => {
            response.headers_mut().append("content-length", length.into());
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(Bytes::from_static(b"half"), false).ok()?;
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        }
        Act::GateBetween(fields, first, then) => {
            add(&mut response, fields);
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(first.into(), false).ok()?;
            let mut gate = shared.gate.clone();
            gate.wait_for(|open| *open).await.ok()?;
            stream.send_data(then.into(), true).ok()?;
        }
        Act::Frames(fields, frames) => {
            add(&mut response, fields);
            let mut stream = respond.send_response(response, false).ok()?;
            for frame in frames {
                stream.send_data(frame.into(), false).ok()?;
            }
            stream.send_data(Bytes::new(), true).ok()?;
        }
        Act::Unended(fields, body) => {
            add(&mut response, fields);
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(body.into(), false).ok()?;
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        }
        Act::Broken(fields, body) => {
            add(&mut response, fields);
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(body.into(), false).ok()?;
            let mut gate = shared.gate.clone();
            gate.wait_for(|open| *open).await.ok()?;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        Act::Endless(fields, bytes) => {
            add(&mut response, fields);
            let mut stream = respond.send_response(response, false).ok()?;
            let bytes = bytes.repeat(10_000_usize.div_ceil(bytes.len()));
            while send(&mut stream, &bytes).await.is_some() {}
        }
        Act::Last => {
            respond.send_response(response, true).ok()?;
        }
        Act::Close => {}
    }
    Some(())
}

fn add(response: &mut Response<()>, fields: Vec<(&'static str, String)>) {
    for (name, value) in fields {
        if name == ":status" {
            *response.status_mut() = value.parse().unwrap();
        } else {
            response.headers_mut().append(name, value.parse().unwrap());
        }
    }
}

/// Sends all of these bytes as the client takes them; `None` = it does not any more.
async fn send(stream: &mut h2::SendStream<Bytes>, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let (now, later) = bytes.split_at(capacity.min(bytes.len()));
        stream.send_data(Bytes::copy_from_slice(now), false).ok()?;
        bytes = later;
    }
    Some(())
}

/// A frame: type, flags, stream, payload.
pub(super) type Frame = (u8, u8, u32, Vec<u8>);

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
/// END_STREAM and END_HEADERS.
pub(super) const WHOLE: u8 = 5;
pub(super) const ACK: u8 = 1;
/// `:status: 200` in HPACK.
pub(super) const OK: &[u8] = &[0x88];

/// Settings that allow so many streams at a time.
pub(super) fn max_streams(n: u32) -> Vec<u8> {
    [&[0, 3][..], &n.to_be_bytes()].concat()
}

/// The server's side of a connection, frame by frame.
pub(super) struct Wire {
    stream: tokio::net::TcpStream,
}

impl Wire {
    pub(super) async fn write(&mut self, (kind, flags, stream, payload): Frame) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        let _ = self.stream.write_all(&[head, payload].concat()).await;
    }

    /// The next frame; `None` = the client has closed.
    pub(super) async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, s, t, u, v] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((kind, flags, u32::from_be_bytes([s, t, u, v]), payload))
    }

    /// The stream of the next request.
    pub(super) async fn request(&mut self) -> Option<u32> {
        loop {
            let (kind, _, stream, _) = self.read().await?;
            if kind == HEADERS {
                return Some(stream);
            }
        }
    }

    /// Bytes that are no frame.
    pub(super) async fn garbage(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Writes such bytes; whether the client is still there.
    pub(super) async fn is_open_after(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits for the client to close.
    pub(super) async fn until_closed(&mut self) {
        while self.read().await.is_some() {}
    }
}

/// A server whose connections are played by `play`, with the number of the connection; the client's preface is read.
pub(super) fn frames<F>(
    play: impl Fn(usize, Wire) -> F + Send + 'static,
) -> (SocketAddr, tokio::runtime::Runtime)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    runtime.spawn(async move {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut preface = [0; 24];
            if stream.read_exact(&mut preface).await.is_ok() {
                spawn(play(number, Wire { stream }));
            }
        }
    });
    (addr, runtime)
}
