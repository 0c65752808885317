//! Server-sent events: what the guest hears of them and when, and that none of it is without a bound.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::abi;
use sandbox::abi::CompletionKind::{Cancelled, End, Event, Head};

use super::rig::{Rig, empty, endpoint, finish, rate, request, script, setup};
use super::server::{Act, Server, ok};
use crate::engine::Source;

const GRACE: Duration = Duration::from_secs(20);

/// A completion with its bytes.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) of: abi::Completion,
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) type Log = Arc<Mutex<Vec<Told>>>;

/// Sends one request a turn with this interest, keeps what it is told, and calls `then` with it.
pub(super) fn listen(
    interest: abi::Interest,
    log: &Log,
    then: impl Fn(&Told, &mut abi::Output) + Clone + Send + Sync + 'static,
) -> Arc<dyn Source> {
    let log = Arc::clone(log);
    script(setup(), move || {
        let (log, then) = (Arc::clone(&log), then.clone());
        move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
            let mut output = empty();
            for of in done {
                let text = |at| String::from_utf8_lossy(abi::slice(arena, at).unwrap()).into_owned();
                let told = Told { of: *of, head: text(of.head), body: text(of.body) };
                then(&told, &mut output);
                if matches!(of.kind, End | Cancelled) {
                    finish(&mut output, of.user);
                }
                log.lock().unwrap().push(told);
            }
            for start in starts {
                request(&mut output, start.user, 1).interest = interest;
            }
            Ok(output)
        }
    })
}

/// The head of a stream without a length.
fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n".to_vec()
}

fn stream(events: &str) -> Vec<u8> {
    [&stream_head(), events.as_bytes()].concat()
}

/// Runs one request, and returns what was told of it.
fn one(server: &Server, guest: Arc<dyn Source>, log: &Log) -> Vec<Told> {
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.scheduled, 1);
    log.lock().unwrap().clone()
}

pub(super) fn kinds(told: &[Told]) -> Vec<abi::CompletionKind> {
    told.iter().map(|told| told.of.kind).collect()
}

#[test]
fn events_are_told_as_they_come() {
    // Chunks and events end in different places, and the last event has no end.
    let first = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
                 11\r\ndata: one\n\ndata: \r\n";
    let then = "4\r\ntwo\n\r\n31\r\n\nevent: add\nid: 7\nretry: 9\ndata: 3\ndata: 3\n\ndata:\r\n0\r\n\r\n";
    let server = Server::start(|_, _| Act::GateBetween(first.into(), then.into()));
    let log = Log::default();
    let gate = Arc::clone(&server.gate);
    // Until the guest has heard of the first event, the server does not send the second.
    let guest =
        listen(abi::Interest::END | abi::Interest::HEAD | abi::Interest::EVENTS, &log, move |told, _| {
            if told.of.kind == Event {
                gate.open();
            }
        });
    let told = one(&server, guest, &log);
    assert_eq!(kinds(&told), [Head, Event, Event, Event, End]);
    let said: Vec<_> = told.iter().map(|told| (told.head.as_str(), told.body.as_str())).collect();
    assert!(said[0].0.starts_with("HTTP/1.1 200 OK\r\n") && said[0].0.ends_with("\r\n\r\n"));
    assert_eq!(said[1..4], [("", "one"), ("", "two"), ("event: add\r\nid: 7\r\nretry: 9\r\n", "3\n3")]);
    assert_eq!(told.iter().map(|told| told.of.events).collect::<Vec<_>>(), [0, 1, 2, 3, 3]);
    assert!(told.iter().all(|told| told.of.status == 200 && told.of.failure == abi::Failure::None));
    let times: Vec<_> = told[1..].iter().map(|told| told.of.last_byte_us).collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
    assert!(told[1..].iter().all(|told| told.of.first_event_us == times[0]), "{told:?}");
    assert!(told.iter().all(|told| told.of.first_byte_us <= times[0]));
    assert_eq!((told[0].of.first_event_us, told[0].of.last_byte_us), (0, 0));
}

#[test]
fn a_verdict_on_an_event_holds_to_the_end() {
    let server =
        Server::start(|_, _| Act::GateBetween(stream("data: wrong\n\n"), b"data: right\n\n".to_vec()));
    let log = Log::default();
    let gate = Arc::clone(&server.gate);
    let guest = listen(abi::Interest::EVENTS, &log, move |told, output| {
        if told.body == "wrong" {
            output.verdicts.push(abi::Verdict {
                user: told.of.user,
                seq: told.of.seq,
                check: 0,
                pass: false,
            });
            gate.open();
        }
    });
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!(counts.answered, 1);
    let series = &rig.samples().series[0];
    assert_eq!((series.good, series.bad, series.checks[0].failed), (0, 1, 1));
}

#[test]
fn a_summary_comes_with_the_end_alone() {
    let server = Server::start(|_, _| Act::ReplyClose(stream("data: a\n\n: ping\n\ndata: b\n\n")));
    let log = Log::default();
    let told = one(&server, listen(abi::Interest::STREAM_SUMMARY, &log, |_, _| {}), &log);
    assert_eq!(kinds(&told), [End]);
    let end = &told[0].of;
    assert_eq!((end.status, end.events), (200, 2));
    assert!(end.first_event_us > 0 && end.first_event_us <= end.last_byte_us, "{end:?}");
    assert!(told[0].body.is_empty(), "nobody asked for the body");
}

#[test]
fn an_answer_of_another_type_is_no_stream() {
    let server = Server::start(|_, _| Act::Reply(ok("data: a\n\n")));
    let log = Log::default();
    let interest = abi::Interest::EVENTS | abi::Interest::HEAD | abi::Interest::BODY;
    let told = one(&server, listen(interest, &log, |_, _| {}), &log);
    assert_eq!(kinds(&told), [End]);
    assert_eq!((told[0].of.events, told[0].of.first_event_us), (0, 0));
    assert_eq!(told[0].body, "data: a\n\n");
}

#[test]
fn an_event_over_the_limit_ends_the_answer() {
    let big = "x".repeat(100_000);
    let events = format!("data: a\n\ndata: {big}\n\ndata: b\n\n");
    // With a length, so that the end of the answer and of the event come with one read.
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n",
        events.len()
    );
    let server = Server::start(move |_, _| Act::Reply([head.as_bytes(), events.as_bytes()].concat()));
    let log = Log::default();
    let told = one(&server, listen(abi::Interest::EVENTS, &log, |_, _| {}), &log);
    assert_eq!(kinds(&told), [Event, End]);
    assert_eq!((told[1].of.failure, told[1].of.events), (abi::Failure::TooLarge, 1));
}

#[test]
fn a_stream_that_stops_has_the_deadline_of_an_answer() {
    let server = Server::start(|_, _| Act::Reply(stream("data: a\n\n")));
    let log = Log::default();
    let guest = listen(abi::Interest::EVENTS, &log, |_, _| {});
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| {
        spec.scenarios[0].timeout = Duration::from_millis(150);
    });
    let counts = rig.run(&rig.phase(rate(10.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.failed), (1, 1));
    let told = log.lock().unwrap();
    assert_eq!(kinds(&told), [Event, End]);
    assert_eq!((told[1].of.failure, told[1].of.events), (abi::Failure::Timeout, 1));
}

#[test]
fn streams_that_never_end_are_read_no_faster_than_the_guest_hears_of_them() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    const ENOUGH: u32 = 60_000;
    let server = Server::start(|_, _| Act::Endless(HEAD, b"data: x\n\n".repeat(20_000)));
    let most = Arc::new(Mutex::new(0));
    let seen = Arc::new(Mutex::new([0_u32; 8]));
    let guest = {
        let (most, seen) = (Arc::clone(&most), Arc::clone(&seen));
        script(setup(), move || {
            let (most, seen) = (Arc::clone(&most), Arc::clone(&seen));
            move |starts: &[abi::Start], done: &[abi::Completion], _: &[u8]| {
                let mut output = empty();
                let mut most = most.lock().unwrap();
                *most = done.len().max(*most);
                for told in done {
                    let last = &mut seen.lock().unwrap()[told.user as usize];
                    match told.kind {
                        Event => {
                            *last += 1;
                            assert_eq!(told.events, *last, "an event is missing");
                            if *last == ENOUGH {
                                let (user, seq) = (told.user, told.seq);
                                output.commands.push(abi::Command::Cancel(abi::RequestRef { user, seq }));
                            }
                        }
                        Cancelled => finish(&mut output, told.user),
                        other => panic!("{other:?}"),
                    }
                }
                for start in starts {
                    request(&mut output, start.user, 1).interest = abi::Interest::EVENTS;
                }
                Ok(output)
            }
        })
    };
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(40.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.cancelled), (4, 4));
    assert!(seen.lock().unwrap()[..4].iter().all(|seen| *seen >= ENOUGH));
    // A crowd, and of one stream what is short of being handed over with one read more.
    let most = *most.lock().unwrap();
    assert!(most <= 4096 + 2 * 64 * 1024 / 9 + 2, "{most} at once");
}
