//! `gauntlet knee` against servers whose capacity is known: what it finds, and how it ends where there is nothing to be found.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gauntlet_tests::gauntlet::{self, Ended};
use gauntlet_tests::setting::Setting;
use gauntlet_tests::{Alone, Beside, wait};
use rustix::process::Signal;
use serde_json::Value;
use test_servers::ports;
use tokio::time::Instant;

use crate::plans::OnePhase;

gauntlet_tests::on_both_suites! {
    the_knee_of_a_single_server_queue_is_its_capacity,
}

/// A single server with a queue before it: each request takes its time, one after the other. What the runtime's timer is late
/// adds to latencies and takes nothing from the capacity, for the end of each service follows from the one before.
struct Queue {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

/// The state of the one server.
#[derive(Clone, Copy)]
struct Server {
    service: Duration,
    free_at: Instant,
    /// From a backlog of so long on, each request takes as long as that; it never gets well.
    breaks_at: Option<Duration>,
}

impl Queue {
    fn start(service: Duration, breaks_at: Option<Duration>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Mutex::new(Server { service, free_at: Instant::now(), breaks_at }));
        let serve = move || {
            let done = server.lock().unwrap().take(Instant::now());
            async move {
                tokio::time::sleep_until(done).await;
                "done"
            }
        };
        let router = axum::Router::new()
            .route("/", axum::routing::get(serve))
            .route("/health", axum::routing::get(|| async { "well" }));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, _runtime: runtime }
    }

    /// A plan that keeps these thresholds.
    fn plan(&self, thresholds: &str) -> OnePhase {
        let mut plan = OnePhase::new(&self.url, "rate = 100\nconnections = 40");
        plan.target = format!("health = \"{}/health\"", self.url);
        plan.end = format!("[thresholds]\nrun = [{thresholds}]\n[control]\nramp-down = \"200ms\"");
        plan
    }
}

impl Server {
    /// Takes a request; when it is done.
    fn take(&mut self, now: Instant) -> Instant {
        let begin = self.free_at.max(now);
        if let Some(limit) = self.breaks_at
            && begin - now >= limit
        {
            self.service = limit;
        }
        self.free_at = begin + self.service;
        self.free_at
    }
}

const FIVE_MS: Duration = Duration::from_millis(5);

/// The result of a search that ended with this code.
fn found(ended: Ended, code: i32) -> Value {
    let ended = ended.expect(code);
    let knee = ended.json("knee.json");
    assert_eq!(knee["conclusion"]["exit_code"], code, "{knee:#}");
    knee
}

/// The directory of the only search, once a stage of it is over.
fn search_dir(dir: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(dir.join("runs")).ok()?.flatten().map(|entry| entry.path());
    entries.find(|path| path.join("knee.json").is_file())
}

fn search(dir: &Path, plan: &OnePhase, flags: &[&str]) -> Ended {
    gauntlet::start_with_plan(dir, "knee", &plan.text(), flags).wait(Duration::from_secs(150))
}

/// 5 ms of service are 200 a second. The knee is sought to 10 %. A rate just above the capacity is kept for a while, until the
/// backlog is 200 ms: the longer stage finds that out, and steps down by 10 %, then by 20 %. What a busy machine adds to
/// latencies stays below 200 ms.
fn the_knee_of_a_single_server_queue_is_its_capacity(setting: &Setting) {
    let queue = Queue::start(FIVE_MS, None);
    let plan = queue.plan("\"p(99) < 200ms\", \"error_rate < 1%\"").text();
    let flags = ["--start", "70", "--max", "2000", "--stage", "2s", "--confirm", "6s", "--precision", "10%"];
    let knee = found(setting.start_with_plan("knee", &plan, &flags).wait(Duration::from_secs(150)), 0);
    let conclusion = &knee["conclusion"];
    let (kept, failed) = (
        &conclusion["knee_per_second"].as_f64().unwrap(),
        &conclusion["failed_per_second"].as_f64().unwrap(),
    );
    assert!((155.0..=209.0).contains(kept), "{knee:#}");
    assert!(*failed > *kept && failed / kept < 1.4, "{knee:#}");
    assert!(conclusion["why"][0].as_str().unwrap().contains("p(99) < 200ms: seen"), "{knee:#}");
    // What is far from the capacity comes out as it must, whatever the machine does.
    let stages = knee["stages"].as_array().unwrap();
    for stage in stages {
        let (rate, found) = (stage["rate_per_second"].as_f64().unwrap(), &stage["found"]);
        assert!(rate <= 2_000.0);
        assert!(rate < 225.0 || found == "broken", "{stage:#}");
    }
    let last = stages.last().unwrap();
    assert_eq!((&last["purpose"], &last["found"]), (&"confirm".into(), &"kept".into()));
    assert!(last["lasted_ms"].as_u64().unwrap() >= 6_000, "{last:#}");
    // A stage is a run with a report of its own, of the same figures.
    let dir = search_dir(setting.path()).unwrap();
    let run = dir.join(last["run"].as_str().unwrap());
    assert!(run.join("report.html").is_file());
    let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["phases"][0]["latency"]["p99"], last["latency_p99_us"]);
    // It is shown again as it was, and stands in the list.
    let shown = gauntlet::command(setting.path(), &["runs", "show"]).expect(0).stdout;
    assert!(shown.contains("test: knee ") && shown.contains("all stages, by rate"), "{shown}");
    let list = gauntlet::command(setting.path(), &["runs", "list"]).expect(0).stdout;
    assert!(list.contains("-test-knee") && list.contains("knee "), "{list}");
}

#[test]
fn a_start_rate_that_is_not_kept_ends_with_99_and_says_how_to_go_on() {
    let dir = Alone::new();
    let queue = Queue::start(FIVE_MS, None);
    let plan = queue.plan("\"p(50) < 1ms\"");
    let ended = search(dir.path(), &plan, &["--start", "20", "--stage", "1s", "--confirm", "1s"]);
    assert!(ended.stdout.contains("no knee: 20.0/s, the first rate, is not kept"), "{ended:#?}");
    assert!(ended.stdout.contains("--start"), "{ended:#?}");
    let knee = found(ended, 99);
    assert_eq!(knee["conclusion"]["result"], "below-start");
    assert_eq!(knee["stages"].as_array().unwrap().len(), 2, "once, and again: {knee:#}");
}

#[test]
fn the_highest_rate_is_the_answer_where_nothing_fails() {
    let dir = Alone::new();
    let queue = Queue::start(Duration::from_micros(10), None);
    let plan = queue.plan("\"p(50) < 1s\"");
    let flags = ["--start", "20", "--max", "50", "--stage", "1s", "--confirm", "2s", "--json"];
    let ended = search(dir.path(), &plan, &flags);
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let knee = found(ended, 0);
    assert_eq!(printed, knee, "--json prints what is in the file");
    assert_eq!(knee["conclusion"]["result"], "not-reached");
    assert_eq!(knee["conclusion"]["knee_per_second"], 50.0);
    let rates: Vec<f64> = knee["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["rate_per_second"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, [20.0, 40.0, 50.0, 50.0]);
}

#[test]
fn a_limit_of_the_generator_is_not_said_to_be_the_targets() {
    let dir = Alone::new();
    let queue = Queue::start(FIVE_MS, None);
    let mut plan = queue.plan("\"p(99) < 10s\"");
    // No generator sends as punctually.
    plan.validity = "send-lag = \"1ns\"\nsend-lag-share = \"0%\"".to_owned();
    let ended = search(dir.path(), &plan, &["--start", "20", "--stage", "1s", "--confirm", "1s"]);
    assert!(ended.stdout.contains("the load generator's limit, not the target's"), "{ended:#?}");
    assert!(ended.stderr.contains("send lag: p99"), "{ended:#?}");
    assert_eq!(found(ended, 98)["conclusion"]["result"], "generator-limit");
}

#[test]
fn a_target_that_does_not_get_well_ends_the_search_with_what_is_known() {
    let dir = Alone::new();
    let queue = Queue::start(FIVE_MS, Some(Duration::from_millis(300)));
    let mut plan = queue.plan("\"p(99) < 200ms\"");
    plan.phase = "rate = 100\nconnections = 100".to_owned();
    let flags = ["--start", "100", "--max", "400", "--stage", "2s", "--confirm", "2s", "--cool-down", "2s"];
    let ended = search(dir.path(), &plan, &flags);
    assert!(ended.stderr.contains("the target did not keep 100/s again within 2s"), "{ended:#?}");
    let knee = found(ended, 3);
    assert_eq!(knee["conclusion"]["result"], "ended");
    assert!(knee["conclusion"]["kept_per_second"].as_f64().unwrap() >= 100.0, "{knee:#}");
}

#[test]
fn it_ends_by_a_signal_or_by_hand_and_keeps_what_it_knows() {
    for (by_hand, code) in [(false, 130), (true, 96)] {
        let dir = Beside::new();
        let queue = Queue::start(FIVE_MS, None);
        let plan = queue.plan("\"p(50) < 1s\"").text();
        let flags = ["--start", "20", "--max", "25", "--stage", "1s", "--confirm", "60s"];
        let running = gauntlet::start_with_plan(dir.path(), "knee", &plan, &flags);
        let stages = || {
            let file = search_dir(dir.path())?.join("knee.json");
            let knee: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
            (knee["stages"].as_array()?.len() == 2).then_some(())
        };
        wait::until("two stages", Duration::from_secs(60), stages, || "not yet".to_owned());
        if by_hand {
            // A directory of its own, for what it prints.
            let other = dir.path().join("other");
            std::fs::create_dir(&other).unwrap();
            let stop = || {
                let asked = gauntlet::command(&other, &["control", "stop", "--report-dir", "../runs"]);
                (asked.code == Some(0)).then_some(())
            };
            wait::until("the stage to take a stop", Duration::from_secs(30), stop, || "refused".to_owned());
        } else {
            gauntlet_tests::signal(running.child(), Signal::INT);
        }
        let knee = found(running.wait(Duration::from_secs(30)), code);
        assert_eq!(knee["conclusion"]["result"], "ended", "{knee:#}");
        assert_eq!(knee["conclusion"]["kept_per_second"], 25.0, "{knee:#}");
    }
}

#[test]
fn a_target_that_is_not_there_is_the_environments_fault() {
    let dir = Beside::new();
    let mut plan = OnePhase::new(&format!("http://127.0.0.1:{}", ports::free()), "rate = 100");
    plan.end = "[thresholds]\nrun = [\"p(99) < 1s\"]\n[control]\nvalidate-timeout = \"500ms\"".to_owned();
    let ended = search(dir.path(), &plan, &["--stage", "1s", "--confirm", "1s"]);
    assert!(ended.stderr.contains("target ready"), "{ended:#?}");
    assert_eq!(found(ended, 3)["stages"], Value::Array(Vec::new()));
}
