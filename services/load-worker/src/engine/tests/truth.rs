//! What is reported is what a server saw: counts and bytes exactly, and no percentile below its log's.
//!
//! By how much percentiles may be above the log is asserted where a test has the machine for itself: in `truth` of the
//! end-to-end tests, and by one here that is asked for by hand:
//! `cargo test -p load-worker --lib truth -- --ignored --nocapture`.

use std::time::Duration;

use protocol::v1;
use sandbox::abi;
use series::{Hist, Merged};
use test_servers::logged::{Entry, Fate, Logged};

use super::rig::{Rig, empty, endpoint, finish, rate, request, script, setup, wait_for};

const GRACE: Duration = Duration::from_secs(20);

/// A guest that asks for `/step/phase/number` and changes between two steps.
fn guest() -> std::sync::Arc<dyn crate::engine::Source> {
    let setup = abi::Setup { steps: vec!["one".into(), "two".into()], ..setup() };
    script(setup, || {
        |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                let (phase, number) = (start.arrival >> 40, start.arrival & ((1 << 40) - 1));
                let step = u32::try_from(number % 2).unwrap();
                let path = format!("/{step}/{phase}/{number}");
                let off = u32::try_from(output.arena.len()).unwrap();
                output.arena.extend_from_slice(path.as_bytes());
                let target = abi::Slice { off, len: u32::try_from(path.len()).unwrap() };
                let asked = request(&mut output, start.user, u32::try_from(number).unwrap());
                (asked.step, asked.target) = (step, target);
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    })
}

/// A number of an entry's path: step, phase or number.
fn of(entry: &Entry, part: usize) -> u64 {
    entry.path.split('/').nth(part + 1).unwrap().parse().unwrap()
}

/// A rig that asks `server` with room for every request at once.
fn rig(server: &Logged) -> Rig {
    Rig::with_steps(2, vec![endpoint(server.addr())], vec![guest()], |_| {})
}

fn phase(rig: &Rig, number: u32, per_second: f64, duration: Duration) -> crate::spec::PhaseSpec {
    let mut spec = rig.phase(rate(per_second), duration);
    (spec.phase, spec.connections, spec.total_connections) = (number, 400, 400);
    (spec.users, spec.total_users, spec.capacity) = (400, 400, 400);
    spec
}

/// The server's log once it has so many entries: an answer is written before it is logged.
fn log_of(server: &Logged, entries: u64) -> Vec<Entry> {
    wait_for("the log", || server.entries().len() as u64 >= entries);
    server.entries()
}

/// Counts and bytes of a phase in which nothing was cut short, against the server's log of it.
fn agrees(batch: &v1::SampleBatch, log: &[Entry]) {
    let counts = batch.arrivals.unwrap();
    assert_eq!((counts.dropped, counts.waiting, counts.cancelled), (0, 0, 0), "{counts:?}");
    assert_eq!((counts.scheduled, batch.series.len()), (log.len() as u64, 2));
    for series in &batch.series {
        let seen: Vec<_> = log.iter().filter(|entry| of(entry, 0) == u64::from(series.step)).collect();
        let whole: Vec<_> = seen.iter().filter(|entry| entry.fate == Fate::Whole).collect();
        assert_eq!((series.started, series.answered), (seen.len() as u64, whole.len() as u64));
        for status in [200, 404, 503] {
            let reported = series.statuses.iter().find(|s| s.status == status).map_or(0, |s| s.count);
            let logged = whole.iter().filter(|entry| u32::from(entry.status) == status).count();
            assert_eq!(reported, logged as u64, "status {status} of step {}", series.step);
        }
        let spoilt = (seen.len() - whole.len()) as u64;
        let errors: Vec<_> = series.errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
        let expected = if spoilt == 0 { vec![] } else { vec![("reset", spoilt)] };
        assert_eq!(errors, expected);
        let written = whole.iter().map(|entry| entry.written).sum::<u64>();
        let read = seen.iter().map(|entry| entry.read).sum::<u64>();
        assert_eq!((series.bytes_received, series.bytes_sent), (written, read));
        let times = [&series.latency, &series.service, &series.queue, &series.first_byte];
        for hist in times.map(|hist| Hist::decode(hist.as_ref().unwrap()).unwrap()) {
            assert_eq!(hist.len(), series.answered);
        }
    }
}

/// Reported minus logged at each percentile, microseconds: the least and the most.
fn apart(reported: &Hist, log: &[Entry]) -> (i64, i64) {
    let mut logged: Vec<u64> = log
        .iter()
        .filter(|entry| entry.fate == Fate::Whole)
        .map(|entry| u64::try_from(entry.took.as_micros()).unwrap())
        .collect();
    logged.sort_unstable();
    assert_eq!(reported.len(), logged.len() as u64);
    let differences = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9].map(|q| {
        let rank = series::rank(q, reported.len());
        let logged = logged[usize::try_from(rank).unwrap() - 1];
        i64::try_from(reported.at_rank(rank).unwrap()).unwrap() - i64::try_from(logged).unwrap()
    });
    (differences.into_iter().min().unwrap(), differences.into_iter().max().unwrap())
}

#[test]
fn percentiles_are_not_below_those_of_the_servers_log() {
    let server = Logged::start(1, 0);
    let mut rig = rig(&server);
    let spec = phase(&rig, 1, 200.0, Duration::from_secs(2));
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (400, 400));
    let (batch, log) = (rig.samples(), log_of(&server, counts.started));
    agrees(&batch, &log);
    let mut merged = Merged::new();
    batch.series.iter().for_each(|series| merged.add_proto(series).unwrap());
    for reported in [&merged.latency, &merged.service] {
        // No request is over before the server has answered it, however slow the machine is.
        let (least, most) = apart(reported, &log);
        assert!(least >= 0 && most < 1_000_000, "{least} to {most} us above the log");
    }
}

#[test]
#[ignore = "about milliseconds: wants the machine for itself"]
fn percentiles_are_those_of_the_servers_log() {
    /// What the generator, the network and the schedulers of both ends may add, microseconds.
    const MOST: i64 = 2_000;
    /// Values of 1 to 2 s are told apart to 1.024 ms, and reported as the highest that a value could be.
    const RESOLUTION: i64 = 1_024;
    let mut seen = Vec::new();
    // The cores are shared with the server and whatever else runs: the best of three runs counts.
    for seed in 0..3 {
        let server = Logged::start(seed, 0);
        let mut rig = rig(&server);
        let counts = rig.run(&phase(&rig, 1, 200.0, Duration::from_secs(6)), GRACE);
        let (batch, log) = (rig.samples(), log_of(&server, counts.started));
        agrees(&batch, &log);
        let mut merged = Merged::new();
        batch.series.iter().for_each(|series| merged.add_proto(series).unwrap());
        let above = apart(&merged.latency, &log).1.max(apart(&merged.service, &log).1);
        seen.push(above);
        println!("at most {above} us above the log of {} answers", log.len());
        if above <= MOST + RESOLUTION {
            return;
        }
    }
    panic!("us by which latency or service are above the log, in three runs: {seen:?}");
}

#[test]
fn counts_and_bytes_are_the_servers_at_the_edges_of_phases_and_when_answers_are_spoilt() {
    let server = Logged::start(1, 10);
    let mut rig = rig(&server);
    for number in 1..=3 {
        // Each ends with answers of up to 2 s under way, and the next begins as soon as they are there.
        let spec = phase(&rig, number, 150.0, Duration::from_secs(1));
        let counts = rig.run(&spec, GRACE);
        assert_eq!((counts.scheduled, counts.started), (150, 150));
        let mut log = log_of(&server, u64::from(number) * 150);
        log.retain(|entry| of(entry, 1) == u64::from(number));
        let batch = rig.samples();
        assert_eq!(batch.phase, number);
        agrees(&batch, &log);
        let spoilt = log.iter().filter(|entry| entry.fate != Fate::Whole).count();
        assert!(spoilt > 10 && counts.failed == spoilt as u64, "{spoilt} of 150 were spoilt");
    }
}

#[test]
fn counts_and_bytes_are_the_servers_when_a_phase_is_stopped_and_answers_may_end() {
    // Stopped long before its end, with answers of up to 2 s under way; the grace is longer than any.
    for spoilt in [0, 10] {
        let server = Logged::start(3, spoilt);
        let mut rig = rig(&server);
        rig.begin(&phase(&rig, 1, 200.0, Duration::from_secs(60)));
        wait_for("some answers", || server.entries().len() >= 100);
        let ended = server.entries().len() as u64;
        let (counts, _) = rig.end(1, GRACE);
        let (batch, log) = (rig.samples(), log_of(&server, counts.started));
        assert_eq!(batch.arrivals, Some(counts));
        assert!(counts.started > ended, "nothing was under way: {counts:?}");
        agrees(&batch, &log);
    }
}

#[test]
fn counts_are_the_servers_when_a_phase_is_cut_short() {
    let server = Logged::start(2, 0);
    let mut rig = rig(&server);
    let spec = phase(&rig, 1, 200.0, Duration::from_secs(60));
    rig.begin(&spec);
    wait_for("some answers", || server.entries().len() >= 100);
    let (counts, _) = rig.end(1, Duration::ZERO);
    assert!(counts.cancelled > 0 && counts.failed == 0 && counts.waiting == 0, "{counts:?}");
    let batch = rig.samples();
    let sum = |part: fn(&v1::Series) -> u64| batch.series.iter().map(part).sum::<u64>();
    assert_eq!(
        (sum(|s| s.started), sum(|s| s.answered), sum(|s| s.cancelled)),
        (counts.started, counts.answered, counts.cancelled)
    );
    // What was under way was written by the server or not; nobody here has read it.
    let log = log_of(&server, counts.answered);
    let written = log.len() as u64;
    assert!((counts.answered..=counts.started).contains(&written), "{written} were written, {counts:?}");
    let reported: u64 = batch.series.iter().map(|series| series.bytes_received).sum();
    let logged: u64 = log.iter().map(|entry| entry.written).sum();
    assert!(reported <= logged, "{reported} bytes of answers, {logged} were written");
}
