//! A metrics service that is too slow for its records, or dies with one in hand: nobody waits for it, and nothing is lost or
//! counted twice.

use std::time::Duration;

use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::Ended;
use gauntlet_tests::link::{Link, Slow};
use gauntlet_tests::suite::{Parts, Suite};
use gauntlet_tests::{Beside, wait};
use rustix::process::Signal;
use test_servers::nats::Nats;
use test_servers::postgres::Postgres;

use crate::deployed::{arrivals, assert_true, finished, numbered, pass, until_in_phase};
use crate::plans::{OnePhase, count, phase};

/// 300 a second for 8 s by three workers, recorded in intervals of this length. The generator is judged.
fn plan(url: &str, interval: &str) -> String {
    let mut plan: OnePhase = numbered(url, "rate = 300\nduration = \"8s\"\nconnections = 30");
    plan.validity = String::new();
    plan.end = format!("[load]\ninterval = \"{interval}\"");
    plan.text()
}

/// Whether each sample was merged in the end, as the verdict saw it.
fn complete(phase: &serde_json::Value) -> bool {
    let rules = phase["validity"].as_array().unwrap().iter();
    rules.filter(|rule| rule["name"] == "samples complete").all(|rule| rule["result"] == "pass")
}

fn report(ended: &Ended) -> String {
    std::fs::read_to_string(ended.run_dir.as_ref().unwrap().join("report.html")).unwrap()
}

#[test]
fn a_full_log_merges_intervals_and_costs_nothing() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    // Room for a few batches; the default has it for days.
    let parts = Parts { all: vec!["--nats-log-bytes=20000".to_owned()], ..Parts::default() };
    let mut suite = Suite::of(dir.path(), 3, parts);
    let running = suite.start_run(dir.path(), &plan(&core.url(), "200ms"));
    until_in_phase(&running, Duration::from_secs(1));
    suite.signal("metrics", Signal::STOP);
    pass(Duration::from_secs(4));
    for number in 1..=3 {
        let log = suite.log(&format!("worker-{number}"));
        assert!(log.contains("full at 20000 bytes"), "worker-{number} was to find the log full: {log}");
    }
    suite.signal("metrics", Signal::CONT);
    let ended = running.wait(Duration::from_secs(40));
    let summary = finished(&suite, &ended, 0);
    let phase = phase(&summary);
    // The generator's own rules held, its send lag among them.
    assert!(complete(phase), "{}", phase["validity"]);
    let merged = phase["merged_intervals"].as_u64().unwrap();
    println!("{merged} intervals were merged, send lag p99 {} µs", phase["generator"]["send_lag_p99_us"]);
    // About 3.5 s of 200 ms intervals on three workers.
    assert!((20..=80).contains(&merged), "{merged} intervals were merged");
    assert!(report(&ended).contains("recorded together with a later one"), "the report says so");
    let seen = arrivals(core);
    assert_true(&summary, &seen, "the log was full for seconds");
    assert_eq!((seen.len(), count(phase, "answered")), (2_400, 2_400));
}

#[test]
fn a_metrics_service_that_takes_100_ms_a_record_is_waited_for() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let postgres = Postgres::start(test_servers::postgres::Settings::default());
    // A statement for each record, however many are in a transaction: the protocol's Execute, of the unnamed portal.
    let execute = b"E\0\0\0\x09\0\0\0\0\0";
    let link = Link::slow_to(postgres.port(), Slow { what: execute, by: Duration::from_millis(100) });
    let database = postgres.database();
    let slow = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", link.port));
    assert_ne!(slow, database, "the link stands in the server's place");
    let parts = Parts {
        postgres: Some(postgres),
        metrics: vec![format!("--postgres-url={slow}")],
        ..Parts::default()
    };
    let suite = Suite::of(dir.path(), 3, parts);
    // 24 records a second, of which it manages ten at most: it is behind by more than the 10 s for which nothing may come.
    let ended = suite.start_run(dir.path(), &plan(&core.url(), "125ms")).wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    let phase = phase(&summary);
    let lasted = summary["lasted_ms"].as_u64().unwrap();
    assert!(lasted > 18_000, "it was to be waited for longer than 10 s after the phase: {lasted} ms in all");
    assert!(complete(phase), "{}", phase["validity"]);
    let seen = arrivals(core);
    assert_true(&summary, &seen, "metrics was slow");
    assert_eq!((seen.len(), count(phase, "answered")), (2_400, 2_400));
}

#[test]
fn a_record_whose_acknowledgement_died_with_metrics_counts_once() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let nats = Nats::start();
    let link = Link::slow_to(nats.port(), Slow { what: b"+ACK", by: Duration::from_millis(200) });
    let url = format!("--nats-url=nats://127.0.0.1:{}", link.port);
    let metrics = vec![url, "--log=info,metrics=debug".to_owned()];
    let mut suite = Suite::of(dir.path(), 3, Parts { nats: Some(nats), metrics, ..Parts::default() });
    let running = suite.start_run(dir.path(), &plan(&core.url(), "1s"));
    until_in_phase(&running, Duration::from_secs(2));
    // It acknowledges after the commit: who dies now has applied a record of which the server does not know that.
    let holds = || link.is_holding().then_some(());
    wait::until("an acknowledgement on its way", Duration::from_secs(10), holds, String::new);
    suite.signal("metrics", Signal::KILL);
    link.sever();
    suite.restart("metrics");
    let summary = finished(&suite, &running.wait(Duration::from_secs(60)), 0);
    let log = suite.log("metrics");
    assert!(log.contains("a batch came again: it counts already"), "{log}");
    let seen = arrivals(core);
    assert_true(&summary, &seen, "metrics was killed between apply and acknowledgement");
    assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400));
}
