//! Ways to a target: IPv6 and Unix sockets.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::abi;

use super::rig::{Rig, endpoint, fire, rate};
use super::server::{Act, Server, ok, read_request};
use crate::spec::Endpoint;

const GRACE: Duration = Duration::from_secs(20);

#[test]
fn ipv6_is_spoken() {
    let server = Server::at("[::1]:0".parse().unwrap(), |_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
    assert_eq!((counts.scheduled, counts.answered, server.requests()), (10, 10, 10));
    let host = format!("Host: [::1]:{}", server.addr.port());
    assert!(server.seen.heads.lock().unwrap().iter().all(|head| head.contains(&host)));
}

/// A server on a Unix socket that answers every request; what it was asked.
fn unix_server(path: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(path).unwrap();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut buffer = Vec::new();
                while let Some(head) = read_request(&mut stream, &mut buffer) {
                    seen.lock().unwrap().push(head);
                    if stream.write_all(&ok(&"body".repeat(50_000))).is_err() {
                        return;
                    }
                }
            });
        }
    });
    heads
}

fn on_socket(path: PathBuf) -> Endpoint {
    Endpoint {
        url: "http://shop/api".into(),
        addrs: vec![],
        socket: Some(path),
        host_header: "shop".into(),
        base_path: "/api".into(),
        ..endpoint("127.0.0.1:9".parse().unwrap())
    }
}

#[test]
fn a_unix_socket_is_a_target_whose_host_and_path_are_the_urls() {
    for connection in [abi::Connection::Any, abi::Connection::Own, abi::Connection::Fresh] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let heads = unix_server(&path);
        let guest = fire(move |request: &mut abi::Request| request.connection = connection);
        let mut rig = Rig::new(vec![on_socket(path)], vec![guest]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(200)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (10, 10), "{connection:?}");
        assert!(rig.samples().series[0].bytes_received > 10 * 200_000);
        let heads = heads.lock().unwrap();
        assert!(heads.iter().all(|head| head.starts_with("GET /api/") && head.contains("Host: shop\r\n")));
    }
}

#[test]
fn a_socket_on_which_nobody_listens_is_a_connect_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(vec![on_socket(dir.path().join("gone"))], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.failed), (5, 5));
    assert_eq!(rig.samples().series[0].errors[0].class, "connect");
}
