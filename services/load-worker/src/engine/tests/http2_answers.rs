//! What guests see of answers in HTTP/2: coded bodies and events as in HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbox::abi;
use sandbox::abi::CompletionKind::{Cancelled, End, Event, Head};

use super::codings::{Bodies, ask, gzip};
use super::http2::{GRACE, rig};
use super::http2_server::{Act, Server};
use super::rig::{GET, HEAD, Rig, endpoint, rate, setup};
use super::streams::{Log, Told, kinds, listen};
use crate::engine::Source;
use crate::io::coding::tests::{events, texts};

/// The fields of a stream of events.
fn stream() -> Vec<(&'static str, String)> {
    vec![("content-type", "text/event-stream".to_owned())]
}

/// Listens to events; the first opens the server's gate.
fn listen_and_open(server: &Arc<Server>, log: &Log) -> Arc<dyn Source> {
    let server = Arc::downgrade(server);
    listen(abi::Interest::EVENTS, log, move |told, _| {
        if told.of.kind == Event
            && let Some(server) = server.upgrade()
        {
            server.open_gate();
        }
    })
}

/// Runs one request, and returns the counts and what was told of it.
fn one(server: &Server, guest: Arc<dyn Source>, log: &Log) -> (protocol::v1::ArrivalCounts, Vec<Told>) {
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| {
        spec.targets[0].http2 = Some(10);
        spec.scenarios[0].timeout = Duration::from_secs(2);
    });
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.scheduled, 1);
    (counts, log.lock().unwrap().clone())
}

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

#[test]
fn each_coding_is_decoded_for_who_looks() {
    let (text, coded) = texts();
    let setup = abi::Setup { body_limit: 4096, ..setup() };
    for (name, packed) in coded {
        let server = {
            let packed = packed.clone();
            Server::start(move |_, _| Act::Reply(vec![("content-encoding", name.to_owned())], packed.clone()))
        };
        let bodies = Bodies::default();
        let mut rig = rig(endpoint(server.addr), 10, ask(setup.clone(), GET, abi::Interest::BODY, &bodies));
        let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (1, 1), "{name}");
        assert_eq!(*bodies.lock().unwrap(), [(End, abi::Failure::None, text.clone())], "{name}");
        let head = format!("HTTP/2 200\r\ncontent-encoding: {name}\r\n\r\n");
        assert_eq!(rig.samples().series[0].bytes_received, (head.len() + packed.len()) as u64, "{name}");
    }
}

#[test]
fn an_answer_to_head_has_nothing_to_decode() {
    let server = Server::start(|_, _| {
        let fields = vec![("content-encoding", "gzip".to_owned()), ("content-length", "20".to_owned())];
        Act::Reply(fields, vec![])
    });
    let rig = rig(endpoint(server.addr), 10, ask(setup(), HEAD, abi::Interest::BODY, &Bodies::default()));
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (1, 1));
}

#[test]
fn events_are_told_as_they_come_in_each_coding_and_in_none() {
    let (data, coded) = events();
    let plain = data.map(|data| format!("data: {data}\n\n").into_bytes());
    for (name, [first, then]) in coded.into_iter().chain([("", plain)]) {
        let mut fields = stream();
        if !name.is_empty() {
            fields.push(("content-encoding", name.to_owned()));
        }
        let server = Arc::new(Server::start(move |_, _| {
            Act::GateBetween(fields.clone(), first.clone(), then.clone())
        }));
        let log = Log::default();
        // Until the guest has heard of the first event, the server does not send the second.
        let guest = listen_and_open(&server, &log);
        let (_, told) = one(&server, guest, &log);
        assert_eq!(kinds(&told), [Event, Event, End], "{name}");
        assert_eq!(told[..2].iter().map(|told| told.body.as_str()).collect::<Vec<_>>(), data, "{name}");
        let times: Vec<_> = told[..2].iter().map(|told| told.of.last_byte_us).collect();
        assert!(times.is_sorted() && times[0] > 0, "{name}: {times:?}");
        assert!(told.iter().all(|told| told.of.first_event_us == times[0]), "{name}: {told:?}");
        // A coding that was flushed and not ended is cut off: what it brought was told all the same.
        let cut = matches!(name, "gzip" | "deflate" | "zstd");
        assert_eq!(told[2].of.failure == abi::Failure::Malformed, cut, "{name}");
    }
}

#[test]
fn streams_that_fail_have_told_what_came_before() {
    let two = b"data: a\n\ndata: b\n\n";
    let big = [&two[..], b"data: ", &[b'x'; 100_000], b"\n\n"].concat();
    type Case = (abi::Failure, Box<dyn Fn() -> Act + Send + Sync>);
    let cases: [Case; 3] = [
        (abi::Failure::Timeout, Box::new(|| Act::Unended(stream(), two.to_vec()))),
        (abi::Failure::Reset, Box::new(|| Act::Broken(stream(), two.to_vec()))),
        // The rig takes events of 64 KiB.
        (abi::Failure::TooLarge, Box::new(move || Act::Reply(stream(), big.clone()))),
    ];
    for (failure, act) in cases {
        let server = Arc::new(Server::start(move |_, _| act()));
        let log = Log::default();
        let (counts, told) = one(&server, listen_and_open(&server, &log), &log);
        assert_eq!((counts.failed, kinds(&told)), (1, vec![Event, Event, End]), "{failure:?}");
        assert_eq!((told[2].of.failure, told[2].of.events), (failure, 2));
    }
}

#[test]
fn a_summary_comes_with_the_end_alone() {
    let server = Server::start(|_, _| Act::Reply(stream(), b"data: a\n\n: ping\n\ndata: b\n\n".to_vec()));
    let log = Log::default();
    let (_, told) = one(&server, listen(abi::Interest::STREAM_SUMMARY, &log, |_, _| {}), &log);
    assert_eq!(kinds(&told), [End]);
    assert_eq!((told[0].of.status, told[0].of.events, told[0].body.as_str()), (200, 2, ""));
    assert!(told[0].of.first_event_us > 0 && told[0].of.first_event_us <= told[0].of.last_byte_us);
}

/// A guest that listens to streams until it has heard so many events of each, and the most that it was told at once.
fn listen_until(enough: u32) -> (Arc<dyn Source>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (most, heard) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let guest = {
        let (most, heard) = (Arc::clone(&most), Arc::clone(&heard));
        super::rig::script(setup(), move || {
            let (most, heard) = (Arc::clone(&most), Arc::clone(&heard));
            move |starts: &[abi::Start], done: &[abi::Completion], _: &[u8]| {
                let mut output = super::rig::empty();
                most.fetch_max(done.len(), Ordering::SeqCst);
                for told in done {
                    match told.kind {
                        Event if told.events == enough => {
                            let (user, seq) = (told.user, told.seq);
                            output.commands.push(abi::Command::Cancel(abi::RequestRef { user, seq }));
                        }
                        Event => {}
                        End | Cancelled => super::rig::finish(&mut output, told.user),
                        other => panic!("{other:?}"),
                    }
                }
                heard.fetch_add(done.len(), Ordering::SeqCst);
                for start in starts {
                    super::rig::request(&mut output, start.user, 1).interest = abi::Interest::EVENTS;
                }
                Ok(output)
            }
        })
    };
    (guest, most, heard)
}

#[test]
fn streams_that_never_end_are_read_no_faster_than_the_guest_hears_of_them() {
    let server = Server::start(|_, _| Act::Endless(stream(), b"data: x\n\n"));
    let (guest, most, heard) = listen_until(60_000);
    let rig = rig(endpoint(server.addr), 8, guest);
    let mut spec = rig.phase(rate(40.0), Duration::from_millis(100));
    (spec.connections, spec.total_connections) = (1, 1);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.cancelled), (4, 4));
    assert!(heard.load(Ordering::SeqCst) >= 4 * 60_000);
    // A crowd, and of one stream what it may bring at once, with one frame more.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 4096 + (64 + 16) * 1024 / 9 + 2, "{most} at once");
}

#[test]
fn streams_that_unpack_beyond_all_measure_are_bounded_whatever_their_frames() {
    // Frames of a hundred bytes, each of which unpacks to a hundred kilobytes: no one of them is a bomb.
    let packed = gzip(&b"data\n\n".repeat(1_000_000));
    let server = Server::start(move |_, _| {
        let fields = [stream(), vec![("content-encoding", "gzip".to_owned())]].concat();
        Act::Frames(fields, packed.chunks(100).map(<[u8]>::to_vec).collect())
    });
    let (guest, most, heard) = listen_until(u32::MAX);
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| {
        spec.targets[0].http2 = Some(4);
        spec.max_body = 64 << 20;
    });
    let mut spec = rig.phase(rate(40.0), Duration::from_millis(100));
    (spec.connections, spec.total_connections) = (1, 1);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (4, 4), "{counts:?}");
    assert_eq!(heard.load(Ordering::SeqCst), 4 * 1_000_001);
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 4096 + 2 * (64 + 128) * 1024 / 6, "{most} at once");
}
