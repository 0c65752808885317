//! Counts close, whatever the target does (requirement R9.3).

use std::sync::atomic::Ordering;
use std::time::Duration;

use sandbox::abi;

use super::rig::{Rig, endpoint, fire, rate, wait_for};
use super::server::{Act, Server, ok};

const GRACE: Duration = Duration::from_secs(20);

#[test]
fn every_arrival_is_answered_and_seen_by_the_server() {
    let server = Server::start(|_, _| Act::Reply(ok("hello")));
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(rate(400.0), Duration::from_millis(500)), GRACE);
    assert_eq!((counts.scheduled, counts.started, counts.answered), (200, 200, 200));
    assert_eq!((server.requests(), server.connections()), (200, 4));
    let batch = rig.samples();
    let series = &batch.series[0];
    assert_eq!((series.answered, series.requests, series.good, series.bad), (200, 200, 200, 0));
    assert_eq!(series.statuses.len(), 1);
    assert_eq!((series.statuses[0].status, series.statuses[0].count), (200, 200));
    assert_eq!(batch.threads[0].connects, 4);
    assert!(batch.last);
    let mut paths: Vec<u64> = server
        .seen
        .heads
        .lock()
        .unwrap()
        .iter()
        .map(|head| head.split([' ', '/']).nth(3).unwrap().parse().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_slow_target_makes_arrivals_wait_and_drop_exactly() {
    // Two connections and two users, no answer until the gate opens: 2 are in progress, 5 wait, the rest drops.
    let server = Server::start(|_, _| Act::Gate(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(rate(200.0), Duration::from_millis(200));
    (spec.connections, spec.total_connections, spec.users, spec.total_users, spec.max_waiting) =
        (2, 2, 2, 2, 5);
    rig.begin(&spec);
    super::rig::until(spec.t0 + spec.duration);
    wait_for("two requests", || server.requests() == 2);
    server.gate.open();
    wait_for("those that waited", || server.requests() == 7);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!(
        (counts.scheduled, counts.started, counts.answered, counts.dropped, counts.waiting),
        (40, 7, 7, 33, 0)
    );
}

#[test]
fn what_waits_at_the_end_stays_waiting_and_what_hangs_is_cancelled() {
    let server = Server::start(|_, _| Act::Silence);
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(100.0), Duration::from_millis(200));
    let counts = rig.run(&spec, Duration::from_millis(20));
    assert_eq!((counts.scheduled, counts.started, counts.cancelled, counts.waiting), (20, 4, 4, 16));
    let batch = rig.samples();
    assert_eq!(batch.series[0].cancelled, 4);
    assert_eq!(batch.arrivals, Some(counts), "the samples end with the same counts");
}

#[test]
fn a_phase_that_drains_ends_when_all_that_waited_has_been_answered() {
    let server = Server::start(|_, _| Act::Gate(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(100));
    (spec.connections, spec.total_connections, spec.users, spec.total_users) = (1, 1, 1, 1);
    rig.begin(&spec);
    super::rig::until(spec.t0 + spec.duration);
    wait_for("a request", || server.requests() == 1);
    server.gate.open();
    let (counts, _) = rig.end_as(1, GRACE, true);
    assert_eq!((counts.scheduled, counts.answered, counts.waiting), (10, 10, 0), "{counts:?}");

    let silent = Server::start(|_, _| Act::Silence);
    let rig = Rig::new(vec![endpoint(silent.addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(100.0), Duration::from_millis(100));
    rig.begin(&spec);
    super::rig::until(spec.t0 + spec.duration);
    let (counts, _) = rig.end_as(1, Duration::from_millis(20), true);
    assert_eq!((counts.scheduled, counts.cancelled, counts.waiting), (10, 4, 6), "the grace is its bound");
}

#[test]
fn what_waits_too_long_is_dropped() {
    let server = Server::start(|_, _| Act::Silence);
    let rig = Rig::with(
        vec![endpoint(server.addr)],
        vec![fire(|request| request.timeout_us = 60_000_000)],
        |spec| {
            spec.scenarios[0].timeout = Duration::from_millis(100);
        },
    );
    let spec = rig.phase(rate(100.0), Duration::from_millis(200));
    rig.begin(&spec);
    super::rig::until(spec.t0 + Duration::from_millis(500));
    let (counts, _) = rig.end(1, Duration::ZERO);
    assert_eq!((counts.scheduled, counts.dropped, counts.started, counts.cancelled), (20, 16, 4, 4));
}

#[test]
fn resets_garbage_and_floods_are_failures_of_their_class() {
    type Case = (&'static str, fn() -> Act);
    let cases: Vec<Case> = vec![
        ("reset", || Act::Reset),
        ("reset", || Act::ReplyClose(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec())),
        ("malformed", || Act::Reply(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())),
        ("too-large", || Act::Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec())),
        ("too-large", || Act::Endless(b"HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 10_000])),
        ("too-large", || {
            Act::Endless(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"4\r\nwiki\r\n".repeat(1_000),
            )
        }),
        ("too-large", || Act::Endless(b"HTTP/1.1 200 OK\r\nX: ", vec![b'x'; 10_000])),
        ("too-large", || Act::Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100))),
    ];
    for (class, act) in cases {
        let server = Server::start(move |_, _| act());
        let mut rig =
            Rig::new(vec![endpoint(server.addr)], vec![fire(|request| request.timeout_us = 2_000_000)]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        let batch = rig.samples();
        assert_eq!((counts.scheduled, counts.started, counts.failed), (5, 5, 5), "{class}");
        let errors: Vec<_> = batch.series[0].errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
        assert_eq!(errors, [(class, 5)]);
    }
}

#[test]
fn answers_that_never_come_or_never_end_time_out() {
    let half = || Act::Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec());
    for act in [|| Act::Silence, half] {
        let server = Server::start(move |_, _| act());
        let mut rig =
            Rig::new(vec![endpoint(server.addr)], vec![fire(|request| request.timeout_us = 100_000)]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.started, counts.failed), (5, 5, 5));
        assert_eq!(rig.samples().series[0].errors[0].class, "timeout");
        // The fifth found all connections in use, or closed and made again.
        assert!(server.connections() >= 5);
    }
}

#[test]
fn a_target_that_is_down_fails_as_connect_and_is_found_again() {
    let mut server = Server::start(|_, _| Act::Reply(ok("")));
    let addr = server.addr;
    server.stop();
    let mut rig = Rig::new(vec![endpoint(addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(100.0), Duration::from_millis(800));
    rig.begin(&spec);
    super::rig::until(spec.t0 + Duration::from_millis(200));
    let server = Server::at(addr, |_, _| Act::Reply(ok("")));
    super::rig::until(spec.t0 + spec.duration);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!(counts.scheduled, 80);
    assert_eq!(counts.dropped + counts.waiting, 0);
    assert!(counts.failed >= 10 && counts.answered >= 40, "{counts:?}");
    assert_eq!(counts.answered, server.requests() as u64);
    let batch = rig.samples();
    assert_eq!(batch.series[0].errors.len(), 1);
    assert_eq!(batch.series[0].errors[0].class, "connect");
    assert_eq!(server.seen.most_open.load(Ordering::SeqCst), 4);
}

#[test]
fn a_target_that_dies_in_the_middle() {
    let mut server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(200.0), Duration::from_millis(400));
    rig.begin(&spec);
    super::rig::until(spec.t0 + Duration::from_millis(200));
    server.stop();
    super::rig::until(spec.t0 + spec.duration);
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!(counts.scheduled, 80);
    assert!(counts.answered >= 30 && counts.failed >= 30, "{counts:?}");
}

#[test]
fn all_kinds_of_answers_are_read() {
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.0 301 Moved\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in answers {
        let closes = answer.starts_with(b"HTTP/1.0") || answer.ends_with(b"end");
        let server = Server::start(move |_, _| {
            if closes { Act::ReplyClose(answer.to_vec()) } else { Act::Reply(answer.to_vec()) }
        });
        let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
        let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.answered), (10, 10), "{}", String::from_utf8_lossy(answer));
        assert_eq!(server.requests(), 10);
    }
}

#[test]
fn head_requests_have_no_body() {
    let server = Server::start(|_, _| Act::Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec()));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|request| request.method = super::rig::HEAD)]);
    let counts = rig.run(&rig.phase(rate(100.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.answered, server.connections()), (10, 4));
}

#[test]
fn a_delay_is_the_targets_time_and_no_queue() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let mut rig = Rig::new(
        vec![endpoint(server.addr)],
        vec![fire(|request: &mut abi::Request| request.delay_us = 30_000)],
    );
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (5, 5));
    let batch = rig.samples();
    let queue = series::Hist::decode(batch.series[0].queue.as_ref().unwrap()).unwrap();
    assert!(queue.max().unwrap() < 1_000_000, "no queue beside scheduling noise");
}
