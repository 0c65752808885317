//! Coded bodies: decoded for who looks, counted as they came, and bounded.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::v1;
use sandbox::abi;

use super::rig::{GET, HEAD, Rig, empty, endpoint, finish, rate, request, script, setup};
use super::server::{Act, Server};
use crate::engine::Source;

const GRACE: Duration = Duration::from_secs(20);

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A whole answer with this body, said to be gzip.
fn coded(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(super) type Bodies = Arc<Mutex<Vec<(abi::CompletionKind, abi::Failure, String)>>>;

/// Asks with this method and interest, and keeps the bodies.
pub(super) fn ask(
    setup: abi::Setup,
    method: u32,
    interest: abi::Interest,
    bodies: &Bodies,
) -> Arc<dyn Source> {
    let bodies = Arc::clone(bodies);
    script(setup, move || {
        let bodies = Arc::clone(&bodies);
        move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
            let mut output = empty();
            for told in done {
                let body = String::from_utf8_lossy(abi::slice(arena, told.body).unwrap()).into_owned();
                bodies.lock().unwrap().push((told.kind, told.failure, body));
            }
            for start in starts {
                let asked = request(&mut output, start.user, 1);
                (asked.method, asked.interest) = (method, interest);
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    })
}

/// Runs one request against a server that answers so.
fn one(answer: Vec<u8>, guest: Arc<dyn Source>) -> (v1::ArrivalCounts, v1::Series) {
    let server = Server::start(move |_, _| Act::Reply(answer.clone()));
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.scheduled, 1);
    (counts, rig.samples().series.remove(0))
}

#[test]
fn who_looks_sees_the_decoded_body_and_bytes_are_counted_as_they_came() {
    let text = "all is fine here, ".repeat(50);
    let answer = coded("text/plain", &gzip(text.as_bytes()));
    let bodies = Bodies::default();
    let contains = |text: &str| abi::Setup {
        expectations: vec![abi::Expectation {
            step: 0,
            check: 0,
            rule: abi::Rule::BodyContains(text.into()),
        }],
        ..setup()
    };
    let (counts, series) = one(answer.clone(), ask(contains("is fine"), GET, abi::Interest::BODY, &bodies));
    assert_eq!((counts.answered, series.checks[0].passed), (1, 1));
    assert_eq!(series.bytes_received, answer.len() as u64);
    assert_eq!(bodies.lock().unwrap()[0].2, text);
    // A check alone looks, too; nobody looking is no failure whatever the body is.
    let (_, series) = one(answer, ask(contains("is bad"), GET, abi::Interest::empty(), &bodies));
    assert_eq!((series.checks[0].passed, series.checks[0].failed), (0, 1));
    let (counts, _) = one(coded("text/plain", b"no gzip"), ask(setup(), GET, abi::Interest::END, &bodies));
    assert_eq!(counts.answered, 1);
}

#[test]
fn wrong_data_is_malformed_and_a_bomb_too_large() {
    let good = gzip(b"text");
    let cases = [
        (b"this is not gzip at all".to_vec(), abi::Failure::Malformed, "malformed"),
        (good[..good.len() - 1].to_vec(), abi::Failure::Malformed, "malformed"),
        // The rig takes a mebibyte.
        (gzip(&vec![b'x'; 2 << 20]), abi::Failure::TooLarge, "too-large"),
    ];
    for (body, failure, class) in cases {
        let bodies = Bodies::default();
        let guest = ask(setup(), GET, abi::Interest::BODY, &bodies);
        let (counts, series) = one(coded("text/plain", &body), guest);
        assert_eq!((counts.failed, series.errors[0].class.as_str()), (1, class));
        assert_eq!(*bodies.lock().unwrap(), [(abi::CompletionKind::End, failure, String::new())]);
    }
}

#[test]
fn an_answer_to_head_has_nothing_to_decode() {
    let bodies = Bodies::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n".to_vec();
    let (counts, _) = one(answer, ask(setup(), HEAD, abi::Interest::BODY, &bodies));
    assert_eq!(counts.answered, 1);
}

#[test]
fn events_of_a_coded_stream_are_told() {
    let bodies = Bodies::default();
    let answer = coded("text/event-stream", &gzip(b"data: a\n\ndata: b\n\n"));
    one(answer, ask(setup(), GET, abi::Interest::EVENTS, &bodies));
    let bodies = bodies.lock().unwrap();
    let said: Vec<_> = bodies.iter().map(|(kind, _, body)| (*kind, body.as_str())).collect();
    use abi::CompletionKind::{End, Event};
    assert_eq!(said, [(Event, "a"), (Event, "b"), (End, "")]);
}

#[test]
fn a_stream_that_unpacks_beyond_all_measure_is_too_large() {
    let bodies = Bodies::default();
    let answer = coded("text/event-stream", &gzip(&b"data\n\n".repeat(700_000)));
    let server = Server::start(move |_, _| Act::Reply(answer.clone()));
    let guest = ask(setup(), GET, abi::Interest::EVENTS, &bodies);
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| spec.max_body = 64 << 20);
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.failed), (1, 1));
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies.last().unwrap().1, abi::Failure::TooLarge);
    assert!(bodies.len() < (2 << 20) / 6 + 11_000, "{} events", bodies.len());
}
