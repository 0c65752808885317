//! Server and client against each other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::connections::Load;
use crate::server::{JSON_BYTES, JSON_PRICE, Log, Server};
use crate::{closed, paced};

/// A server that serves until the tests' process ends.
fn serve() -> SocketAddr {
    let server = Server::bind(0, None).expect("a free port");
    let addr = server.addr().expect("its address");
    std::thread::spawn(|| server.run());
    addr
}

/// Sends in pieces; reads until `length` bytes have come.
fn exchange(addr: SocketAddr, pieces: &[&[u8]], length: usize) -> String {
    let mut stream = TcpStream::connect(addr).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("deadline");
    for piece in pieces {
        stream.write_all(piece).expect("write");
    }
    let mut read = vec![0; length];
    stream.read_exact(&mut read).expect("the answer");
    String::from_utf8(read).expect("text")
}

#[test]
fn answers_are_of_fixed_length_and_the_json_one_is_json() {
    let addr = serve();
    let hello = exchange(addr, &[b"GET / HTTP/1.1\r\n\r\n"], 77);
    assert!(hello.starts_with("HTTP/1.1 200 OK\r\n") && hello.ends_with("\r\n\r\nhello world\n"), "{hello}");

    let load = Load { addr, path: "/json/7".into(), connections: 1 };
    let length = crate::connections::Connections::make(&load).expect("connections").answer;
    let json = exchange(addr, &[b"GET /json/7 HTTP/1.1\r\n\r\n"], length);
    let (_, body) = json.split_once("\r\n\r\n").expect("head and body");
    assert_eq!(body.len(), JSON_BYTES);
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["price"], JSON_PRICE);
}

#[test]
fn a_request_in_pieces_and_two_at_once_are_answered_once_each() {
    let addr = serve();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice();
    let (first, second) = request.split_at(20);
    let twice = [request, request].concat();
    for pieces in [vec![first, second, request], vec![&twice]] {
        let answers = exchange(addr, &pieces, 154);
        assert_eq!(answers.matches("hello world").count(), 2, "{answers}");
    }
}

#[test]
fn the_log_has_each_request_in_order_with_the_headers_that_were_named() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let logged = Log::new(log.reopen().expect("the file"), vec!["x-user".into(), "x".into()]);
    let server = Server::bind(0, Some(logged)).expect("a free port");
    let addr = server.addr().expect("its address");
    std::thread::spawn(|| server.run());
    exchange(addr, &[b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nX-Users: 8\r\nX-User:  7 \r\n\r\n"], 154);
    // It is written after the answers.
    exchange(addr, &[b"GET /c HTTP/1.1\r\n\r\n"], 77);
    let text = std::fs::read_to_string(log.path()).expect("the log");
    assert!(text.starts_with("GET /a HTTP/1.1\t-\t-\nGET /b HTTP/1.1\t7\t-\n"), "{text:?}");
}

#[test]
fn the_closed_loop_counts_answers() {
    let load = Load { addr: serve(), path: "/json/".into(), connections: 8 };
    let result = closed::run(&load, Duration::from_millis(300)).expect("a run");
    assert!(result.requests > 8, "{result:?}");
    assert!(result.requests_per_cpu_second > 0.0 && result.peak_memory_bytes.is_some(), "{result:?}");
}

#[test]
fn the_paced_loop_sends_what_its_schedule_wants() {
    let load = Load { addr: serve(), path: "/".into(), connections: 50 };
    let result = paced::run(&load, 200.0, Duration::from_secs(1)).expect("a run");
    assert_eq!(result.wanted, 200);
    // The last is due 5 ms before the end: a machine that is busy then may lose some.
    assert!(result.sent > 100 && result.answered == result.sent, "{result:?}");
    assert!(result.send_lag_us.p50 <= result.send_lag_us.max, "{result:?}");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let load = Load { addr: SocketAddr::from(([127, 0, 0, 1], 1)), path: "/".into(), connections: 1 };
    assert!(closed::run(&load, Duration::from_millis(10)).is_err());
}
