//! HTTP/2: many requests on a connection, with everything that a pool promises.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sandbox::abi;

use super::connections::tls_endpoint;
use super::http2_server::{Act, Server, ok};
use super::rig::{
    GET, HEAD, POST, Rig, closed, empty, endpoint, finish, fire, rate, request, script, setup, until,
    wait_for,
};
use crate::engine::Source;
use crate::spec::Endpoint;

pub(super) const GRACE: Duration = Duration::from_secs(20);

/// A thread that speaks HTTP/2 with so many streams on a connection.
pub(super) fn rig(endpoint: Endpoint, streams: u32, guest: Arc<dyn Source>) -> Rig {
    Rig::with(vec![endpoint], vec![guest], |spec| spec.targets[0].http2 = Some(streams))
}

/// A server's TLS with this protocol, and its certificate.
fn tls(protocol: Option<&[u8]>) -> (Arc<rustls::ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    (Arc::new(config), cert)
}

/// Such an endpoint that offers HTTP/2.
fn offering(server: &Server, cert: CertificateDer<'static>) -> Endpoint {
    let mut endpoint = tls_endpoint(server.addr, cert, "localhost");
    let spec = endpoint.tls.as_mut().unwrap();
    Arc::get_mut(&mut spec.config).unwrap().alpn_protocols = vec![b"h2".to_vec()];
    endpoint
}

/// All users of a closed model, each with one request at a time, which is answered when the gate opens.
fn gated(
    streams: u32,
    users: u32,
    connections: u32,
    allowed: Option<u32>,
) -> (Server, Rig, crate::spec::PhaseSpec) {
    let tweak = move |builder: &mut h2::server::Builder| {
        if let Some(allowed) = allowed {
            builder.max_concurrent_streams(allowed);
        }
    };
    let server = Server::with(tweak, None, |_, _| Act::Gate);
    let rig = rig(endpoint(server.addr), streams, fire(|_| {}));
    let mut spec = rig.phase(closed(users), Duration::from_secs(5));
    (spec.connections, spec.total_connections) = (connections, connections);
    (spec.users, spec.total_users, spec.capacity) = (users, users, users);
    (server, rig, spec)
}

#[test]
fn every_arrival_is_answered_and_seen_by_the_server() {
    let server = Server::start(|_, _| ok("hello"));
    let mut rig = rig(endpoint(server.addr), 100, fire(|_| {}));
    let counts = rig.run(&rig.phase(rate(400.0), Duration::from_millis(500)), GRACE);
    assert_eq!((counts.scheduled, counts.started, counts.answered), (200, 200, 200));
    assert_eq!((server.requests(), server.connections()), (200, 4));
    let batch = rig.samples();
    let series = &batch.series[0];
    assert_eq!((series.answered, series.requests, series.good, series.bad), (200, 200, 200, 0));
    assert_eq!((series.statuses[0].status, series.statuses[0].count), (200, 200));
    assert_eq!(batch.threads[0].connects, 4);
    // Each as long as its text: the head with what the server says, and the body.
    assert_eq!(series.bytes_received, 200 * "HTTP/2 200\r\nx-kind: plain\r\n\r\nhello".len() as u64);
    assert!(series.bytes_sent > 200 * "GET/0/0".len() as u64, "{}", series.bytes_sent);
    let heads = server.seen.heads.lock().unwrap();
    let mut paths: Vec<u64> =
        heads.iter().map(|head| head.1.split('/').nth(4).unwrap().parse().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, (0..200).collect::<Vec<_>>());
    let (method, uri, fields, _) = &heads[0];
    assert!(method == "GET" && uri.starts_with(&format!("http://{}/", server.addr)), "{method} {uri}");
    assert!(fields["user-agent"].to_str().unwrap().starts_with("gauntlet/"));
}

#[test]
fn so_many_requests_as_connections_have_streams_are_in_flight() {
    let (server, rig, spec) = gated(8, 20, 2, None);
    rig.begin(&spec);
    wait_for("all streams", || server.in_flight() == [8, 8]);
    // Four users wait: no stream is free for them, until one of the others has its answer.
    assert_eq!(server.requests(), 16);
    server.open_gate();
    wait_for("those that waited", || server.requests() >= 100);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.failed, counts.cancelled, counts.answered), (0, 0, server.requests() as u64));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_server_may_allow_fewer_streams() {
    let (server, rig, spec) = gated(100, 20, 2, Some(3));
    rig.begin(&spec);
    wait_for("all streams", || server.in_flight() == [3, 3]);
    assert_eq!(server.requests(), 6);
    server.open_gate();
    wait_for("those that waited", || server.requests() >= 100);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.failed, counts.cancelled, counts.answered), (0, 0, server.requests() as u64));
}

#[test]
fn streams_that_are_in_flight_at_the_end_are_reset_and_the_connection_stays() {
    let (server, mut rig, spec) = gated(8, 8, 1, None);
    rig.begin(&spec);
    wait_for("all streams", || server.in_flight() == [8]);
    let (counts, _) = rig.end(1, Duration::from_millis(20));
    assert_eq!((counts.started, counts.cancelled, counts.answered), (8, 8, 0));
    wait_for("the resets", || server.seen.resets.load(Ordering::SeqCst) == 8);
    assert_eq!(rig.samples().series[0].cancelled, 8);
    server.open_gate();
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(100));
    (spec.phase, spec.connections, spec.total_connections) = (2, 1, 1);
    assert_eq!(rig.run(&spec, GRACE).answered, 10);
    assert_eq!(server.connections(), 1);
}

#[test]
fn what_ends_within_the_grace_is_answered() {
    let (server, rig, spec) = gated(8, 8, 1, None);
    rig.begin(&spec);
    wait_for("all streams", || server.in_flight() == [8]);
    assert!(rig.handle.send(crate::spec::EngineCommand::EndPhase { phase: 1, grace: GRACE, drains: false }));
    server.open_gate();
    let crate::spec::EngineEvent::PhaseEnded { arrivals, .. } = rig.next() else {
        panic!("the end was expected")
    };
    // Users whose answer came before the thread heard of the end have had another turn.
    assert_eq!((arrivals.answered, arrivals.cancelled, arrivals.failed), (server.requests() as u64, 0, 0));
}

#[test]
fn tls_is_spoken_where_the_server_agrees_to_http_2() {
    let (config, cert) = tls(Some(b"h2"));
    let server = Server::with(|_| {}, Some(config), |_, _| ok(&"secret ".repeat(5_000)));
    for connection in [abi::Connection::Any, abi::Connection::Fresh] {
        let guest = fire(move |request: &mut abi::Request| request.connection = connection);
        let mut rig = rig(offering(&server, cert.clone()), 8, guest);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (10, 10), "{connection:?}");
        assert!(rig.samples().series[0].bytes_received > 10 * 35_000);
    }
    assert!(server.seen.heads.lock().unwrap().iter().all(|head| head.1.starts_with("https://")));
}

#[test]
fn a_server_that_does_not_agree_to_http_2_is_a_tls_failure() {
    for protocol in [None, Some(b"http/1.1".as_slice())] {
        let (config, cert) = tls(protocol);
        let server = Server::with(|_| {}, Some(config), |_, _| ok(""));
        let mut rig = rig(offering(&server, cert), 8, fire(|_| {}));
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.failed), (5, 5));
        assert_eq!(rig.samples().series[0].errors[0].class, "tls");
        assert_eq!(server.requests(), 0);
    }
}

#[test]
fn fresh_connections_carry_one_request_each() {
    let server = Server::start(|_, _| ok(""));
    let guest = fire(|request: &mut abi::Request| request.connection = abi::Connection::Fresh);
    let rig = rig(endpoint(server.addr), 8, guest);
    let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(200)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (20, 20));
    // The pool had made four before the first request asked for a fresh one.
    assert_eq!((server.requests(), server.connections()), (20, 24));
}

#[test]
fn where_connections_are_not_kept_each_request_has_its_own() {
    let server = Server::start(|_, _| ok(""));
    let rig = Rig::with(vec![endpoint(server.addr)], vec![fire(|_| {})], |spec| {
        (spec.targets[0].http2, spec.targets[0].keep_alive) = (Some(8), false);
    });
    assert_eq!(rig.run(&rig.phase(rate(100.0), Duration::from_millis(200)), GRACE).answered, 20);
    assert_eq!((server.requests(), server.connections()), (20, 20));
}

#[test]
fn fresh_connections_wait_for_a_place_beside_shared_ones() {
    // Every other request asks for a connection of its own, of two in all that others share.
    let server = Server::start(|_, _| ok(""));
    let turn = Arc::new(Mutex::new(0_u32));
    let guest = fire(move |request: &mut abi::Request| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        if turn.is_multiple_of(2) {
            request.connection = abi::Connection::Fresh;
        }
    });
    let rig = rig(endpoint(server.addr), 4, guest);
    let mut spec = rig.phase(rate(200.0), Duration::from_millis(300));
    (spec.connections, spec.total_connections) = (2, 2);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (60, 60));
    assert_eq!(server.requests(), 60);
}

#[test]
fn a_users_own_stream_stays_on_one_connection() {
    let server = Server::start(|connection, _| ok(&connection.to_string()));
    let seen = Arc::new(Mutex::new(vec![Vec::new(); 4]));
    let guest = {
        let seen = Arc::clone(&seen);
        script(setup(), move || {
            let seen = Arc::clone(&seen);
            move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
                let mut output = empty();
                for start in starts {
                    // Two at once: the second waits for the first.
                    for seq in [1, 2] {
                        let request = request(&mut output, start.user, seq);
                        request.connection = abi::Connection::Own;
                        request.interest = abi::Interest::BODY;
                    }
                }
                for end in done {
                    let body = abi::slice(arena, end.body).unwrap().to_vec();
                    seen.lock().unwrap()[end.user as usize].push(body);
                    if end.seq == 2 {
                        finish(&mut output, end.user);
                    }
                }
                Ok(output)
            }
        })
    };
    let rig = rig(endpoint(server.addr), 8, guest);
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(200));
    (spec.connections, spec.total_connections) = (2, 2);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.answered, counts.failed, server.connections()), (40, 0, 2));
    for bodies in &*seen.lock().unwrap() {
        assert!(bodies.len() >= 2 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    }
}

#[test]
fn a_guest_sees_head_and_body_and_checks_hold() {
    let server = Server::start(|_, _| {
        Act::Reply(
            vec![
                (":status", "203".to_owned()),
                ("X-Cache", "HIT from edge".to_owned()),
                ("b", "2".to_owned()),
            ],
            b"no such needle".to_vec(),
        )
    });
    let mut told = setup();
    told.checks = vec!["all".into()];
    let rules = [
        abi::Rule::Status(vec![(203, 203)]),
        abi::Rule::HeaderContains(("x-cache".into(), "HIT".into())),
        abi::Rule::BodyContains("such needle".into()),
    ];
    told.expectations = rules.into_iter().map(|rule| abi::Expectation { step: 0, check: 0, rule }).collect();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let guest = {
        let seen = Arc::clone(&seen);
        script(told, move || {
            let seen = Arc::clone(&seen);
            move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
                let mut output = empty();
                for start in starts {
                    request(&mut output, start.user, 1).interest = abi::Interest::HEAD | abi::Interest::BODY;
                }
                for end in done {
                    let text = |slice| String::from_utf8(abi::slice(arena, slice).unwrap().to_vec()).unwrap();
                    seen.lock().unwrap().push((end.status, text(end.head), text(end.body)));
                    finish(&mut output, end.user);
                }
                Ok(output)
            }
        })
    };
    let mut rig = rig(endpoint(server.addr), 8, guest);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (5, 5));
    let head = "HTTP/2 203\r\nx-cache: HIT from edge\r\nb: 2\r\n\r\n".to_owned();
    assert_eq!(*seen.lock().unwrap(), vec![(203, head, "no such needle".to_owned()); 5]);
    let series = &rig.samples().series[0];
    assert_eq!((series.good, series.bad), (5, 0));
}

#[test]
fn what_a_guest_says_of_connections_is_left_out_and_its_host_is_asked_for() {
    let server = Server::start(|_, _| ok(""));
    let fields = [
        ("Host", "shop.test"),
        ("Connection", "close"),
        ("keep-alive", "timeout=5"),
        ("TE", "gzip"),
        ("X-Mine", "1"),
    ];
    let guest = script(setup(), move || {
        move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                let off = u32::try_from(output.arena.len()).unwrap();
                for (name, value) in fields {
                    output.arena.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
                    output.arena.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
                    output.arena.extend_from_slice(format!("{name}{value}").as_bytes());
                }
                let len = u32::try_from(output.arena.len()).unwrap() - off;
                request(&mut output, start.user, 1).headers = abi::Slice { off, len };
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let rig = rig(endpoint(server.addr), 8, guest);
    assert_eq!(rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE).answered, 5);
    let heads = server.seen.heads.lock().unwrap();
    let (_, uri, seen, _) = &heads[0];
    assert!(uri.starts_with("http://shop.test/"), "{uri}");
    let mut names: Vec<_> = seen.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["user-agent", "x-mine"]);
}

#[test]
fn bodies_of_any_size_are_written_whole() {
    // Far more than any window.
    let server = Server::start(|_, _| ok(""));
    let big = 3_000_000;
    let guest = script(setup(), move || {
        move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                let body = abi::Slice { off: u32::try_from(output.arena.len()).unwrap(), len: big };
                output.arena.resize(output.arena.len() + big as usize, b'x');
                let request = request(&mut output, start.user, 1);
                request.method = POST;
                request.body = body;
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let rig = rig(endpoint(server.addr), 8, guest);
    let counts = rig.run(&rig.phase(rate(20.0), Duration::from_millis(200)), GRACE);
    assert_eq!(counts.answered, 4);
    let heads = server.seen.heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.3 == big as usize && head.2["content-length"] == "3000000"));
}

#[test]
fn answers_of_all_kinds_are_read() {
    type Case = (u32, fn() -> Act);
    let cases: Vec<Case> = vec![
        (GET, || Act::Reply(vec![(":status", "204".to_owned())], vec![])),
        (HEAD, || Act::Reply(vec![("content-length", "100".to_owned())], vec![])),
        // Within the limit, and more than the windows let come at once.
        (GET, || Act::Reply(vec![], vec![b'x'; 1_000_000])),
        // More fields than are looked at without asking for memory.
        (GET, || Act::Reply(vec![("x-many", "1".to_owned()); 100], vec![])),
    ];
    for (number, (method, act)) in cases.into_iter().enumerate() {
        let server = Server::start(move |_, _| act());
        let guest = fire(move |request: &mut abi::Request| request.method = method);
        let rig = rig(endpoint(server.addr), 8, guest);
        let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.answered, server.requests()), (10, 10, 10), "case {number}");
    }
}

#[test]
fn a_deadline_resets_its_own_stream_only() {
    // The first request on each connection is never answered.
    let server = Server::start(|_, n| if n == 0 { Act::Silence } else { ok("") });
    let mut rig = rig(endpoint(server.addr), 8, fire(|request| request.timeout_us = 2_000_000));
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(300));
    (spec.connections, spec.total_connections) = (2, 2);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered, counts.failed), (30, 28, 2));
    assert_eq!(rig.samples().series[0].errors[0].class, "timeout");
    wait_for("the resets", || server.seen.resets.load(Ordering::SeqCst) == 2);
    assert_eq!(server.connections(), 2);
}

#[test]
fn connections_beyond_the_phases_number_end_with_their_requests() {
    let (server, rig, spec) = gated(2, 4, 2, None);
    rig.begin(&spec);
    wait_for("all streams", || server.in_flight() == [2, 2]);
    let (counts, _) = rig.end(1, Duration::ZERO);
    assert_eq!(counts.cancelled, 4);
    let mut spec = rig.phase(rate(1.0), Duration::from_millis(50));
    (spec.phase, spec.connections, spec.total_connections) = (2, 1, 1);
    rig.begin(&spec);
    wait_for("one connection", || server.seen.open.load(Ordering::SeqCst) == 1);
    until(spec.t0 + spec.duration);
    server.open_gate();
    rig.end(2, GRACE);
}
