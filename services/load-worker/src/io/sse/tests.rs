//! The parser against the specification's own examples, and split at every place.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 4096;

type Owned = (String, String, String);

/// The events of a stream that comes in these pieces, and whether it was read to its end.
fn read(parts: &[&[u8]], limit: usize) -> (Vec<Owned>, Result<(), TooLarge>) {
    let mut stream = EventStream::new();
    let mut events = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for part in parts {
        let fed = stream.feed(part, limit, |event| {
            events.push((text(event.name), text(event.id), text(event.data)));
        });
        if fed.is_err() {
            return (events, fed);
        }
    }
    (events, Ok(()))
}

/// Data of the events of a stream.
fn data(stream: &str) -> Vec<String> {
    read(&[stream.as_bytes()], LIMIT).0.into_iter().map(|event| event.2).collect()
}

#[test]
fn the_examples_of_the_specification_are_read_as_it_says() {
    assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    let (events, _) = read(
        &[b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"],
        LIMIT,
    );
    let event = |id: &str, data: &str| (String::new(), id.to_owned(), data.to_owned());
    assert_eq!(events, [event("1", "first event"), event("", "second event"), event("", " third event")]);
    // Two events of empty and of one line feed; the last has no end.
    assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
}

#[test]
fn names_are_of_one_event_and_ids_stay() {
    let (events, _) =
        read(&[b"event: add\nid: 7\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\nid: x\0y\n\n"], LIMIT);
    let event = |name: &str, data: &str| (name.to_owned(), "7".to_owned(), data.to_owned());
    assert_eq!(events, [event("add", "a"), event("", "b"), event("", "c")]);
}

#[test]
fn a_time_to_retry_stays_and_is_a_number() {
    let mut stream = EventStream::new();
    let mut seen = Vec::new();
    let text = b"data: a\n\nretry: 500\ndata: b\n\nretry: soon\nretry:\nretry: -1\ndata: c\n\nretry:7\n\ndata: d\n\n";
    let note = |event: Event<'_>| seen.push(String::from_utf8_lossy(event.retry).into_owned());
    stream.feed(text, LIMIT, note).unwrap();
    assert_eq!(seen, ["", "500", "500", "7"]);
    stream.clear(0);
    stream.feed(b"data: a\n\n", LIMIT, |event| assert_eq!(event.retry, b"", "of another stream")).unwrap();
}

#[test]
fn lines_end_in_any_of_three_ways() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = ["data: a", "data: b", "", "data: c", "", ""].join(end);
        assert_eq!(data(&stream), ["a\nb", "c"], "{end:?}");
    }
    assert_eq!(data("data: a\r\rdata: b\n\r\ndata: c\r\n\r"), ["a", "b", "c"]);
}

#[test]
fn a_byte_order_mark_is_one_at_the_beginning_only() {
    assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"), ["a", "c"]);
    assert_eq!(data("\u{feff}\u{feff}data: a\n\n"), Vec::<String>::new());
    assert_eq!(data("\u{feff}\n\ndata: a\n\n"), ["a"]);
}

#[test]
fn what_is_no_field_of_an_event_is_passed_over() {
    assert_eq!(data(": ping\n:\nretry: 100\nDATA: x\n data: y\nunknown\ndata: z\n\n"), ["z"]);
    assert_eq!(data("event: only\nid: 1\nretry: 5\n\n\n\n"), Vec::<String>::new());
}

#[test]
fn an_event_without_its_empty_line_is_none() {
    for stream in ["data: a", "data: a\n", "data: a\r", "data: a\r\ndata"] {
        assert_eq!(data(stream), Vec::<String>::new(), "{stream:?}");
    }
}

#[test]
fn a_cleared_parser_knows_nothing_of_the_stream_before() {
    let mut stream = EventStream::new();
    stream.feed(b"id: 1\nevent: x\ndata: a\ndata: b\r", LIMIT, |_| {}).unwrap();
    stream.clear(0);
    let mut seen = 0;
    stream
        .feed(b"\xef\xbb\xbfdata: c\n\n", LIMIT, |event| {
            assert_eq!(event, Event { name: b"", id: b"", retry: b"", data: b"c" });
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let big = "x".repeat(100);
    for stream in [
        format!("data: {big}"),
        format!("unknown{big}"),
        "data: 0123456789\n".repeat(10),
        format!("id: {}\ndata: {}\n\n", &big[..30], &big[..30]),
    ] {
        let (events, read) = read(&[stream.as_bytes()], 64);
        assert_eq!((events.len(), read), (0, Err(TooLarge)), "{stream:?}");
    }
    // A comment may be endless, and many small events may come.
    let mut stream = EventStream::new();
    stream.feed(b": ", 64, |_| {}).unwrap();
    for _ in 0..1000 {
        stream.feed(big.as_bytes(), 64, |_| {}).unwrap();
    }
    let mut seen = 0;
    stream.feed("\ndata: 0123456789\n\n".repeat(1000).as_bytes(), 64, |_| seen += 1).unwrap();
    assert_eq!(seen, 1000);
}

/// What may be in a stream: fields, ends of lines, and bytes that mean nothing.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data".to_vec()),
        Just(b"data: ".to_vec()),
        Just(b"event:".to_vec()),
        Just(b"id: ".to_vec()),
        Just(b":".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(BYTE_ORDER_MARK.to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        stream in pieces(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in 8_usize..80,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut begin = 0;
        for cut in cuts {
            parts.push(&stream[begin..cut]);
            begin = cut;
        }
        parts.push(&stream[begin..]);
        prop_assert_eq!(read(&parts, limit), read(&[&stream], limit));
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(read(&bytes, limit), read(&[&stream], limit));
    }

    #[test]
    fn what_was_written_is_read(
        events in prop::collection::vec(("[a-z]{0,8}", "[a-z0-9]{1,8}", "[a-z: ]{1,9}(\n[a-z: ]{0,9}){0,3}"), 0..6),
        end in prop::sample::select(vec!["\n", "\r", "\r\n"]),
    ) {
        let mut stream = String::new();
        for (name, id, data) in &events {
            let lines = data.split('\n').map(|line| format!("data: {line}"));
            let fields = [format!("event: {name}"), format!("id: {id}"), ": comment".to_owned()];
            for line in fields.into_iter().chain(lines).chain([String::new()]) {
                stream.push_str(&line);
                stream.push_str(end);
            }
        }
        prop_assert_eq!(read(&[stream.as_bytes()], LIMIT), (events, Ok(())));
    }
}
