//! What turns and completions show.

use super::*;

#[test]
fn rows_are_numbered_by_feed_and_column() {
    let rows: Vec<u8> = ["ann", "", "7"]
        .iter()
        .flat_map(|value| [&u32::try_from(value.len()).unwrap().to_le_bytes()[..], value.as_bytes()].concat())
        .collect();
    // The first feed has two columns, the second one.
    let turn = Turn { user: 0, arrival: 0, now_us: 0, rows: &rows, offsets: &[0, 2] };
    assert_eq!(turn.row(0, 0), b"ann");
    assert_eq!(turn.row(0, 1), b"");
    assert_eq!(turn.text(1, 0), Some("7"));
    for (feed, column) in [(0, 2), (1, 1), (2, 0), (usize::MAX, 0)] {
        assert_eq!(turn.row(feed, column), b"", "there is no column {column} of feed {feed}");
    }
    let cut = Turn { rows: &rows[..5], ..turn };
    assert_eq!(cut.row(0, 0), b"", "a value that is not whole");
}

fn completion(head: &[u8]) -> Completion<'_> {
    Completion {
        kind: CompletionKind::End,
        user: 0,
        seq: 0,
        status: 200,
        failure: None,
        now_us: 0,
        queue_us: 0,
        first_byte_us: 0,
        first_event_us: 0,
        last_byte_us: 0,
        events: 0,
        head,
        body: b"a receipt",
    }
}

#[test]
fn headers_are_found_in_any_case() {
    let done = completion(b"HTTP/1.1 200 a: b\r\nSet-Cookie: one\r\nX:y\r\nset-cookie:  two \r\n\r\n");
    assert_eq!(done.header("x"), Some(&b"y"[..]));
    assert_eq!(done.headers("Set-cookie").collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(done.header("HTTP/1.1 200 a"), None, "the status line is no header");
    assert_eq!(completion(b"").header("x"), None);
}

#[test]
fn success_is_a_whole_answer_of_200_to_299() {
    let done = completion(b"");
    assert!(done.is_success());
    assert!(!Completion { status: 300, ..done }.is_success());
    assert!(!Completion { failure: Some(Failure::Timeout), ..done }.is_success());
    assert!(!Completion { kind: CompletionKind::Head, ..done }.is_success());
}

#[test]
fn events_have_a_name_and_an_id() {
    let event = |head| Completion { kind: CompletionKind::Event, ..completion(head) };
    let named = event(b"event: add: more\r\nid: event: 7\r\n");
    assert_eq!((named.event_name(), named.event_id()), (&b"add: more"[..], &b"event: 7"[..]));
    assert_eq!(event(b"id: 7\r\nretry: 1500\r\n").event_retry_ms(), Some(1_500));
    let plain = event(b"");
    assert_eq!(plain.event_retry_ms(), None);
    assert_eq!((plain.event_name(), plain.event_id()), (&b"message"[..], &b""[..]));
    let answer = completion(b"HTTP/1.1 200 OK\r\nid: 7\r\n\r\n");
    assert_eq!(answer.event_id(), b"", "a header is no event's id");
}

#[test]
fn bodies_are_searched() {
    let done = completion(b"");
    assert!(done.body_contains("receipt"));
    assert!(done.body_contains(""));
    assert!(!done.body_contains("a receipt for it"));
}

#[test]
fn interests_have_the_bits_of_the_interface() {
    for (ours, theirs) in [
        (Interest::END, wire::Interest::END),
        (Interest::HEAD, wire::Interest::HEAD),
        (Interest::BODY, wire::Interest::BODY),
        (Interest::EVENTS, wire::Interest::EVENTS),
        (Interest::STREAM_SUMMARY, wire::Interest::STREAM_SUMMARY),
        (Interest::END | Interest::BODY, wire::Interest::END | wire::Interest::BODY),
    ] {
        assert_eq!(ours.to_wire(), theirs);
        assert_eq!(Interest::from_wire(theirs), ours);
    }
}
