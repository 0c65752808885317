//! Peers that break the rules of HTTP/2, or keep them to do harm: each ends as its own failure class, in bounded memory.

use std::time::Duration;

use sandbox::abi;

use super::http2::{GRACE, rig};
use super::http2_failures::{PATIENT, classes, first_request};
use super::http2_server::{ACK, Frame, HEADERS, OK, PING, SETTINGS, WHOLE, frames, max_streams};
use super::rig::{POST, Rig, endpoint, fire, rate, script, setup};

const DATA: u8 = 0;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// END_HEADERS.
const HEAD_ENDS: u8 = 4;

/// Frames to a request, by its stream.
type Answer = fn(u32) -> Vec<Frame>;

/// A value that is kept in the table of fields, and a thousand references to it: 4 MB of 5 KB.
fn bomb() -> Vec<u8> {
    // Its length, 4000, as an integer with a prefix of seven bits.
    let value = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
    [OK, &value, &[0xbe; 1_000]].concat()
}

/// What a server says to each request, and how that ends.
const CASES: &[(&str, &str, Answer)] = &[
    ("answers without a status", "malformed", |at| vec![(HEADERS, WHOLE, at, vec![0, 1, b'x', 1, b'y'])]),
    ("has a field in upper case", "malformed", |at| {
        vec![(HEADERS, WHOLE, at, vec![0x88, 0, 1, b'X', 1, b'y'])]
    }),
    ("names a field that is not in the table", "malformed", |at| vec![(HEADERS, WHOLE, at, vec![0xbf])]),
    ("unpacks a head beyond all measure", "too-large", |at| vec![(HEADERS, WHOLE, at, bomb())]),
    ("goes on with a head without end", "too-large", |at| {
        let more = std::iter::repeat_n((CONTINUATION, 0, at, vec![]), 10_000);
        std::iter::once((HEADERS, 0, at, OK.to_vec())).chain(more).collect()
    }),
    ("goes on with no head", "malformed", |at| vec![(CONTINUATION, HEAD_ENDS, at, OK.to_vec())]),
    ("sends a body before the head", "malformed", |at| vec![(DATA, 1, at, b"hello".to_vec())]),
    ("pushes", "malformed", |at| {
        vec![(PUSH_PROMISE, HEAD_ENDS, at, vec![0, 0, 0, 2, 0x82, 0x84, 0x86, 0x41, 1, b'a'])]
    }),
    ("answers on a stream that nobody opened", "malformed", |at| {
        vec![(HEADERS, WHOLE, at + 1_000, OK.to_vec())]
    }),
    ("opens the window by nothing", "malformed", |at| vec![(WINDOW_UPDATE, 0, at, vec![0; 4])]),
    ("opens the window beyond its measure", "malformed", |_| {
        vec![(WINDOW_UPDATE, 0, 0, vec![0x7f, 0xff, 0xff, 0xff]); 2]
    }),
    ("sends a frame beyond its size", "malformed", |at| {
        vec![(HEADERS, HEAD_ENDS, at, OK.to_vec()), (DATA, 0, at, vec![b'x'; 16_385])]
    }),
    ("has settings that are none", "malformed", |_| vec![(SETTINGS, 0, 0, vec![0; 5])]),
    ("acknowledges more than it was told", "malformed", |_| vec![(SETTINGS, ACK, 0, vec![]); 3]),
    ("pings with too little", "malformed", |_| vec![(PING, 0, 0, vec![0; 7])]),
];

#[test]
fn what_breaks_the_rules_is_a_failure_of_its_class() {
    for (name, class, answer) in CASES {
        let (addr, _runtime) = frames(move |_, mut wire| async move {
            let mut next = Some(first_request(&mut wire).await);
            while let Some(stream) = next {
                for frame in answer(stream) {
                    wire.write(frame).await;
                }
                next = wire.request().await;
            }
        });
        assert_eq!(classes(addr, PATIENT), [((*class).to_owned(), 5)], "a server that {name}");
    }
}

#[test]
fn a_server_that_does_not_greet_or_lets_nobody_ask_is_no_connection() {
    for greeting in [None, Some((SETTINGS, 0, 0, max_streams(0)))] {
        let (addr, _runtime) = frames(move |_, mut wire| {
            let greeting = greeting.clone();
            async move {
                if let Some(greeting) = greeting {
                    wire.write(greeting).await;
                }
                wire.until_closed().await;
            }
        });
        let mut rig = Rig::with(vec![endpoint(addr)], vec![fire(|_| {})], |spec| {
            spec.targets[0].http2 = Some(8);
            spec.handshake_timeout = Duration::from_millis(100);
        });
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.failed), (5, 5));
        assert_eq!(rig.samples().series[0].errors[0].class, "connect");
    }
}

#[test]
fn a_server_that_takes_no_body_is_a_timeout() {
    let (addr, _runtime) = frames(|_, mut wire| async move {
        // The first window of each stream has no byte.
        wire.write((SETTINGS, 0, 0, vec![0, 4, 0, 0, 0, 0])).await;
        wire.until_closed().await;
    });
    let guest = script(setup(), || {
        |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = super::rig::empty();
            for start in starts {
                let body = abi::Slice { off: u32::try_from(output.arena.len()).unwrap(), len: 100_000 };
                output.arena.resize(output.arena.len() + 100_000, b'x');
                let request = super::rig::request(&mut output, start.user, 1);
                (request.method, request.body, request.timeout_us) = (POST, body, 200_000);
                super::rig::finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let mut rig = rig(endpoint(addr), 8, guest);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (5, 0));
    let batch = rig.samples();
    let errors: Vec<_> = batch.series[0].errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
    assert_eq!(errors, [("timeout", counts.failed)]);
}

#[test]
fn a_peer_that_never_stops_talking_does_not_hold_up_the_thread() {
    // Priorities of streams, which nobody answers; pings and settings, each of which wants an answer that the peer does not
    // read; and pieces of a body without a byte, of which there is no end.
    let priority = (2, 0, 1, vec![0, 0, 0, 0, 0x10]);
    for (frame, flags, class) in [
        (priority, WHOLE, "timeout"),
        ((PING, 0, 0, vec![0; 8]), WHOLE, "timeout"),
        ((SETTINGS, 0, 0, vec![]), WHOLE, "timeout"),
        ((DATA, 0, 1, vec![]), HEAD_ENDS, "too-large"),
    ] {
        let kind = frame.0;
        let (addr, _runtime) = frames(move |_, mut wire| {
            let (kind, flags_of, stream, payload) = frame.clone();
            async move {
                let asked = first_request(&mut wire).await;
                wire.write((HEADERS, flags, asked, OK.to_vec())).await;
                let at = if stream == 0 { 0 } else { asked };
                let length = u8::try_from(payload.len()).unwrap();
                let head = [&[0, 0, length, kind, flags_of][..], &at.to_be_bytes()].concat();
                let block = [head, payload].concat().repeat(5_000);
                while wire.is_open_after(&block).await {}
            }
        });
        let mut rig = rig(endpoint(addr), 8, fire(|request| request.timeout_us = 2_000_000));
        let mut spec = rig.phase(rate(20.0), Duration::from_millis(500));
        (spec.connections, spec.total_connections) = (1, 1);
        let counts = rig.run(&spec, GRACE);
        let answered = u64::from(flags == WHOLE);
        assert_eq!((counts.scheduled, counts.answered), (10, answered), "kind {kind}: {counts:?}");
        assert!(counts.failed >= 1, "kind {kind}: {counts:?}");
        assert_eq!(rig.samples().series[0].errors[0].class, class, "kind {kind}");
    }
}
