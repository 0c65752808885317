//! What guests see of answers in HTTP/2: coded bodies and events as in HTTP/1.1.

use std::time::Duration;

use sandbox::abi;
use sandbox::abi::CompletionKind::{End, Event, Head};

use super::codings::{Bodies, ask, gzip};
use super::http2::{GRACE, rig};
use super::http2_server::{Act, Server};
use super::rig::{GET, endpoint, rate, setup};
use super::streams::{Log, kinds, listen};

#[test]
fn a_coded_body_is_decoded_for_who_looks_and_a_broken_one_is_malformed() {
    let whole = gzip("all is fine here, ".repeat(50).as_bytes());
    let half = whole[..whole.len() / 2].to_vec();
    let server = Server::start(move |_, request| {
        let body = if request == 0 { &whole } else { &half };
        Act::Reply(vec![("content-encoding", "gzip".to_owned())], body.clone())
    });
    let bodies = Bodies::default();
    let guest = ask(setup(), GET, abi::Interest::BODY, &bodies);
    let mut rig = rig(endpoint(server.addr), 1, guest);
    let mut spec = rig.phase(rate(10.0), Duration::from_millis(200));
    (spec.connections, spec.total_connections) = (1, 1);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered, counts.failed), (2, 1, 1));
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies[0], (End, abi::Failure::None, "all is fine here, ".repeat(50)));
    assert_eq!((bodies[1].0, bodies[1].1), (End, abi::Failure::Malformed));
    // As they came, not as they were decoded.
    assert!(rig.samples().series[0].bytes_received < 300);
}

#[test]
fn events_of_a_stream_are_told() {
    let server = Server::start(|_, _| {
        let fields = vec![("content-type", "text/event-stream".to_owned())];
        Act::Reply(fields, b"data: one\n\nevent: add\ndata: two\n\ndata: never ended".to_vec())
    });
    let log = Log::default();
    let interest = abi::Interest::END | abi::Interest::HEAD | abi::Interest::EVENTS;
    let guest = listen(interest, &log, |_, _| {});
    let rig = rig(endpoint(server.addr), 10, guest);
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (1, 1));
    let told = log.lock().unwrap();
    assert_eq!(kinds(&told), [Head, Event, Event, End]);
    assert!(told[0].head.starts_with("HTTP/2 200\r\n"), "{}", told[0].head);
    assert_eq!((told[1].body.as_str(), told[2].body.as_str()), ("one", "two"));
    assert!(told[2].head.contains("add"), "{}", told[2].head);
    assert_eq!(told[3].of.events, 2);
    assert!(told[1].of.last_byte_us > 0 && told[1].of.last_byte_us <= told[3].of.last_byte_us);
}
