//! HTTP/2 with peers that refuse, go away, break off or never were HTTP/2: each is a failure of its class.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use sandbox::abi;

use super::http2::{GRACE, rig};
use super::http2_server::{
    ACK, Act, GOAWAY, HEADERS, OK, PING, RST_STREAM, SETTINGS, Server, WHOLE, Wire, frames, max_streams, ok,
};
use super::rig::{GET, POST, closed, endpoint, fire, rate, wait_for};
use super::server;

/// A deadline that nothing here comes near, microseconds.
pub(super) const PATIENT: u32 = 10_000_000;

/// What became of five requests, each class with its count.
pub(super) fn classes(addr: std::net::SocketAddr, timeout_us: u32) -> Vec<(String, u64)> {
    let mut rig = rig(endpoint(addr), 8, fire(move |request| request.timeout_us = timeout_us));
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.started, counts.failed), (5, 5, 5));
    rig.samples().series[0].errors.iter().map(|e| (e.class.clone(), e.count)).collect()
}

#[test]
fn what_servers_do_to_streams_is_a_failure_of_its_class() {
    type Case = (&'static str, fn() -> Act);
    let cases: Vec<Case> = vec![
        ("reset", || Act::Reset(Reason::INTERNAL_ERROR)),
        ("reset", || Act::Reset(Reason::REFUSED_STREAM)),
        ("reset", || Act::Reset(Reason::NO_ERROR)),
        ("reset", || Act::Close),
        ("timeout", || Act::Silence),
        ("timeout", || Act::Half(10)),
        ("too-large", || Act::Half(99_999_999)),
        ("too-large", || Act::Endless(vec![], b"x")),
        ("too-large", || Act::Reply(vec![("x-big", "x".repeat(70_000))], vec![])),
        ("too-large", || Act::Reply(vec![("x-many", "1".to_owned()); 129], vec![])),
        // Longer than it says, and shorter.
        ("malformed", || Act::Reply(vec![("content-length", "3".to_owned())], b"hello".to_vec())),
        ("malformed", || Act::Reply(vec![("content-length", "30".to_owned())], b"hello".to_vec())),
    ];
    for (number, (class, act)) in cases.into_iter().enumerate() {
        let server = Server::start(move |_, _| act());
        // There are four users: the fifth request has to come before the phase is over.
        let timeout_us = if class == "timeout" { 100_000 } else { PATIENT };
        assert_eq!(classes(server.addr, timeout_us), [(class.to_owned(), 5)], "case {number}");
    }
}

/// Greets the client, and waits for a request.
pub(super) async fn first_request(wire: &mut Wire) -> u32 {
    wire.write((SETTINGS, 0, 0, vec![])).await;
    wire.request().await.unwrap_or(1)
}

#[test]
fn what_servers_do_to_connections_is_a_failure_of_its_class() {
    type Play = fn(&'static str, Wire) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let cases: Vec<(&'static str, &'static str, Play)> = vec![
        // A peer that answers as HTTP/1.1 does.
        ("malformed", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", |text, mut wire| {
            Box::pin(async move {
                wire.garbage(text.as_bytes()).await;
                wire.until_closed().await;
            })
        }),
        ("malformed", "\0\0\x01\x08\0\0\0\0\0\0", |text, mut wire| {
            Box::pin(async move {
                first_request(&mut wire).await;
                // A window update that is too short for one.
                wire.garbage(text.as_bytes()).await;
                wire.until_closed().await;
            })
        }),
        ("reset", "", |_, mut wire| {
            Box::pin(async move {
                first_request(&mut wire).await;
            })
        }),
        ("reset", "", |_, mut wire| {
            Box::pin(async move {
                let stream = first_request(&mut wire).await;
                wire.write((HEADERS, 4, stream, OK.to_vec())).await;
            })
        }),
        // Interim heads without end, on each stream: the connection is none the worse for it.
        ("too-large", "", |_, mut wire| {
            Box::pin(async move {
                let mut next = Some(first_request(&mut wire).await);
                while let Some(stream) = next {
                    // `:status: 100`, spelled out.
                    let head = [&b"\0\0\x05\x01\x04"[..], &stream.to_be_bytes(), b"\x08\x03100"].concat();
                    wire.garbage(&head.repeat(6_000)).await;
                    next = wire.request().await;
                }
            })
        }),
        // A head without end.
        ("too-large", "", |_, mut wire| {
            Box::pin(async move {
                let stream = first_request(&mut wire).await;
                wire.write((HEADERS, 0, stream, OK.to_vec())).await;
                for _ in 0..100 {
                    wire.write((9, 0, stream, [&b"\0\x01x\x7f\x81\x7e"[..], &[b'x'; 16_256]].concat())).await;
                }
                wire.until_closed().await;
            })
        }),
    ];
    for (number, (class, text, play)) in cases.into_iter().enumerate() {
        let (addr, _runtime) = frames(move |_, wire| play(text, wire));
        assert_eq!(classes(addr, PATIENT), [(class.to_owned(), 5)], "case {number}");
    }
}

#[test]
fn a_server_of_http_1_is_told_from_one_of_http_2() {
    // It reads on until the client has closed: closed over what it has not read, it would reset the connection, and its
    // answer might never be seen.
    let server = server::Server::start(|_, _| {
        server::Act::Do(Box::new(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }))
    });
    assert_eq!(classes(server.addr, PATIENT), [("malformed".to_owned(), 5)]);
}

#[test]
fn what_was_not_looked_at_is_sent_once_more() {
    for method in [GET, POST] {
        let refused = Arc::new(AtomicUsize::new(0));
        let server = {
            let refused = Arc::clone(&refused);
            Server::start(move |_, n| {
                if n % 2 == 0 && refused.fetch_add(1, Ordering::SeqCst) < 10 {
                    Act::Reset(Reason::REFUSED_STREAM)
                } else {
                    ok("")
                }
            })
        };
        let mut rig =
            rig(endpoint(server.addr), 8, fire(move |request: &mut abi::Request| request.method = method));
        let mut spec = rig.phase(rate(100.0), Duration::from_millis(300));
        (spec.connections, spec.total_connections) = (1, 1);
        let counts = rig.run(&spec, GRACE);
        // One that is refused is followed by an odd one, which is not.
        assert_eq!((counts.scheduled, counts.answered, counts.failed), (30, 30, 0));
        assert_eq!(server.requests(), 40);
        assert_eq!(rig.samples().series[0].requests, 30, "a request that is sent again is one request");
    }
}

#[test]
fn a_server_that_goes_away_loses_nothing() {
    for method in [GET, POST] {
        // The first connection takes nothing: it goes away with the first request, and has looked at none.
        let (addr, _runtime) = frames(|number, mut wire| async move {
            let mut stream = first_request(&mut wire).await;
            if number == 0 {
                wire.write((GOAWAY, 0, 0, vec![0; 8])).await;
                return wire.until_closed().await;
            }
            loop {
                wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                match wire.request().await {
                    Some(next) => stream = next,
                    None => return,
                }
            }
        });
        let guest = fire(move |request: &mut abi::Request| request.method = method);
        let rig = rig(endpoint(addr), 8, guest);
        let mut spec = rig.phase(rate(100.0), Duration::from_millis(300));
        (spec.connections, spec.total_connections) = (1, 1);
        (spec.users, spec.total_users, spec.capacity) = (1, 1, 1);
        let counts = rig.run(&spec, GRACE);
        assert_eq!((counts.scheduled, counts.answered, counts.failed), (30, 30, 0));
    }
}

#[test]
fn connections_that_are_used_up_are_replaced() {
    // As servers do after some number of requests.
    let server = Server::start(|_, n| if n == 4 { Act::Last } else { ok("") });
    let rig = rig(endpoint(server.addr), 8, fire(|_| {}));
    let counts = rig.run(&rig.phase(rate(200.0), Duration::from_millis(500)), GRACE);
    assert_eq!((counts.scheduled, counts.answered, counts.failed), (100, 100, 0));
    assert!(server.connections() >= 10, "{}", server.connections());
}

#[test]
fn a_server_may_allow_fewer_streams_later() {
    let most = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicUsize::new(0));
    let (addr, _runtime) = {
        let (most, answered) = (Arc::clone(&most), Arc::clone(&answered));
        frames(move |_, mut wire| {
            let (most, answered) = (Arc::clone(&most), Arc::clone(&answered));
            async move {
                wire.write((SETTINGS, 0, 0, max_streams(8))).await;
                let mut open = Vec::new();
                while open.len() < 8 {
                    open.extend(wire.request().await);
                }
                wire.write((SETTINGS, 0, 0, max_streams(2))).await;
                // Whoever answers a ping has read what came before it.
                for round in 0..20_u64 {
                    for stream in open.drain(..) {
                        wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    let mut pings = 0;
                    while pings < 3 || open.is_empty() {
                        wire.write((PING, 0, 0, round.to_be_bytes().to_vec())).await;
                        loop {
                            match wire.read().await {
                                Some((HEADERS, _, stream, _)) => open.push(stream),
                                Some((PING, ACK, ..)) => break,
                                Some(_) => {}
                                None => return,
                            }
                        }
                        pings += 1;
                    }
                    most.fetch_max(open.len(), Ordering::SeqCst);
                }
                for stream in open.drain(..) {
                    wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                }
                while let Some(stream) = wire.request().await {
                    wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                }
            }
        })
    };
    let rig = rig(endpoint(addr), 100, fire(|_| {}));
    let mut spec = rig.phase(closed(8), Duration::from_secs(5));
    (spec.connections, spec.total_connections) = (1, 1);
    (spec.users, spec.total_users, spec.capacity) = (8, 8, 8);
    rig.begin(&spec);
    wait_for("all rounds", || answered.load(Ordering::SeqCst) >= 8 + 19);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.failed, counts.cancelled), (0, 0));
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn late_answers_to_requests_that_were_given_up_are_no_fault() {
    // More of them than `h2` itself puts up with.
    let late = 1_500;
    let answered = Arc::new(AtomicUsize::new(0));
    let (addr, _runtime) = {
        let answered = Arc::clone(&answered);
        frames(move |_, mut wire| {
            let answered = Arc::clone(&answered);
            async move {
                wire.write((SETTINGS, 0, 0, max_streams(1_000))).await;
                let mut count = 0;
                loop {
                    match wire.read().await {
                        // The client has given it up; its answer comes all the same.
                        Some((RST_STREAM, _, stream, _)) => {
                            wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                        }
                        Some((HEADERS, _, stream, _)) => {
                            count += 1;
                            if count > late {
                                wire.write((HEADERS, WHOLE, stream, OK.to_vec())).await;
                                answered.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                        Some(_) => {}
                        None => return,
                    }
                }
            }
        })
    };
    let mut rig = rig(endpoint(addr), 1_000, fire(|request| request.timeout_us = 100_000));
    let mut spec = rig.phase(closed(500), Duration::from_secs(10));
    (spec.connections, spec.total_connections) = (1, 1);
    (spec.users, spec.total_users, spec.capacity) = (500, 500, 500);
    rig.begin(&spec);
    wait_for("answers in time", || answered.load(Ordering::SeqCst) >= 1_000);
    let (counts, _) = rig.end(1, GRACE);
    assert!(counts.answered >= 500, "{counts:?}");
    let batch = rig.samples();
    assert_eq!(batch.threads[0].connects, 1, "the connection outlives it");
    let classes: Vec<_> = batch.series[0].errors.iter().map(|error| error.class.as_str()).collect();
    assert_eq!(classes, ["timeout"]);
}
