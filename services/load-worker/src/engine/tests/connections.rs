//! How connections are made, used, replaced and closed.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sandbox::abi;

use super::rig::{POST, Rig, endpoint, fire, rate, wait_for};
use super::server::{Act, Server, ok, read_request};
use crate::spec::{Detour, Endpoint, TlsSpec};

const GRACE: Duration = Duration::from_secs(20);

#[test]
fn fresh_connections_carry_one_request_each() {
    let server = Server::start(|_, _| Act::ReplyClose(ok("")));
    let mut rig = Rig::new(
        vec![endpoint(server.addr)],
        vec![fire(|request: &mut abi::Request| request.connection = abi::Connection::Fresh)],
    );
    let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(200)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (20, 20));
    assert_eq!(server.requests(), 20);
    // The pool had made four before the first request asked for a fresh one.
    assert_eq!(server.connections(), 24);
    assert!(server.seen.most_open.load(Ordering::SeqCst) <= 5, "the phase's number holds");
    assert!(server.seen.heads.lock().unwrap().iter().all(|head| head.contains("Connection: close")));
    assert_eq!(rig.samples().threads[0].connects, 24);
}

#[test]
fn where_connections_are_not_kept_each_request_has_its_own_whatever_the_guest_asks_for() {
    for connection in [abi::Connection::Any, abi::Connection::Own, abi::Connection::Fresh] {
        let server = Server::start(|_, _| Act::Reply(ok("")));
        let guest = fire(move |request: &mut abi::Request| request.connection = connection);
        let rig =
            Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| spec.targets[0].keep_alive = false);
        for phase in [1, 2] {
            let mut spec = rig.phase(rate(100.0), Duration::from_millis(100));
            spec.phase = phase;
            assert_eq!(rig.run(&spec, GRACE).answered, 10, "{connection:?}");
        }
        // None was made but for a request.
        assert_eq!((server.requests(), server.connections()), (20, 20), "{connection:?}");
        assert!(server.seen.heads.lock().unwrap().iter().all(|head| head.contains("Connection: close")));
    }
}

#[test]
fn a_users_own_connection_is_its_own_until_it_is_closed() {
    let server = Server::start(|connection, _| Act::Reply(ok(&connection.to_string())));
    let rig = Rig::new(
        vec![endpoint(server.addr)],
        vec![fire(|request: &mut abi::Request| request.connection = abi::Connection::Own)],
    );
    let counts = rig.run(&rig.phase(rate(200.0), Duration::from_millis(200)), GRACE);
    assert_eq!((counts.answered, server.connections()), (40, 4));
    // Users take turns, k mod 4: each path's user came by one connection only.
    let heads = server.seen.heads.lock().unwrap();
    assert_eq!(heads.len(), 40);
}

#[test]
fn connections_are_used_in_turn_over_all_endpoints() {
    let (a, b) = (Server::start(|_, _| Act::Reply(ok(""))), Server::start(|_, _| Act::Reply(ok(""))));
    let rig = Rig::new(vec![endpoint(a.addr), endpoint(b.addr)], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(200)), GRACE);
    assert_eq!(counts.answered, 20);
    assert_eq!((a.connections(), b.connections()), (2, 2));
    assert_eq!((a.requests(), b.requests()), (10, 10));
}

#[test]
fn idle_connections_that_the_peer_closes_are_replaced() {
    // Closes after each answer without saying so in the head.
    let server = Server::start(|_, _| Act::ReplyClose(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(300)), GRACE);
    assert_eq!((counts.scheduled, counts.answered, counts.failed), (30, 30, 0));
    assert_eq!(server.requests(), 30);
}

#[test]
fn requests_on_stale_connections_are_sent_again_if_that_is_safe() {
    // Every second request on a connection is reset, as if it had crossed the peer's close.
    for method in [super::rig::GET, POST] {
        let server = Server::start(|_, n| if n == 1 { Act::Reset } else { Act::Reply(ok("")) });
        let mut rig = Rig::new(
            vec![endpoint(server.addr)],
            vec![fire(move |request: &mut abi::Request| request.method = method)],
        );
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(400)), GRACE);
        assert_eq!((counts.scheduled, counts.answered + counts.failed), (20, 20));
        let requests = rig.samples().series[0].requests;
        assert_eq!(requests, 20, "a request that is sent again is one request");
        if method == POST {
            assert_eq!((counts.answered, counts.failed, server.requests()), (12, 8, 20));
        } else {
            // Where the machine was slow the reset came too late to be of a stale connection.
            let resent = server.requests() - 20;
            assert!(
                counts.failed <= 10 && resent as u64 + counts.failed >= 5,
                "{counts:?}, {resent} sent again"
            );
        }
    }
}

#[test]
fn bodies_of_any_size_are_written_whole() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let big = 3_000_000;
    let guest = super::rig::script(super::rig::setup(), move || {
        move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = super::rig::empty();
            for start in starts {
                let body = abi::Slice { off: u32::try_from(output.arena.len()).unwrap(), len: big };
                output.arena.resize(output.arena.len() + big as usize, b'x');
                let request = super::rig::request(&mut output, start.user, 1);
                request.method = POST;
                request.body = body;
                super::rig::finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(20.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.answered, 2);
    assert!(server.seen.heads.lock().unwrap().iter().all(|head| head.len() > 3_000_000));
}

/// A TLS server of one certificate that answers every request.
pub(super) fn tls_server() -> (std::net::SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream);
                let mut buffer = Vec::new();
                while read_request(&mut stream, &mut buffer).is_some() {
                    use std::io::Write;
                    if stream.write_all(&ok(&"secret ".repeat(5_000))).is_err() || stream.flush().is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, cert)
}

pub(super) fn tls_endpoint(
    addr: std::net::SocketAddr,
    trusted: CertificateDer<'static>,
    name: &str,
) -> Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsSpec {
        config: Arc::new(config),
        resumption: true,
        server_name: name.to_owned().try_into().unwrap(),
    };
    Endpoint { tls: Some(tls), ..endpoint(addr) }
}

#[test]
fn tls_is_spoken() {
    let (addr, cert) = tls_server();
    for connection in [abi::Connection::Any, abi::Connection::Fresh] {
        let mut rig = Rig::new(
            vec![tls_endpoint(addr, cert.clone(), "localhost")],
            vec![fire(move |request: &mut abi::Request| request.connection = connection)],
        );
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (10, 10));
        let series = &rig.samples().series[0];
        assert!(series.bytes_received > 10 * 35_000, "{}", series.bytes_received);
    }
}

#[test]
fn an_untrusted_certificate_is_a_tls_failure() {
    let (addr, _) = tls_server();
    let (_, other) = tls_server();
    let mut rig = Rig::new(vec![tls_endpoint(addr, other, "localhost")], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.failed), (5, 5));
    let batch = rig.samples();
    assert_eq!(batch.series[0].errors[0].class, "tls");
    assert!(batch.threads[0].connect_failures >= 5);
}

#[test]
fn a_host_with_several_addresses_is_tried_at_each() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut both = endpoint(server.addr);
    both.addrs = vec![dead, server.addr];
    let rig = Rig::new(vec![both], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (10, 10));
}

#[test]
fn connections_are_held_while_nothing_is_sent() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(rate(0.1), Duration::from_millis(200));
    spec.connections = 200;
    rig.begin(&spec);
    wait_for("all transports", || server.seen.open.load(Ordering::SeqCst) == 200);
    rig.end(1, GRACE);
}

/// The endpoint, reached by way of `proxy` in phase 2.
fn detoured(endpoint: Endpoint, proxy: std::net::SocketAddr) -> Endpoint {
    Endpoint { detour: Some(Detour { addrs: vec![proxy], phases: [2].into() }), ..endpoint }
}

#[test]
fn a_detour_is_taken_in_its_phases_and_all_that_is_said_stays_the_targets() {
    for connection in [abi::Connection::Any, abi::Connection::Own, abi::Connection::Fresh] {
        let (target, proxy) =
            (Server::start(|_, _| Act::Reply(ok(""))), Server::start(|_, _| Act::Reply(ok(""))));
        let other = Server::start(|_, _| Act::Reply(ok("")));
        let endpoints = vec![detoured(endpoint(target.addr), proxy.addr), endpoint(other.addr)];
        let guest = fire(move |request: &mut abi::Request| request.connection = connection);
        let rig = Rig::new(endpoints, vec![guest]);
        let mut seen = Vec::new();
        for phase in 1..=3 {
            let mut spec = rig.phase(rate(100.0), Duration::from_millis(200));
            spec.phase = phase;
            let counts = rig.run(&spec, GRACE);
            assert_eq!((counts.answered, counts.failed), (20, 0), "phase {phase}: {counts:?}");
            seen.push((target.requests(), proxy.requests(), other.requests()));
        }
        let each = 10;
        // Who owns a connection asks on no other.
        if connection != abi::Connection::Own {
            assert_eq!(seen, [(each, 0, each), (each, each, 2 * each), (2 * each, each, 3 * each)]);
        }
        let (before, during, after) = (seen[0], seen[1], seen[2]);
        assert_eq!((before.1, during.0, after.1), (0, before.0, during.1), "{connection:?}: {seen:?}");
        assert!(during.1 > 0 && after.0 > during.0, "{connection:?}: {seen:?}");
        let host = format!("Host: {}", target.addr);
        assert!(proxy.seen.heads.lock().unwrap().iter().all(|head| head.contains(&host)));
        wait_for("the detour's connections to be closed", || proxy.seen.open.load(Ordering::SeqCst) == 0);
    }
}

#[test]
fn a_target_that_is_down_directly_is_not_down_on_its_detour() {
    let proxy = Server::start(|_, _| Act::Reply(ok("")));
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::new(vec![detoured(endpoint(dead), proxy.addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(50.0), Duration::from_millis(100));
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.failed), (5, 5));
    let mut spec = rig.phase(rate(50.0), Duration::from_millis(100));
    spec.phase = 2;
    assert_eq!(rig.run(&spec, GRACE).answered, 5);
}

#[test]
fn tls_on_a_detour_asks_for_the_targets_name() {
    let (addr, cert) = tls_server();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let own = Endpoint { addrs: vec![dead], ..tls_endpoint(addr, cert, "localhost") };
    let rig = Rig::new(vec![detoured(own, addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(rate(50.0), Duration::from_millis(200));
    spec.phase = 2;
    assert_eq!(rig.run(&spec, GRACE).answered, 10);
}
