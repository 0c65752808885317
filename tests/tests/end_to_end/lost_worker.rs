//! A worker that is killed, against nginx's access log: what is counted, who takes over, and what the report shows of it.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::nginx::Nginx;
use gauntlet_tests::suite::Suite;
use rustix::process::Signal;

use crate::deployed::{finished, numbered, pass, until_in_phase};
use crate::plans::{assert_closes, count, phase};

#[test]
fn a_killed_worker_is_counted_to_its_last_request_and_the_report_shows_the_gap() {
    let dir = Beside::new();
    let nginx = Nginx::start(dir.path());
    let mut suite = Suite::start(dir.path(), 3);
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = numbered(&url, "rate = 300\nduration = \"8s\"\nconnections = 30").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_millis(2_500));
    suite.signal("worker-2", Signal::KILL);
    // Just before its silence would have told: the new life's heartbeats end that.
    pass(Duration::from_secs(2));
    suite.restart("worker-2");
    let ended = running.wait(Duration::from_secs(60));
    let summary = finished(&suite, &ended, 0);
    let phase = phase(&summary);
    assert_closes(phase);

    // The log's last field is the arrival's number.
    let arrival = |line: &String| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let mut seen: Vec<u64> = nginx.lines().iter().map(arrival).collect();
    let (answered, lines, started) = (count(phase, "answered"), seen.len() as u64, count(phase, "started"));
    assert!(answered <= lines && lines <= started, "answered {answered} ≤ log {lines} ≤ started {started}");
    // On the wire when it was killed: at most what its ten connections hold.
    assert!(started - answered <= 10, "answered {answered}, started {started}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, lines, "an arrival was sent twice");
    // Its hundred a second are missing from the kill on, for less than three seconds.
    let missing: Vec<f64> =
        (0..2_400).filter(|k| seen.binary_search(k).is_err()).map(|k| f64::from(k as u32) / 300.0).collect();
    let (from, to) = (missing.first().unwrap(), missing.last().unwrap());
    println!("{} of 2400 were not sent, from {from} s to {to} s", missing.len());
    assert!(*from > 1.0 && *to - *from < 3.0, "missing from {from} s to {to} s");

    let workers = summary["workers"].as_array().unwrap();
    let changes = |worker: &serde_json::Value| -> Vec<String> {
        let changes = worker["changes"].as_array().unwrap().iter();
        changes.map(|change| change["change"].as_str().unwrap().to_owned()).collect()
    };
    let mut all: Vec<Vec<String>> = workers.iter().map(changes).collect();
    all.sort();
    assert_eq!(all, [vec!["joined"], vec!["joined"], vec!["joined", "lost", "joined"]], "{workers:?}");
    let report = std::fs::read_to_string(ended.run_dir.as_ref().unwrap().join("report.html")).unwrap();
    let lost = workers.iter().find(|worker| changes(worker).len() > 1).unwrap();
    let id = lost["worker"].as_str().unwrap();
    for shown in
        [format!("title=\"load-worker {id} lost: "), format!("<span class=\"text\">worker {id} lost: ")]
    {
        assert!(report.contains(&shown), "{shown:?} is not in the report");
    }
    assert!(report.contains("class=\"mark bad\""), "the timeline marks the loss");
}
