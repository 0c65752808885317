//! Open and closed models, pauses, stalls, and the three times of an operation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plan::model::LoadModel;
use series::Hist;

use super::rig::{Rig, closed, endpoint, fire, rate, stalling, until, wait_for};
use super::server::{Act, Server, ok};
use crate::spec::{Change, EngineCommand};

const GRACE: Duration = Duration::from_secs(20);

fn hist(message: Option<&protocol::v1::Histogram>) -> Hist {
    Hist::decode(message.expect("a histogram")).unwrap()
}

#[test]
fn a_stall_shows_in_latency_from_the_intended_time_and_not_in_service() {
    // One request of 200 takes 600 ms on one of two connections; the other carries on. With both stalled the
    // queue would fill: here all connections stall.
    let stalled = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let server = {
        let stalled = Arc::clone(&stalled);
        Server::start(move |_, _| {
            // From the 50th request on the target stands still until 600 ms have passed since.
            let n = stalled.fetch_add(1, Ordering::SeqCst);
            if n == 50 || n == 51 {
                until(Instant::now() + Duration::from_millis(600));
            }
            Act::Reply(ok(""))
        })
    };
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(rate(200.0), Duration::from_secs(1));
    (spec.connections, spec.users) = (2, 2);
    rig.begin(&spec);
    wait_for("all requests", || server.requests() == 200);
    let (counts, _) = rig.end(spec.phase, GRACE);
    assert!(begun.elapsed() > Duration::from_millis(600));
    assert_eq!((counts.scheduled, counts.answered, counts.dropped), (200, 200, 0));
    let batch = rig.samples();
    let series = &batch.series[0];
    let (latency, service, queue) =
        (hist(series.latency.as_ref()), hist(series.service.as_ref()), hist(series.queue.as_ref()));
    // About 118 arrivals came due during the stall and waited; two were in the server.
    let slow = |hist: &Hist| hist.len() - hist.cumulative(&[100_000])[0];
    assert!((80..=150).contains(&slow(&latency)), "{} of 200 felt the stall", slow(&latency));
    assert_eq!(slow(&service), 2);
    assert!(slow(&queue) >= slow(&latency) - 30, "the wait is queue time: {}", slow(&queue));
    assert!(service.max().unwrap() >= 600_000 && latency.max().unwrap() >= 590_000);
}

#[test]
fn what_comes_due_while_the_thread_is_away_is_its_send_lag_and_no_queue() {
    // A call into the guest takes 400 ms, in which 80 arrivals come due. There are connections for 4 of them.
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let make = || {
        let mut calls = 0;
        move |starts: &[sandbox::abi::Start], _: &[sandbox::abi::Completion], _: &[u8]| {
            calls += usize::from(!starts.is_empty());
            if calls == 10 {
                until(Instant::now() + Duration::from_millis(400));
            }
            let mut output = super::rig::empty();
            for start in starts {
                super::rig::request(&mut output, start.user, u32::try_from(start.arrival & 0xffff).unwrap());
                super::rig::finish(&mut output, start.user);
            }
            Ok(output)
        }
    };
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![super::rig::script(super::rig::setup(), make)]);
    let counts = rig.run(&rig.phase(rate(200.0), Duration::from_secs(1)), GRACE);
    assert_eq!((counts.scheduled, counts.answered, counts.dropped), (200, 200, 0));
    let batch = rig.samples();
    let lag = hist(batch.threads[0].send_lag.as_ref());
    let late = lag.len() - lag.cumulative(&[5_000_000])[0];
    // 80 came due meanwhile, and about as many while these were caught up with.
    assert!(late >= 140, "{late} of 200 were sent late");
    let queue = hist(batch.series[0].queue.as_ref());
    assert!(queue.max().unwrap() < 200_000, "the queue's longest: {:?} us", queue.max());
}

/// 1 000 requests a second with room for each at once.
fn thousand(rig: &Rig, duration: Duration) -> crate::spec::PhaseSpec {
    let mut spec = rig.phase(rate(1_000.0), duration);
    (spec.connections, spec.total_connections) = (64, 64);
    (spec.users, spec.total_users, spec.capacity) = (512, 512, 512);
    spec
}

#[test]
fn what_came_due_while_the_thread_was_away_is_caught_up_with_and_makes_no_burst() {
    /// In 50 ms at twice the rate, with what goes out at once; and as much again for a server that is itself held up.
    const MOST: usize = 2 * (2 * 50 + 20);
    let mut seen = Vec::new();
    // Stamps are of the server's threads, which may have to wait for a core: the best of three runs counts.
    for _ in 0..3 {
        let stamps = Arc::new(Mutex::new(Vec::new()));
        let server = {
            let stamps = Arc::clone(&stamps);
            Server::start(move |_, _| {
                stamps.lock().unwrap().push(Instant::now());
                Act::Reply(ok(""))
            })
        };
        let heard = Arc::default();
        let guest = stalling(200, Duration::from_millis(400), &heard);
        let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
        rig.begin(&thousand(&rig, Duration::from_millis(1_200)));
        wait_for("all requests", || server.requests() == 1_200);
        let (counts, _) = rig.end(1, GRACE);
        assert_eq!((counts.scheduled, counts.answered, counts.dropped), (1_200, 1_200, 0));
        assert_eq!(*heard.lock().unwrap(), (0..1_200).collect::<Vec<_>>(), "none is lost, and all in order");
        let batch = rig.samples();
        let lag = hist(batch.threads[0].send_lag.as_ref());
        assert!(lag.max().unwrap() >= 390_000_000, "the wait is send lag: {:?} ns", lag.max());
        let mut stamps = stamps.lock().unwrap().clone();
        stamps.sort_unstable();
        let within = |(n, from): (usize, &Instant)| {
            stamps[n..].partition_point(|at| *at < *from + Duration::from_millis(50))
        };
        let most = stamps.iter().enumerate().map(within).max().unwrap();
        seen.push(most);
        if most <= MOST {
            return;
        }
    }
    panic!("requests within 50 ms in three runs: {seen:?}; 400 were overdue");
}

#[test]
fn a_phase_that_ends_while_it_catches_up_loses_nothing() {
    for drains in [false, true] {
        let server = Server::start(|_, _| Act::Reply(ok("")));
        let heard = Arc::default();
        let guest = stalling(100, Duration::from_millis(600), &heard);
        let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
        let spec = thousand(&rig, Duration::from_millis(400));
        rig.begin(&spec);
        // The thread hears of the end when it is back, with 300 arrivals overdue: more than there are connections.
        until(spec.t0 + Duration::from_millis(500));
        let (counts, _) = rig.end_as(1, GRACE, drains);
        assert_eq!((counts.scheduled, counts.answered + counts.waiting), (400, 400), "{counts:?}");
        assert!(counts.waiting == 0 || !drains, "{counts:?}");
        assert_eq!(*heard.lock().unwrap(), (0..counts.answered).collect::<Vec<_>>());
    }
}

#[test]
fn a_pause_that_begins_while_the_thread_is_away_loses_nothing_that_was_due_before_it() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let heard = Arc::default();
    let guest = stalling(100, Duration::from_millis(400), &heard);
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let spec = thousand(&rig, Duration::from_secs(60));
    rig.begin(&spec);
    for (at_offset_ns, change) in [(300_000_000, Change::Pause), (900_000_000, Change::Resume)] {
        assert!(rig.handle.send(EngineCommand::Change { phase: 1, at_offset_ns, change }));
    }
    assert!(rig.handle.send(EngineCommand::Change {
        phase: 1,
        at_offset_ns: 1_000_000_000,
        change: Change::Rate(0.0)
    }));
    wait_for("300 requests from before the pause and 100 from after it", || server.requests() == 400);
    until(spec.t0 + Duration::from_millis(1_200));
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (400, 400));
    assert_eq!(*heard.lock().unwrap(), (0..400).collect::<Vec<_>>());
}

#[test]
fn closed_users_take_turn_after_turn() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let counts = rig.run(&rig.phase(closed(3), Duration::from_millis(300)), GRACE);
    assert_eq!((counts.dropped, counts.waiting, counts.failed, counts.cancelled), (0, 0, 0, 0));
    assert!(counts.answered > 30, "{counts:?}");
    assert_eq!(counts.answered, server.requests() as u64);
}

#[test]
fn closed_users_think() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let think = Duration::from_millis(100);
    let model = LoadModel::Closed { start_users: 4, users: 4, ramp: Duration::ZERO, think };
    let counts = rig.run(&rig.phase(model, Duration::from_millis(350)), GRACE);
    assert!((4..=16).contains(&counts.answered), "four users, one turn in 100 ms each: {counts:?}");
}

#[test]
fn more_closed_users_than_connections_wait_for_them() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(closed(8), Duration::from_millis(300));
    (spec.users, spec.total_users, spec.connections, spec.max_waiting) = (8, 8, 1, 0);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.dropped, counts.failed, server.connections()), (0, 0, 1));
    assert!(counts.answered > 8 && counts.waiting <= 8, "{counts:?}");
}

#[test]
fn pause_resume_rate_and_ramp_down() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let spec = rig.phase(rate(200.0), Duration::from_secs(60));
    let change = |at: u64, change: Change| {
        assert!(rig.handle.send(EngineCommand::Change { phase: 1, at_offset_ns: at * 1_000_000, change }));
    };
    rig.begin(&spec);
    change(200, Change::Pause);
    change(400, Change::Resume);
    change(600, Change::Rate(100.0));
    change(800, Change::RampDown(200_000_000));
    assert!(rig.handle.send(EngineCommand::Change { phase: 9, at_offset_ns: 0, change: Change::Pause }));
    until(spec.t0 + Duration::from_millis(1_100));
    let (counts, _) = rig.end(1, GRACE);
    // 40 before the pause, 40 after it, 20 at the lower rate, 10 on the ramp.
    assert!((108..=112).contains(&counts.scheduled), "{counts:?}");
    assert_eq!((counts.scheduled, server.requests() as u64), (counts.answered, counts.answered));
}

#[test]
fn phases_follow_each_other_on_the_same_connections() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut first = rig.phase(rate(100.0), Duration::from_millis(100));
    first.connections = 2;
    assert_eq!(rig.run(&first, GRACE).answered, 10);
    assert_eq!(server.connections(), 2);
    let mut second = rig.phase(rate(100.0), Duration::from_millis(100));
    second.phase = 2;
    assert_eq!(rig.run(&second, GRACE).answered, 10);
    assert_eq!(server.connections(), 4, "two were kept, two were added");
    let mut third = rig.phase(rate(100.0), Duration::from_millis(100));
    (third.phase, third.connections) = (3, 1);
    assert_eq!(rig.run(&third, GRACE).answered, 10);
    wait_for("the surplus to be closed", || server.seen.open.load(Ordering::SeqCst) == 1);
    assert_eq!(server.connections(), 4);
}

#[test]
fn idle_phases_send_nothing() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {})]);
    let mut spec = rig.phase(LoadModel::None, Duration::from_millis(50));
    (spec.connections, spec.users) = (0, 0);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, server.connections()), (0, 0));
}
