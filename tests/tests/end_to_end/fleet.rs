//! A fleet of uneven workers: each counts its share of the load, and nginx's access log has every arrival once.

use std::time::Duration;

use gauntlet_tests::Alone;
use gauntlet_tests::gauntlet::Running;
use gauntlet_tests::nginx::Nginx;
use gauntlet_tests::suite::{Parts, Suite};
use serde_json::Value;

use crate::deployed::{finished, numbered, pass, until_in_phase};
use crate::plans::{assert_closes, count, phase};

/// Each arrival below `all` is in the log once.
fn assert_once(nginx: &Nginx, all: u64) {
    let of = |line: String| {
        line.rsplit(' ').next().and_then(|field| field.parse().ok()).expect("an arrival's number")
    };
    let mut arrivals: Vec<u64> = nginx.lines().into_iter().map(of).collect();
    arrivals.sort_unstable();
    assert!(arrivals.iter().copied().eq(0..all), "{} arrivals of {all} in the log", arrivals.len());
}

/// Weight, share and what was sent, of each worker by weight.
fn workers(summary: &Value) -> Vec<(f64, f64, u64)> {
    let read = |worker: &Value| {
        let number = |key: &str| worker[key].as_f64().unwrap_or_else(|| panic!("{key}: {worker}"));
        assert_eq!(worker["send_lag"]["count"], worker["started"]);
        (number("weight"), number("share"), worker["started"].as_u64().unwrap())
    };
    let mut workers: Vec<_> = summary["workers"].as_array().unwrap().iter().map(read).collect();
    workers.sort_by(|a, b| a.0.total_cmp(&b.0));
    workers
}

/// The divisions that a run's history tells of.
fn divisions(running: &str) -> Vec<Value> {
    let events =
        running.lines().filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["event"].clone()));
    events.filter(|event| event["kind"] == "load-divided").collect()
}

#[test]
fn workers_of_weights_1_and_3_send_a_quarter_and_three_quarters() {
    let dir = Alone::new();
    let nginx = Nginx::start(dir.path());
    let mut suite = Suite::start(dir.path(), 1);
    suite.add("worker-2", &["--threads=1", "--weight=3"]);
    // Both have been heard before the run begins: heartbeats come twice a second.
    pass(Duration::from_millis(600));
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = numbered(&url, "rate = 400\nduration = \"5s\"\nconnections = 40").text();
    let running = suite.start_run(dir.path(), &plan);
    running.until_history_has("load-divided");
    let division = divisions(&running.history()).remove(0);
    let ended = running.wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    assert_closes(phase(&summary));
    assert_eq!(count(phase(&summary), "started"), 2_000);
    assert_eq!(workers(&summary), [(1.0, 0.25, 500), (3.0, 0.75, 1_500)]);

    assert_once(&nginx, 2_000);

    let shares = division["shares"].as_array().unwrap();
    assert!(shares.iter().all(|share| share["of"] == 4), "{division}");
    assert!(ended.stdout.contains("3 (set)") && ended.stdout.contains("75.0 %"), "{}", ended.stdout);
    assert!(ended.stderr.contains("among 2 load-workers by weight: "), "{}", ended.stderr);
    let page = std::fs::read_to_string(ended.run_dir.as_ref().unwrap().join("report.html")).unwrap();
    assert!(page.contains("3.00<div class=\"small\">set</div>") && page.contains("75.0 %"));
}

#[test]
fn a_heavier_worker_that_joins_takes_three_quarters_from_there_on() {
    let dir = Alone::new();
    let nginx = Nginx::start(dir.path());
    let mut suite = Suite::start(dir.path(), 1);
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = numbered(&url, "rate = 200\nduration = \"8s\"\nconnections = 40").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_secs(1));
    suite.add("worker-2", &["--threads=1", "--weight=3"]);
    let division = second_division(&running);
    let ended = running.wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    assert_closes(phase(&summary));
    assert_once(&nginx, 1_600);
    let workers = workers(&summary);
    assert_eq!((workers[0].1, workers[1].1), (0.25, 0.75));
    // What is due from the offset of the division on is divided by it: three of four, wherever it begins.
    let after = 1_600 - (division["from_ns"].as_u64().unwrap() * 200).div_ceil(1_000_000_000);
    assert!((workers[1].2 * 4).abs_diff(after * 3) <= 4, "{} of {after}: {division}", workers[1].2);
    assert_eq!(workers[0].2 + workers[1].2, 1_600);
}

/// The division that is made in the middle of the phase.
fn second_division(running: &Running) -> Value {
    let second = || divisions(&running.history()).into_iter().nth(1);
    gauntlet_tests::wait::until("a second division", Duration::from_secs(30), second, || running.history())
}

#[test]
fn workers_that_measure_themselves_send_what_their_weights_give_them() {
    let dir = Alone::new();
    let nginx = Nginx::start(dir.path());
    let suite = Suite::of(dir.path(), 2, Parts { measured: true, ..Parts::default() });
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = numbered(&url, "rate = 200\nduration = \"5s\"\nconnections = 40").text();
    let ended = suite.start_run(dir.path(), &plan).wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    assert_once(&nginx, 1_000);
    let weights: f64 = workers(&summary).iter().map(|(weight, ..)| weight).sum();
    for (weight, share, started) in workers(&summary) {
        assert!((share - weight / weights).abs() < 1e-9, "weight {weight} of {weights}, share {share}");
        assert!((started as f64 - share * 1_000.0).abs() < 1.0, "{started} of 1000, share {share}");
    }
    for worker in summary["workers"].as_array().unwrap() {
        // How fast this machine is nobody knows here; that it was measured, and said, is what counts.
        assert!(
            worker["thread_speed"].as_f64().unwrap() > 100.0 && worker["weight_set"] == false,
            "{worker}"
        );
    }
}
