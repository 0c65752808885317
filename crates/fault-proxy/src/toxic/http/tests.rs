use serde_json::{Value, json};

use super::*;
use crate::draw::Identity;
use crate::toxic::Direction;

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

fn messages(type_name: &str, attributes: &Value) -> Messages {
    let defaults = Attributes::of_type(type_name).unwrap();
    match defaults.with(attributes.as_object().unwrap()).unwrap() {
        Attributes::Http(http) => Messages::new(http),
        other => panic!("{other:?}"),
    }
}

/// What becomes of a stream that comes in parts of `cut` bytes, and how it ends.
fn passed(type_name: &str, attributes: &Value, stream: &str, cut: usize) -> (String, Option<End>) {
    let (mut messages, mut queue, now) = (messages(type_name, attributes), Queue::default(), Instant::now());
    let mut draws = Identity::new(1, "p", 1).draws("t", Direction::Downstream);
    let (mut parts, mut out) = (stream.as_bytes().chunks(cut), Vec::new());
    loop {
        match messages.step(now, &mut queue, true, &mut draws) {
            Step::Pass(chunk) | Step::Act(chunk) => out.extend_from_slice(&chunk.data),
            Step::End(end) => return (String::from_utf8(out).unwrap(), Some(end)),
            Step::Wait(_) => return (String::from_utf8(out).unwrap(), None),
            Step::Drop => panic!("nothing is dropped"),
            Step::Idle => match parts.next() {
                Some(part) => queue.push(Chunk { data: Bytes::copy_from_slice(part), at: now }),
                None => queue.close(End::Eof),
            },
        }
    }
}

/// However the stream is cut up.
fn always(type_name: &str, attributes: &Value, stream: &str, expected: &str) {
    for cut in 1..=stream.len() {
        let (out, end) = passed(type_name, attributes, stream, cut);
        assert_eq!((out.as_str(), end), (expected, Some(End::Eof)), "in parts of {cut}");
    }
}

#[test]
fn every_answer_has_the_status_and_keeps_the_rest() {
    let stream = [PLAIN, CHUNKED, "HTTP/1.1 204 No Content\r\n\r\n", PLAIN].concat();
    let expected = stream.replace("200 OK", "500 Fault").replace("204 No Content", "500 Fault");
    always("http_status", &json!({"status": 500}), &stream, &expected);
}

#[test]
fn a_field_is_set_or_taken_away_and_others_stay() {
    let stream = [PLAIN, CHUNKED].concat();
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nserver: y\r\n\r\nhello\
        HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nserver: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    always("http_header", &json!({"name": "server", "value": "y"}), &stream, expected);
    always("http_header", &json!({"name": "SERVER"}), &stream, &stream.replace("Server: x\r\n", ""));
    let request = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok";
    let expected = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nauthorization: none\r\n\r\nok";
    always("http_header", &json!({"name": "authorization", "value": "none"}), request, expected);
}

#[test]
fn bodies_are_damaged_and_their_wrapping_is_not() {
    let expected = [PLAIN, CHUNKED].concat().replace("hello", "idmmn").replace("abc", "`cb");
    always("http_body", &json!({}), &[PLAIN, CHUNKED].concat(), &expected);
}

#[test]
fn a_share_of_messages_is_hit() {
    let stream = PLAIN.repeat(1_000);
    let (out, _) = passed("http_status", &json!({"share": 0.3}), &stream, 1_000);
    let hit = out.matches("503 Fault").count();
    assert!((250..350).contains(&hit), "{hit}");
    assert_eq!(out.matches("200 OK").count(), 1_000 - hit);
    assert_eq!(passed("http_status", &json!({"share": 0.3}), &stream, 77).0, out, "whatever comes at once");
    assert_eq!(passed("http_status", &json!({"share": 0}), &stream, 77).0, stream);
}

#[test]
fn abort_closes_in_place_of_a_message() {
    assert_eq!(passed("http_abort", &json!({}), PLAIN, 9), (String::new(), Some(End::Cut)));
    let (out, end) = passed("http_abort", &json!({"share": 0.2}), &PLAIN.repeat(100), 500);
    assert!(
        end == Some(End::Cut) && out == PLAIN.repeat(out.len() / PLAIN.len()),
        "after whole messages: {out}"
    );
}

#[test]
fn delay_counts_from_when_the_message_came() {
    let (mut delayed, mut queue, now) =
        (messages("http_delay", &json!({"delay": 50})), Queue::default(), Instant::now());
    let mut draws = Identity::new(1, "p", 1).draws("t", Direction::Downstream);
    let due = now + Duration::from_millis(50);
    queue.push(Chunk { data: Bytes::from_static(PLAIN.as_bytes()), at: now });
    assert!(matches!(delayed.step(now, &mut queue, true, &mut draws), Step::Wait(until) if until == due));
    assert!(
        matches!(delayed.step(due, &mut queue, true, &mut draws), Step::Act(head) if head.data.ends_with(b"\r\n\r\n"))
    );
    assert!(
        matches!(delayed.step(due, &mut queue, true, &mut draws), Step::Pass(body) if body.data == "hello")
    );
}

#[test]
fn what_is_no_message_passes() {
    for stream in ["\u{1}\0\r\n\r\nbinary", "SSH-2.0-x\r\n", "GET / HTTP/1.1\r\nhost: cut short"] {
        always("http_abort", &json!({}), stream, stream);
    }
    let long = "x".repeat(LONGEST_HEAD + 10);
    assert_eq!(passed("http_abort", &json!({}), &long, 10_000), (long, Some(End::Eof)));
}

#[test]
fn mistakes_are_named() {
    let wrong = |type_name: &str, attributes: Value| {
        Attributes::of_type(type_name).unwrap().with(attributes.as_object().unwrap()).unwrap_err()
    };
    assert!(wrong("http_status", json!({"status": 42})).contains("attributes.status: found 42"));
    assert!(wrong("http_header", json!({})).contains("attributes.name: found \"\""));
    assert!(wrong("http_header", json!({"name": "a", "value": "b\r\nc"})).contains("attributes.value"));
    assert!(wrong("http_abort", json!({"share": 2})).contains("attributes.share: found 2"));
    let input: crate::ToxicInput =
        serde_json::from_value(json!({"type": "http_status", "stream": "both"})).unwrap();
    assert!(input.parts().unwrap_err().to_string().contains("stream: found both"));
}
