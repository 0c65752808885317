//! Hostile servers: each ends as its own failure class, in bounded memory, and nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use protocol::failure::FailureClass::{self, Malformed, Reset, Timeout, TooLarge};
use sandbox::abi;

use super::rig::{Rig, endpoint, fire, rate, target, until};
use super::server::{Act, Server, ok};

const GRACE: Duration = Duration::from_secs(20);

/// Deadline of requests whose answer can only time out, microseconds.
const SOON: u32 = 500_000;
/// Deadline of the others, whose end must be seen long before.
const LATE: u32 = 20_000_000;

/// Before each byte that drips.
const SLOW: Duration = Duration::from_millis(20);

/// What a server does with a connection when it has read one request.
#[derive(Clone, Copy)]
enum Way {
    /// Writes this and waits until the peer closes.
    Stay(&'static str),
    /// Writes this and closes in order.
    Close(&'static str),
    /// Writes this and resets the connection.
    Reset(&'static str),
    /// Writes the first, and the second over and over as fast as the peer reads.
    Flood(&'static str, &'static str),
    /// Writes the first, and the second byte by byte, over and over, with a pause before each.
    Drip(&'static str, &'static str),
    /// Writes this byte by byte, with a small pause before each, and waits until the peer closes.
    Crawl(&'static str),
}

impl Way {
    fn go(self, stream: &TcpStream) {
        match self {
            Self::Stay(bytes) => {
                say(stream, bytes.as_bytes());
                hold(stream);
            }
            Self::Close(bytes) => {
                say(stream, bytes.as_bytes());
                let _ = stream.shutdown(Shutdown::Both);
            }
            Self::Reset(bytes) => {
                say(stream, bytes.as_bytes());
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            }
            Self::Flood(first, then) => {
                let then = then.repeat(16_384 / then.len());
                if say(stream, first.as_bytes()) {
                    while say(stream, then.as_bytes()) {}
                }
            }
            Self::Drip(first, then) => {
                say(stream, first.as_bytes());
                for byte in then.as_bytes().iter().cycle() {
                    until(Instant::now() + SLOW);
                    if !say(stream, &[*byte]) {
                        return;
                    }
                }
            }
            Self::Crawl(bytes) => {
                for byte in bytes.as_bytes() {
                    until(Instant::now() + SLOW / 10);
                    say(stream, &[*byte]);
                }
                hold(stream);
            }
        }
    }
}

fn say(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

fn hold(mut stream: &TcpStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).is_ok_and(|n| n > 0) {}
}

/// The head of an answer of so many bytes, and what follows it.
macro_rules! length {
    ($length:literal, $rest:literal) => {
        concat!("HTTP/1.1 200 OK\r\nContent-Length: ", $length, "\r\n\r\n", $rest)
    };
}

/// The head of a chunked answer, and what follows it.
macro_rules! chunked {
    ($rest:literal) => {
        concat!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", $rest)
    };
}

/// The head of an answer that only a close ends, and what follows it.
macro_rules! until_close {
    ($rest:literal) => {
        concat!("HTTP/1.1 200 OK\r\n\r\n", $rest)
    };
}

/// Kinds of servers, how their requests end (`None` = answered with 200), and what they do.
const CASES: &[(&str, Option<FailureClass>, Way)] = &[
    // Slow and silent ones.
    ("says nothing", Some(Timeout), Way::Stay("")),
    ("drips a head", Some(Timeout), Way::Drip("HTTP/1.1 200 OK\r\nX: ", "y")),
    ("drips a body", Some(Timeout), Way::Drip(until_close!(""), "x")),
    ("drips chunks", Some(Timeout), Way::Drip(chunked!(""), "1\r\nx\r\n")),
    ("drips interim answers", Some(Timeout), Way::Drip("", "HTTP/1.1 102 Processing\r\n\r\n")),
    ("stops within the head", Some(Timeout), Way::Stay("HTTP/1.1 200 OK\r\nContent-Le")),
    ("stops within the body", Some(Timeout), Way::Stay(length!(6, "hello"))),
    ("stops before the last chunk", Some(Timeout), Way::Stay(chunked!("5\r\nhello\r\n"))),
    ("stops within the trailers", Some(Timeout), Way::Stay(chunked!("0\r\nA: b\r\n"))),
    ("has less than it says", Some(Timeout), Way::Stay(length!(1_000_000, "hello"))),
    // Those that break off.
    ("resets at once", Some(Reset), Way::Reset("")),
    ("resets within the head", Some(Reset), Way::Reset("HTTP/1.1 200 O")),
    ("resets within the body", Some(Reset), Way::Reset(length!(10, "half"))),
    ("resets within a chunk", Some(Reset), Way::Reset(chunked!("5\r\nhe"))),
    ("resets a body that a close ends", Some(Reset), Way::Reset(until_close!("not the end"))),
    ("closes at once", Some(Reset), Way::Close("")),
    ("closes within the head", Some(Reset), Way::Close("HTTP/1.1 200 OK\r\nConte")),
    ("closes within the body", Some(Reset), Way::Close(length!(10, "half"))),
    ("closes before the last chunk", Some(Reset), Way::Close(chunked!("5\r\nhello\r\n"))),
    ("closes within the trailers", Some(Reset), Way::Close(chunked!("0\r\nA: b\r\n"))),
    ("closes after an interim answer", Some(Reset), Way::Close("HTTP/1.1 100 Continue\r\n\r\n")),
    // Those that do not speak HTTP/1.
    ("speaks SSH", Some(Malformed), Way::Stay("SSH-2.0-OpenSSH_9.2\r\n")),
    ("speaks TLS", Some(Malformed), Way::Stay("\x15\x03\x01\x00\x02\x02\x46")),
    ("speaks HTTP/2", Some(Malformed), Way::Stay("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64")),
    ("sends zeros without end", Some(Malformed), Way::Flood("", "\0")),
    ("has an unknown version", Some(Malformed), Way::Stay("HTTP/3.7 200 OK\r\n\r\n")),
    ("has a field without a name", Some(Malformed), Way::Stay("HTTP/1.1 200 OK\r\n: x\r\n\r\n")),
    ("has two lengths", Some(Malformed), Way::Stay(length!("5, 6", "hello"))),
    ("has a length beyond 64 bits", Some(Malformed), Way::Stay(length!("18446744073709551616", ""))),
    ("has a chunk beyond 64 bits", Some(Malformed), Way::Stay(chunked!("10000000000000005\r\nhello"))),
    ("has more in a chunk than it says", Some(Malformed), Way::Stay(chunked!("4\r\nhello\r\n0\r\n\r\n"))),
    // Those that do not end.
    ("has an endless reason", Some(TooLarge), Way::Flood("HTTP/1.1 200 ", "x")),
    ("has an endless field", Some(TooLarge), Way::Flood("HTTP/1.1 200 OK\r\nX: ", "x")),
    ("has endless fields", Some(TooLarge), Way::Flood("HTTP/1.1 200 OK\r\n", "X: y\r\n")),
    ("has endless interim answers", Some(TooLarge), Way::Flood("", "HTTP/1.1 100 Continue\r\n\r\n")),
    ("has a huge length", Some(TooLarge), Way::Stay(length!("18446744073709551615", ""))),
    ("has an endless body", Some(TooLarge), Way::Flood(until_close!(""), "x")),
    ("has endless chunks", Some(TooLarge), Way::Flood(chunked!(""), "4\r\nwiki\r\n")),
    ("has an endless chunk", Some(TooLarge), Way::Flood(chunked!("ffffffffffffff\r\n"), "x")),
    ("has an endless chunk size", Some(TooLarge), Way::Flood(chunked!(""), "0")),
    ("has an endless extension", Some(TooLarge), Way::Flood(chunked!("1;"), "x")),
    ("has endless extensions", Some(TooLarge), Way::Flood(chunked!(""), "1;x\r\ny\r\n")),
    ("has endless trailers", Some(TooLarge), Way::Flood(chunked!("0\r\n"), "A: b\r\n")),
    // Those that are only rude.
    ("says more than its length", None, Way::Stay(length!(5, "helloHTTP/1.1 500 No\r\n\r\n"))),
    ("resets after the answer", None, Way::Reset(length!(5, "hello"))),
    ("closes a body without a length", None, Way::Close(until_close!("hello"))),
    ("crawls to the end", None, Way::Crawl(chunked!("5\r\nhello\r\n0\r\n\r\n"))),
];

#[test]
fn each_hostile_server_is_a_class_of_its_own_and_a_good_one_beside_them_notices_nothing() {
    let mut servers: Vec<Server> = CASES
        .iter()
        .map(|&(_, _, way)| Server::start(move |_, _| Act::Do(Box::new(move |stream| way.go(stream)))))
        .collect();
    servers.push(Server::start(|_, _| Act::Reply(ok("good"))));
    let guests = CASES.iter().map(|(_, class, _)| *class).chain([None]).map(|class| {
        let timeout = if class == Some(Timeout) { SOON } else { LATE };
        fire(move |request: &mut abi::Request| request.timeout_us = timeout)
    });
    let mut rig = Rig::with(vec![], guests.collect(), |spec| {
        spec.targets = servers.iter().map(|server| target(vec![endpoint(server.addr)])).collect();
        for (scenario, target) in spec.scenarios.iter_mut().zip(0..) {
            scenario.targets = vec![target];
        }
    });
    // Nobody has to wait for a user.
    let mut spec = rig.phase(rate(400.0), Duration::from_secs(1));
    (spec.connections, spec.total_connections) = (400, 400);
    (spec.users, spec.total_users, spec.capacity) = (400, 400, 400);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.dropped, counts.cancelled), (400, 0, 0), "{counts:?}");

    let batch = rig.samples();
    let (good, hostile) = batch.series.split_last().unwrap();
    assert_eq!((hostile.len(), batch.arrivals), (CASES.len(), Some(counts)));
    for ((name, class, _), series) in CASES.iter().zip(hostile) {
        assert!(series.started > 0, "{name}: nothing was sent");
        let errors: Vec<_> = series.errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
        let statuses: Vec<_> = series.statuses.iter().map(|s| (s.status, s.count)).collect();
        let expected = match class {
            Some(class) => (vec![(class.name(), series.started)], vec![]),
            None => (vec![], vec![(200, series.started)]),
        };
        assert_eq!((errors, statuses), expected, "{name}");
    }
    let total = |part: fn(&protocol::v1::Series) -> u64| batch.series.iter().map(part).sum::<u64>();
    assert_eq!(
        (total(|s| s.started), total(|s| s.answered), total(|s| s.failed)),
        (counts.started, counts.answered, counts.failed)
    );
    let server = servers.last().unwrap();
    assert!(good.started > 0);
    assert_eq!((good.answered, server.requests() as u64), (good.started, good.started));
    let service = series::Hist::decode(good.service.as_ref().unwrap()).unwrap();
    assert!(service.max().unwrap() < 1_000_000, "{:?} us beside hostile servers", service.max());
}

/// Two scenarios, each towards one of the two servers.
fn beside(
    servers: [&Server; 2],
    guests: [std::sync::Arc<dyn crate::engine::Source>; 2],
    max_body: u64,
) -> Rig {
    Rig::with(vec![], guests.into(), |spec| {
        spec.targets = servers.iter().map(|server| target(vec![endpoint(server.addr)])).collect();
        spec.scenarios[1].targets = vec![1];
        spec.max_body = max_body;
    })
}

/// Memory of this process, megabytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn a_flood_neither_fills_the_memory_nor_keeps_others_waiting() {
    // Bodies may be as large as they like, and two servers write as fast as they can.
    for way in [Way::Flood(until_close!(""), "x"), Way::Flood(chunked!(""), "1\r\nx\r\n")] {
        let hostile = Server::start(move |_, _| Act::Do(Box::new(move |stream| way.go(stream))));
        let good = Server::start(|_, _| Act::Reply(ok("good")));
        let flooded = fire(|request: &mut abi::Request| {
            request.timeout_us = 1_500_000;
            request.interest = abi::Interest::BODY;
        });
        let mut rig = beside([&hostile, &good], [flooded, fire(|_| {})], u64::MAX);
        let mut spec = rig.phase(rate(100.0), Duration::from_secs(1));
        (spec.connections, spec.users, spec.capacity) = (8, 80, 80);
        let before = resident();
        let counts = rig.run(&spec, GRACE);
        let grown = resident().saturating_sub(before);
        let batch = rig.samples();
        let (bad, fine) = (&batch.series[0], &batch.series[1]);
        assert_eq!((bad.errors[0].class.as_str(), bad.errors[0].count), ("timeout", counts.failed));
        assert_eq!((fine.answered, counts.answered), (good.requests() as u64, good.requests() as u64));
        assert_eq!(fine.started, fine.answered);
        let service = series::Hist::decode(fine.service.as_ref().unwrap()).unwrap();
        assert!(service.max().unwrap() < 1_000_000, "{:?} us beside a flood", service.max());
        assert!(grown < 200, "{grown} MB more than before, {} MB were read", bad.bytes_received >> 20);
    }
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_a_timeout_and_one_that_only_ends_late_is_none() {
    // The head comes at once, the body when the gate opens.
    let slow = Server::start(|_, _| {
        Act::GateBetween(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec(), b"ok".to_vec())
    });
    let silent = Server::start(|_, _| Act::Silence);
    for (server, late) in [(&slow, false), (&silent, true)] {
        let mut rig = Rig::with(vec![endpoint(server.addr)], vec![fire(|_| {})], |spec| {
            spec.scenarios[0].response_timeout = Some(Duration::from_millis(200));
        });
        let spec = rig.phase(rate(20.0), Duration::from_millis(200));
        rig.begin(&spec);
        // A request has 20 s.
        until(spec.t0 + Duration::from_secs(2));
        server.gate.open();
        let (counts, _) = rig.end(1, GRACE);
        let (failed, answered) = if late { (4, 0) } else { (0, 4) };
        assert_eq!((counts.failed, counts.answered), (failed, answered), "{counts:?}");
        let series = &rig.samples().series[0];
        let errors: Vec<_> = series.errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
        assert_eq!(errors, if late { vec![("timeout", 4)] } else { vec![] });
        let latency = series::Hist::decode(series.latency.as_ref().unwrap()).unwrap();
        // Gone after the 200 ms, and not with the phase's end.
        assert!(!late || latency.is_empty() || latency.max() < Some(1_000_000), "{:?}", latency.max());
    }
}

#[test]
fn a_server_that_never_accepts_is_a_connect_failure() {
    // A queue of one, and that is taken.
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&socket, &any).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let addr = std::net::TcpListener::from(socket.try_clone().unwrap()).local_addr().unwrap();
    let _taken: Vec<_> = (0..8).map(|_| mio::net::TcpStream::connect(addr).unwrap()).collect();
    let mut rig = Rig::with(vec![endpoint(addr)], vec![fire(|_| {})], |spec| {
        spec.connect_timeout = Duration::from_millis(300);
    });
    let mut spec = rig.phase(rate(20.0), Duration::from_millis(500));
    spec.users = 10;
    spec.capacity = 10;
    rig.begin(&spec);
    until(spec.t0 + Duration::from_secs(2));
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.scheduled, counts.failed + counts.waiting, counts.dropped), (10, 10, 0), "{counts:?}");
    let batch = rig.samples();
    let errors: Vec<_> = batch.series[0].errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
    assert_eq!(errors, [("connect", counts.failed)]);
    assert!(counts.failed >= 4, "{counts:?}");
    assert_eq!(batch.threads[0].connects, 0);
}
