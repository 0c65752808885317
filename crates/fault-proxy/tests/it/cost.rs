//! What the proxy costs and how exact its times are: measured and printed by `cargo xtask bench fault-proxy`, never judged
//! by a test. Direct and through the proxy take turns within one run, because the machine is not the same from one to the
//! next.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::Program;
use crate::upstream::Upstream;

const TURNS: usize = 7;

/// A server on a thread of its own, so that it takes no time from the client's.
struct Apart {
    address: String,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Apart {
    fn start<F: Future<Output = Upstream>>(serve: impl FnOnce() -> F + Send + 'static) -> Self {
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
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of measurements that take turns: direct, through the proxy.
async fn in_turns<F: Future<Output = f64>>(
    direct: &str,
    proxied: &str,
    measure: impl Fn(String) -> F,
) -> (f64, f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        a.push(measure(direct.to_owned()).await);
        b.push(measure(proxied.to_owned()).await);
    }
    (median(a), median(b))
}

/// Microseconds of a round trip of 64 bytes, one at a time.
async fn round_trip(address: String) -> f64 {
    const TRIPS: usize = 4_000;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut buffer = [0; 64];
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        socket.write_all(&buffer).await.unwrap();
        socket.read_exact(&mut buffer).await.unwrap();
        trips.push(start.elapsed().as_secs_f64() * 1e6);
    }
    median(trips)
}

/// Requests a second of 32 connections with one of 1 KiB each under way.
async fn requests(address: String) -> f64 {
    const EACH: usize = 1_000;
    const CONNECTIONS: usize = 32;
    let tasks = Tasks::new(Shutdown::new());
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let address = address.clone();
        tasks.spawn("requests", OnError::Log, async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut buffer = [0; 1_024];
            for _ in 0..EACH {
                socket.write_all(&buffer).await.unwrap();
                socket.read_exact(&mut buffer).await.unwrap();
            }
            Ok::<_, Infallible>(())
        });
    }
    assert!(tasks.finish(Duration::from_secs(120)).await.is_empty());
    (CONNECTIONS * EACH) as f64 / start.elapsed().as_secs_f64()
}

/// Requests a second to an HTTP server that does a little for each, 64 connections with one under way.
async fn http(address: String) -> f64 {
    const EACH: usize = 300;
    const CONNECTIONS: usize = 64;
    let tasks = Tasks::new(Shutdown::new());
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let address = address.clone();
        tasks.spawn("requests", OnError::Log, async move {
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
            Ok::<_, Infallible>(())
        });
    }
    assert!(tasks.finish(Duration::from_secs(120)).await.is_empty());
    (CONNECTIONS * EACH) as f64 / start.elapsed().as_secs_f64()
}

/// Megabytes a second of one connection, from server to client.
async fn bulk(address: String) -> f64 {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(400) {
        bytes += socket.read(&mut buffer).await.unwrap();
    }
    bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement: cargo xtask bench fault-proxy"]
async fn without_toxics() {
    let program = Program::start(&[]);
    let echo = Apart::start(Upstream::echo);
    let flood = Apart::start(|| {
        Upstream::start(|mut socket| async move {
            let data = vec![7; 256 << 10];
            while socket.write_all(&data).await.is_ok() {}
        })
    });
    let (near, far) =
        (program.proxy("echo", &echo.address).await, program.proxy("flood", &flood.address).await);
    let (direct, proxied) = in_turns(&echo.address, &near, round_trip).await;
    say(&format!(
        "round trip of 64 bytes   direct {direct:8.1} µs      proxied {proxied:8.1} µs      a pass (one way) costs {:.1} µs",
        (proxied - direct) / 2.0
    ));
    let running = core_services::Running::start(core_services::Options::default()).unwrap();
    let target = running.url().trim_start_matches("http://").to_owned();
    let before_target = program.proxy("target", &target).await;
    let (direct, proxied) = in_turns(&target, &before_target, http).await;
    say(&format!(
        "HTTP, the reference target, 64 at a time   direct {direct:8.0}/s   proxied {proxied:8.0}/s   {:.0} %",
        100.0 * proxied / direct
    ));
    let (direct, proxied) = in_turns(&echo.address, &near, requests).await;
    say(&format!(
        "echo of 1 KiB, 32 at a time   direct {direct:8.0}/s   proxied {proxied:8.0}/s   {:.0} %",
        100.0 * proxied / direct
    ));
    let (direct, proxied) = in_turns(&flood.address, &far, bulk).await;
    say(&format!(
        "bytes, one connection    direct {direct:8.0} MB/s    proxied {proxied:8.0} MB/s    {:.0} %",
        100.0 * proxied / direct
    ));
}

/// How long it takes until `bytes` have come back, or the end has, in milliseconds.
async fn took(
    program: &Program,
    upstream: &Upstream,
    type_name: &str,
    attributes: &Value,
    bytes: usize,
    turn: usize,
) -> f64 {
    // Another name, another draw.
    let name = format!("timed-{turn}");
    let listen = program.proxy(&name, &upstream.address).await;
    program.toxic(&name, type_name, "downstream", attributes.clone()).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    let start = Instant::now();
    socket.write_all(&vec![1; bytes]).await.unwrap();
    let (mut buffer, mut received) = (vec![0; 64 << 10], 0);
    while received < bytes {
        match socket.read(&mut buffer).await.unwrap() {
            0 => break,
            more => received += more,
        }
    }
    let took = start.elapsed().as_secs_f64() * 1e3;
    program.answer(reqwest::Method::DELETE, &format!("/proxies/{name}"), None).await;
    took
}

#[tokio::test]
#[ignore = "a measurement: cargo xtask bench fault-proxy"]
async fn times() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    for (type_name, attributes, bytes, expected) in [
        ("latency", json!({"latency": 20}), 10, 20.0),
        ("latency", json!({"latency": 200}), 10, 200.0),
        ("latency", json!({"latency": 50, "jitter": 20}), 10, 50.0),
        ("bandwidth", json!({"rate": 100}), 50_000, 500.0),
        ("bandwidth", json!({"rate": 2_000}), 1_000_000, 500.0),
        ("timeout", json!({"timeout": 200}), 10, 200.0),
        ("slow_close", json!({"delay": 0}), 10, 0.0),
    ] {
        let mut all = Vec::new();
        for turn in 0..15 {
            all.push(took(&program, &upstream, type_name, &attributes, bytes, turn).await);
        }
        let (least, most) =
            all.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
        say(&format!(
            "{type_name:10} {attributes}, {bytes} bytes: expected {expected} ms, median {:.1}, from {least:.1} to {most:.1}",
            median(all)
        ));
    }
}
