//! What the control plane costs over NATS, from one load-worker to two hundred. Measures, and asserts nothing but that the
//! runs were whole: `cargo xtask bench control-plane` prints the table.
//!
//! The workers are the real program, each with one load thread and a small share of the same load, all on this host. They
//! find the guest compiled: on hosts of their own they would compile it at the same time, here one after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use gauntlet_tests::core::Core;
use gauntlet_tests::suite::Suite;
use gauntlet_tests::{Alone, wait};

use crate::plans::{OnePhase, assert_closes, count, phase};

const WORKERS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];
/// The load of all workers together.
const SHAPE: &str = "rate = 400\nduration = \"16s\"\nconnections = 400";
const SCHEDULED: u64 = 6_400;
/// Over which messages are counted, in the middle of the phase.
const WINDOW: Duration = Duration::from_secs(10);
/// Names of the clients whose traffic is shown.
const SERVICES: [&str; 3] = ["gauntlet load", "gauntlet scheduler", "gauntlet metrics"];

/// Messages and bytes that the server has taken from, and given to, all clients of one name. Bytes are those of payloads
/// and headers.
#[derive(Clone, Copy, Default)]
struct Traffic {
    clients: u64,
    said: u64,
    heard: u64,
    said_bytes: u64,
    heard_bytes: u64,
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.said += other.said;
        self.heard += other.heard;
        self.said_bytes += other.said_bytes;
        self.heard_bytes += other.heard_bytes;
    }
}

/// By client name, from the server's monitoring (`/connz`).
fn traffic(suite: &Suite) -> BTreeMap<String, Traffic> {
    let port = suite.nats.monitor().expect("a server with monitoring");
    let url = format!("http://127.0.0.1:{port}/connz?limit=1024");
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connz: serde_json::Value =
        runtime.block_on(async { client.get(&url).send().await.unwrap().json().await.unwrap() });
    let mut by_name: BTreeMap<String, Traffic> = BTreeMap::new();
    for connection in connz["connections"].as_array().unwrap() {
        let n = |field: &str| connection[field].as_u64().unwrap();
        let name = connection["name"].as_str().unwrap_or_default().to_owned();
        by_name.entry(name).or_default().add(&Traffic {
            clients: 1,
            said: n("in_msgs"),
            heard: n("out_msgs"),
            said_bytes: n("in_bytes"),
            heard_bytes: n("out_bytes"),
        });
    }
    by_name
}

/// Gives each worker of a suite that is to start in `dir` the compiled guests of another.
fn warm(compiled: &Path, dir: &Path, workers: usize) {
    for number in 1..=workers {
        let cache = dir.join(format!("suite/worker-{number}/cache"));
        std::fs::create_dir_all(&cache).unwrap();
        for entry in std::fs::read_dir(compiled).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), cache.join(entry.file_name())).unwrap();
        }
    }
}

/// One run with so many workers, as a row of the table; compiled guests come from `compiled`, or go there.
fn measure(workers: usize, compiled: &Path, warmed: bool) -> String {
    let dir = Alone::new();
    if warmed {
        warm(compiled, dir.path(), workers);
    }
    let core = Core::start(dir.path(), "{}");
    let suite = Suite::monitored(dir.path(), workers);
    let mut plan = OnePhase::new(&core.url(), SHAPE);
    // By its number the target knows a request of the load from those of the checks before it.
    plan.step =
        r#"{ name = "item", get = "/items/1", headers = { x-gauntlet-arrival = "{arrival}" } }"#.to_owned();
    let begun_ns = monotonic_ns();
    let running = suite.start_run(dir.path(), &plan.text());
    running.until_history_has("phase-started");
    pass(Duration::from_secs(3));
    let (before, at) = (traffic(&suite), Instant::now());
    pass(WINDOW);
    let (after, seconds) = (traffic(&suite), at.elapsed().as_secs_f64());
    let ended = running.wait(Duration::from_secs(120)).expect(0);
    let summary = ended.summary();
    assert_closes(phase(&summary));
    assert_eq!(count(phase(&summary), "scheduled"), SCHEDULED);
    if !warmed {
        let found = dir.path().join("suite/worker-1/cache");
        for entry in std::fs::read_dir(found).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), compiled.join(entry.file_name())).unwrap();
        }
    }
    let of_load = core.stop().into_iter().filter(|line| line.arrival.is_some());
    let first = of_load.map(|line| line.arrival_mono_ns).min().unwrap();
    row(workers, (first - begun_ns) as f64 / 1e9, &before, &after, seconds)
}

/// The workers' figures are those of one of them.
fn row(
    workers: usize,
    first_s: f64,
    before: &BTreeMap<String, Traffic>,
    after: &BTreeMap<String, Traffic>,
    seconds: f64,
) -> String {
    let mut row = format!("| {workers} | {first_s:.2} |");
    for name in SERVICES {
        let (a, b) = (before[name], after[name]);
        let each = |now: u64, then: u64| (now - then) as f64 / seconds / a.clients as f64;
        row += &format!(
            " {:.1} / {:.1} | {:.2} / {:.2} |",
            each(b.said, a.said),
            each(b.heard, a.heard),
            each(b.said_bytes, a.said_bytes) / 1e3,
            each(b.heard_bytes, a.heard_bytes) / 1e3,
        );
    }
    let sum = |all: &BTreeMap<String, Traffic>| {
        all.values().fold(Traffic::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    };
    let (a, b) = (sum(before), sum(after));
    let all = |now: u64, then: u64| (now - then) as f64 / seconds;
    row + &format!(" {:.0} | {:.0} |", all(b.said, a.said), all(b.said_bytes, a.said_bytes) / 1e3)
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

fn pass(time: Duration) {
    let start = Instant::now();
    wait::until(
        "time to pass",
        time * 2 + Duration::from_secs(5),
        || (start.elapsed() >= time).then_some(()),
        String::new,
    );
}

#[test]
#[ignore = "measures for minutes: cargo xtask bench control-plane"]
fn control_plane() {
    let compiled = tempfile::tempdir().unwrap();
    let compiled = compiled.path();
    let cold = measure(1, compiled, false);
    println!("Messages a second and kilobytes a second, said / heard; the first row compiles the guest.");
    println!();
    println!(
        "| workers | first request, s | one worker, msg/s | kB/s | scheduler, msg/s | kB/s | metrics, msg/s | kB/s | all, msg/s | kB/s |"
    );
    println!("|{}", "---|".repeat(10));
    println!("{cold}");
    for workers in WORKERS {
        println!("{}", measure(workers, compiled, true));
    }
}
