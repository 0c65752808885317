//! The suite as separate services over NATS and PostgreSQL: what the embedded one does, and what only a deployed one has to.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{Ended, run};
use gauntlet_tests::link::Link;
use gauntlet_tests::suite::Suite;
use gauntlet_tests::wait;
use rustix::process::Signal;

use crate::plans::{OnePhase, assert_closes, count, phase};

/// A plan whose requests carry their arrival's number.
pub(crate) fn numbered(url: &str, phase: &str) -> OnePhase {
    let mut plan = OnePhase::new(url, phase);
    plan.step =
        r#"{ name = "item", get = "/items/1", headers = { x-gauntlet-arrival = "{arrival}" } }"#.to_owned();
    plan
}

/// The target's lines by arrival number: how often each was seen.
pub(crate) fn arrivals(core: Core) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for line in core.stop() {
        *seen.entry(line.arrival.unwrap()).or_default() += 1;
    }
    seen
}

pub(crate) fn finished(suite: &Suite, ended: &Ended, code: i32) -> serde_json::Value {
    assert_eq!(ended.code, Some(code), "{ended:#?}\n{}", suite.logs());
    ended.summary()
}

#[test]
fn a_run_over_nats_with_three_workers_is_counted_exactly() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let suite = Suite::start(dir.path(), 3);
    let plan = numbered(&core.url(), "rate = 500\nduration = \"5s\"\nconnections = 30").text();
    let ended = suite.start_run(dir.path(), &plan).wait(Duration::from_secs(20));
    let summary = finished(&suite, &ended, 0);
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!((count(phase, "scheduled"), count(phase, "answered")), (2_500, 2_500), "{phase}");
    let seen = arrivals(core);
    assert_eq!(seen.len(), 2_500);
    assert!(seen.values().all(|times| *times == 1), "each arrival is sent once, by one worker");
}

/// What was killed in the middle of a run, and is started again two seconds later.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Service(&'static str),
    Nats,
    Postgres,
}

/// Seeded moments within the phase, milliseconds from its start; how many is told by `GAUNTLET_KILL_MOMENTS`.
fn moments() -> Vec<u64> {
    let count = std::env::var("GAUNTLET_KILL_MOMENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let mut state: u64 = 7;
    (0..count)
        .map(|_| {
            // SplitMix64, as in Steele, Lea and Flood 2014.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            300 + (z ^ (z >> 31)) % 5_000
        })
        .collect()
}

/// Waits until so long after a run's first phase has begun.
pub(crate) fn until_in_phase(running: &gauntlet_tests::gauntlet::Running, after: Duration) {
    running.until_history_has("phase-started");
    pass(after);
}

pub(crate) fn pass(time: Duration) {
    let start = std::time::Instant::now();
    wait::until(
        "time to pass",
        time * 2 + Duration::from_secs(5),
        || (start.elapsed() >= time).then_some(()),
        String::new,
    );
}

/// What gives chaos and recovery something to do: a slower network twice, which loses nothing, and a look at the
/// target twice a second.
const BROKEN: &str = r#"
[[chaos]]
name = "slow"
recipe = "latency"
phase = "baseline"
target = "shop"
at = "500ms"
stop = "none"
duration = "2s"
latency = "20ms"

[[chaos]]
name = "slow again"
recipe = "latency"
phase = "baseline"
target = "shop"
at = "4s"
stop = "none"
duration = "2s"
latency = "20ms"

[recovery.shop]
strategy = []
interval = "500ms"
"#;

/// A run in which `victim` is killed at a moment and started again: its summary and what the target saw.
fn killed(victim: Victim, at_ms: u64, code: i32) -> (serde_json::Value, BTreeMap<u64, usize>) {
    ended(victim, Signal::KILL, at_ms, code)
}

/// The same by a signal.
fn ended(victim: Victim, signal: Signal, at_ms: u64, code: i32) -> (serde_json::Value, BTreeMap<u64, usize>) {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = match victim {
        Victim::Postgres => Suite::with_own_postgres(dir.path(), 3),
        Victim::Service(_) | Victim::Nats => Suite::start(dir.path(), 3),
    };
    let mut plan = numbered(&core.url(), "rate = 300\nduration = \"8s\"\nconnections = 60");
    if matches!(victim, Victim::Service("chaos" | "recovery")) {
        plan.target = format!("health = \"{}/health\"\nchaos = true", core.url());
        BROKEN.clone_into(&mut plan.end);
    }
    let running = suite.start_run(dir.path(), &plan.text());
    until_in_phase(&running, Duration::from_millis(at_ms));
    match victim {
        Victim::Service(name) => suite.signal(name, signal),
        Victim::Nats if signal == Signal::KILL => suite.nats.kill(),
        Victim::Nats => suite.nats.stop(),
        Victim::Postgres if signal == Signal::KILL => suite.postgres.as_mut().unwrap().kill(),
        Victim::Postgres => suite.postgres.as_mut().unwrap().stop(),
    }
    pass(Duration::from_secs(2));
    match victim {
        Victim::Service(name) => suite.restart(name),
        Victim::Nats => suite.nats.start_again(),
        Victim::Postgres => suite.postgres.as_mut().unwrap().start_again(),
    }
    let summary = finished(&suite, &running.wait(Duration::from_secs(90)), code);
    (summary, arrivals(core))
}

/// Counts close, and agree with the target's own log: nothing is sent twice, nothing answered that was not sent.
pub(crate) fn assert_true(summary: &serde_json::Value, seen: &BTreeMap<u64, usize>, what: &str) {
    let phase = phase(summary);
    assert_closes(phase);
    let lines = seen.len() as u64;
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{what}: sent twice: {twice:?}");
    let (answered, started) = (count(phase, "answered"), count(phase, "started"));
    assert!(
        answered <= lines && lines <= started,
        "{what}: answered {answered} ≤ seen {lines} ≤ started {started}"
    );
}

#[test]
fn a_killed_worker_loses_nothing_that_it_counted_and_its_part_goes_on() {
    for at in moments() {
        let (summary, seen) = killed(Victim::Service("worker-2"), at, 0);
        assert_true(&summary, &seen, &format!("killed at {at} ms"));
        // Its hundred a second were missing for at most three seconds, and nobody else's.
        assert!(seen.len() >= 2_400 - 300, "{} of 2400 were sent", seen.len());
    }
}

#[test]
fn a_killed_metrics_service_costs_nothing() {
    for at in moments() {
        let (summary, seen) = killed(Victim::Service("metrics"), at, 0);
        assert_true(&summary, &seen, &format!("killed at {at} ms"));
        assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400));
    }
}

#[test]
fn a_killed_nats_costs_no_samples() {
    for at in moments() {
        let (summary, seen) = killed(Victim::Nats, at, 0);
        assert_true(&summary, &seen, &format!("killed at {at} ms"));
    }
}

#[test]
fn a_killed_postgres_costs_nothing() {
    for at in moments() {
        let (summary, seen) = killed(Victim::Postgres, at, 0);
        assert_true(&summary, &seen, &format!("killed at {at} ms"));
        assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400));
    }
}

#[test]
fn a_killed_scheduler_costs_nothing() {
    for at in moments() {
        let (summary, seen) = killed(Victim::Service("scheduler"), at, 0);
        assert_true(&summary, &seen, &format!("killed at {at} ms"));
        assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400), "killed at {at} ms");
    }
}

#[test]
fn a_killed_chaos_and_a_killed_recovery_cost_nothing() {
    for victim in ["chaos", "recovery"] {
        for at in moments() {
            let (summary, seen) = killed(Victim::Service(victim), at, 0);
            assert_true(&summary, &seen, &format!("{victim} killed at {at} ms"));
            let answered = count(phase(&summary), "answered");
            assert_eq!((seen.len(), answered), (2_400, 2_400), "{victim}, {at} ms: {summary:#}");
        }
    }
}

#[test]
fn a_chaos_and_a_recovery_that_are_told_to_end_cost_nothing() {
    for victim in ["chaos", "recovery"] {
        for at in moments() {
            let (summary, seen) = ended(Victim::Service(victim), Signal::TERM, at, 0);
            assert_true(&summary, &seen, &format!("{victim} told to end at {at} ms"));
            let answered = count(phase(&summary), "answered");
            assert_eq!((seen.len(), answered), (2_400, 2_400), "{victim}, {at} ms: {summary:#}");
        }
    }
}

#[test]
fn a_worker_that_is_told_to_end_hands_its_part_over_without_a_gap() {
    for at in moments() {
        let (summary, seen) = ended(Victim::Service("worker-2"), Signal::TERM, at, 0);
        assert_true(&summary, &seen, &format!("told to end at {at} ms"));
        assert_eq!(
            (seen.len(), count(phase(&summary), "answered")),
            (2_400, 2_400),
            "told to end at {at} ms: {summary:#}"
        );
    }
}

#[test]
fn a_metrics_service_that_is_told_to_end_costs_nothing() {
    for at in moments() {
        let (summary, seen) = ended(Victim::Service("metrics"), Signal::TERM, at, 0);
        assert_true(&summary, &seen, &format!("told to end at {at} ms"));
        assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400));
    }
}

#[test]
fn a_nats_and_a_postgres_that_are_told_to_end_cost_nothing() {
    for victim in [Victim::Nats, Victim::Postgres] {
        for at in moments() {
            let (summary, seen) = ended(victim, Signal::TERM, at, 0);
            assert_true(&summary, &seen, &format!("{victim:?} told to end at {at} ms"));
        }
    }
}

#[test]
fn a_scheduler_that_is_told_to_end_closes_its_run_first() {
    let (summary, seen) = ended(Victim::Service("scheduler"), Signal::TERM, 3_000, 96);
    assert!(
        summary["reasons"].to_string().contains("the end of service scheduler, which got SIGTERM"),
        "{}",
        summary["reasons"]
    );
    assert_true(&summary, &seen, "the scheduler was told to end");
}

/// A run in which a service, or NATS, is killed for good: why it ended.
fn killed_for_good(victim: Victim) -> String {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 2);
    let plan = numbered(&core.url(), "rate = 100\nduration = \"5s\"\nconnections = 10").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_secs(1));
    match victim {
        Victim::Service(name) => suite.signal(name, Signal::KILL),
        Victim::Nats => suite.nats.kill(),
        Victim::Postgres => unreachable!("the services that need it say so and end"),
    }
    let ended = running.wait(Duration::from_secs(90));
    assert_eq!(ended.code, Some(96), "{ended:#?}\n{}", suite.logs());
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn a_service_that_stays_away_ends_the_run_as_aborted_and_is_named() {
    for (victim, named) in [
        (Victim::Service("worker-1"), "lost service load-worker"),
        (Victim::Service("metrics"), "lost metrics"),
        (Victim::Service("scheduler"), "lost service scheduler"),
        (Victim::Nats, "lost NATS"),
    ] {
        let said = killed_for_good(victim);
        assert!(said.contains(named), "{victim:?}: {said}");
    }
}

#[test]
fn a_worker_that_is_cut_off_sends_nothing_that_others_send_and_comes_back() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 2);
    let link = Link::to(suite.nats.port());
    suite.add("worker-3", &["--threads=1", &format!("--nats-url=nats://127.0.0.1:{}", link.port)]);
    let plan = numbered(&core.url(), "rate = 300\nduration = \"20s\"\nconnections = 30").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_secs(3));
    link.cut();
    pass(Duration::from_secs(10));
    link.mend();
    let summary = finished(&suite, &running.wait(Duration::from_secs(60)), 0);
    assert_cut_off(&summary, &arrivals(core), 6_000, &running_history(dir.path()));
}

/// What holds for a run at 300 a second by three workers, one of which was cut off 3 s after the start, and not for ever.
pub(crate) fn assert_cut_off(
    summary: &serde_json::Value,
    seen: &BTreeMap<u64, usize>,
    all: u64,
    events: &str,
) {
    assert_true(summary, seen, "cut off for 10 s");
    // It sends for as long as its lease lasts, and three seconds after the cut others send in its place.
    let missing: Vec<u64> = (0..all).filter(|k| !seen.contains_key(k)).collect();
    assert!(missing.len() <= 150, "{} of {all} were not sent: {missing:?}", missing.len());
    let gap = missing.iter().map(|k| *k as f64 / 300.0);
    let (from, to) = (gap.clone().fold(f64::MAX, f64::min), gap.fold(0.0, f64::max));
    assert!(
        missing.is_empty() || (from > 3.0 && to < 6.2),
        "missing from {from} s to {to} s: {missing:?}\n{events}"
    );
    assert!(events.contains("\"change\":\"lost\"") && events.contains("\"change\":\"back\""), "{events}");
}

/// The history of the newest run below a directory.
pub(crate) fn running_history(dir: &std::path::Path) -> String {
    let runs = std::fs::read_dir(dir.join("runs")).unwrap().flatten();
    let newest = runs.map(|run| run.path().join("history.ndjson")).filter(|path| path.is_file()).max();
    std::fs::read_to_string(newest.unwrap()).unwrap()
}

#[test]
fn a_worker_whose_clock_is_wrong_sends_at_the_right_time() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 1);
    suite.add("worker-2", &["--threads=1", "--clock-shift-ns=500000000"]);
    let plan = numbered(&core.url(), "rate = 200\nduration = \"5s\"\nconnections = 20").text();
    // Both have been heard before the run begins: heartbeats come twice a second.
    pass(Duration::from_millis(600));
    let ended = suite.start_run(dir.path(), &plan).wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    assert_eq!(count(phase(&summary), "answered"), 1_000);
    let events = running_history(dir.path());
    let clocks = events.lines().filter_map(|line| line.split("its clock ").nth(1));
    let ahead =
        clocks.filter_map(|clock| clock.split_once(" ms ahead")?.0.parse::<f64>().ok()).fold(0.0, f64::max);
    assert!((ahead - 500.0).abs() < 20.0, "{ahead} ms ahead: {events}");
    assert_clocks_are_reported(&ended, &summary);
    // Arrival k is due at k / 200 s: by how much each came off that, against the first worker's.
    let mut log = core.stop();
    log.sort_by_key(|line| line.arrival);
    let off = |line: &core_services::access_log::Line| {
        line.arrival_mono_ns as f64 / 1e9 - line.arrival.unwrap() as f64 / 200.0
    };
    let mut offs: Vec<f64> = log.iter().map(off).collect();
    offs.sort_by(f64::total_cmp);
    let (early, late) = (offs[offs.len() / 20], offs[offs.len() * 19 / 20]);
    assert!(late - early < 0.1, "the two workers are {} ms apart", (late - early) * 1e3);
}

/// Summary and report have the clocks of both workers: one is right, the other 500 ms ahead, and each is known to what.
fn assert_clocks_are_reported(ended: &Ended, summary: &serde_json::Value) {
    let report = std::fs::read_to_string(ended.run_dir.as_ref().unwrap().join("report.html")).unwrap();
    let workers = summary["workers"].as_array().unwrap();
    let mut offsets = Vec::new();
    for worker in workers {
        let (ahead, error) = (&worker["clock_ahead_ms"], &worker["clock_error_ms"]);
        let (ahead, error) = (ahead.as_f64().unwrap(), error.as_f64().unwrap());
        assert!(error < 20.0, "{worker}");
        assert!(report.contains(&format!("{ahead:.3} ± {error:.3} ms")), "{worker} is not in the report");
        offsets.push(ahead);
    }
    offsets.sort_by(f64::total_cmp);
    assert!(
        matches!(offsets[..], [right, wrong] if right.abs() < 20.0 && (wrong - 500.0).abs() < 20.0),
        "{offsets:?}"
    );
}

#[test]
fn the_same_plan_and_seed_send_the_same_on_both_suites() {
    let dir = Beside::new();
    let items: String = (1..=97).map(|i| format!("{i}\n")).collect();
    std::fs::write(dir.path().join("items.csv"), format!("id\n{items}")).unwrap();
    let sequence = |suite: Option<&Suite>| {
        let place = dir.path().join(if suite.is_some() { "deployed" } else { "embedded" });
        std::fs::create_dir(&place).unwrap();
        let core = Core::start(&place, "{}");
        let shape = "rate = 200\nduration = \"4s\"\nconnections = 16\narrivals = \"poisson\"";
        let mut plan = OnePhase::new(&core.url(), shape);
        plan.step = r#"{ name = "item", get = "/items/{id}?r={random:1..1000}", feed = "items.csv", feed-order = "random", headers = { x-gauntlet-arrival = "{arrival}" } }"#.to_owned();
        let ended = match suite {
            Some(suite) => suite.start_run(dir.path(), &plan.text()).wait(Duration::from_secs(60)),
            None => run(dir.path(), &plan.text()),
        };
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let lines = core.stop().into_iter();
        lines.map(|line| (line.arrival.unwrap(), line.path)).collect::<BTreeMap<_, _>>()
    };
    let embedded = sequence(None);
    let suite = Suite::start(dir.path(), 3);
    assert!(embedded.len() > 600, "{} arrivals", embedded.len());
    assert_eq!(embedded, sequence(Some(&suite)), "one process, and three workers over NATS");
}
