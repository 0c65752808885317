//! The way to a target through an HTTP proxy.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::abi;

use super::connections::{tls_endpoint, tls_server};
use super::rig::{Rig, endpoint, fire, rate};
use super::server::{Act, Server, ok, read_request};
use crate::spec::Endpoint;

const GRACE: Duration = Duration::from_secs(20);

/// A proxy that makes tunnels to one place wherever it is asked to; what it was asked.
fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let Some(head) = read_request(&mut client, &mut Vec::new()) else { return };
                seen.lock().unwrap().push(head);
                let mut target = TcpStream::connect(to).unwrap();
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                let (mut from, mut back) = (client.try_clone().unwrap(), target.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut target);
                    let _ = target.shutdown(Shutdown::Both);
                });
                let _ = std::io::copy(&mut back, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    (addr, heads)
}

#[test]
fn tls_goes_through_a_tunnel() {
    let (addr, cert) = tls_server();
    for connection in [abi::Connection::Any, abi::Connection::Fresh] {
        let (proxy, heads) = proxy(addr);
        let own = tls_endpoint(addr, cert.clone(), "localhost");
        let through = Endpoint { addrs: vec![proxy], tunnel: Some("localhost:8443".into()), ..own };
        let guest = fire(move |request: &mut abi::Request| request.connection = connection);
        let rig = Rig::new(vec![through], vec![guest]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (10, 10), "{connection:?}");
        let heads = heads.lock().unwrap();
        let asked = "CONNECT localhost:8443 HTTP/1.1\r\nHost: localhost:8443";
        assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(asked)), "{heads:?}");
    }
}

#[test]
fn a_proxy_is_told_who_asks_with_each_request_and_each_tunnel() {
    let shown = || Some("Basic bWU6c2VjcmV0".to_owned());
    let is_shown = |head: &String| head.lines().any(|line| line == "Proxy-Authorization: Basic bWU6c2VjcmV0");
    for proxy_authorization in [shown(), None] {
        let expected = proxy_authorization.is_some();
        let server = Server::start(|_, _| Act::Reply(ok("")));
        let through =
            Endpoint { base_path: "http://shop".into(), proxy_authorization, ..endpoint(server.addr) };
        let rig = Rig::new(vec![through], vec![fire(|_| {})]);
        assert_eq!(rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE).answered, 5);
        assert!(server.seen.heads.lock().unwrap().iter().all(|head| is_shown(head) == expected));
    }
    let (addr, cert) = tls_server();
    let (proxy, heads) = proxy(addr);
    let through = Endpoint {
        addrs: vec![proxy],
        tunnel: Some("localhost:8443".into()),
        proxy_authorization: shown(),
        ..tls_endpoint(addr, cert, "localhost")
    };
    let rig = Rig::new(vec![through], vec![fire(|_| {})]);
    assert_eq!(rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE).answered, 5);
    let heads = heads.lock().unwrap();
    assert!(!heads.is_empty() && heads.iter().all(is_shown), "{heads:?}");
}

#[test]
fn a_proxy_that_refuses_is_a_connect_failure() {
    let refuses = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    for answer in [&refuses[..], b"220 mail.example\r\n"] {
        let server = Server::start(move |_, _| Act::ReplyClose(answer.to_vec()));
        let through = Endpoint { tunnel: Some("shop:443".into()), ..endpoint(server.addr) };
        let mut rig = Rig::new(vec![through], vec![fire(|_| {})]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.failed), (5, 5));
        assert_eq!(rig.samples().series[0].errors[0].class, "connect");
    }
}

#[test]
fn a_proxy_that_passes_requests_on_is_told_the_whole_url() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let through = Endpoint {
        host_header: "shop:8080".into(),
        base_path: "http://shop:8080/api".into(),
        ..endpoint(server.addr)
    };
    let rig = Rig::new(vec![through], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.answered, 5);
    let heads = server.seen.heads.lock().unwrap();
    let whole =
        |head: &String| head.starts_with("GET http://shop:8080/api/") && head.contains("Host: shop:8080");
    assert!(heads.iter().all(whole), "{heads:?}");
}
