//! What the control plane costs over NATS, from one load-worker to two hundred. Measures, and asserts nothing but that the
//! runs were whole: `cargo xtask bench control-plane` prints the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gauntlet_tests::Alone;
use gauntlet_tests::core::Core;
use gauntlet_tests::suite::Suite;

use crate::plans::{OnePhase, assert_closes, count, phase};

const WORKERS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];
/// Over which messages are counted, in the middle of the phase.
const WINDOW: Duration = Duration::from_secs(10);

/// Messages and bytes that the server has taken from, and given to, all clients of one name.
#[derive(Clone, Copy, Default)]
struct Traffic {
    clients: u64,
    said: u64,
    heard: u64,
    said_bytes: u64,
    heard_bytes: u64,
}

/// By client name, from the server's monitoring (`/connz`).
fn traffic(suite: &Suite) -> BTreeMap<String, Traffic> {
    let port = suite.nats.monitor().expect("a server with monitoring");
    let url = format!("http://127.0.0.1:{port}/connz?limit=1024");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connz: serde_json::Value =
        runtime.block_on(async { reqwest::get(&url).await.unwrap().json().await.unwrap() });
    let mut by_name: BTreeMap<String, Traffic> = BTreeMap::new();
    for connection in connz["connections"].as_array().unwrap() {
        let n = |field: &str| connection[field].as_u64().unwrap();
        let sum = by_name.entry(connection["name"].as_str().unwrap_or_default().to_owned()).or_default();
        sum.clients += 1;
        sum.said += n("in_msgs");
        sum.heard += n("out_msgs");
        sum.said_bytes += n("in_bytes");
        sum.heard_bytes += n("out_bytes");
    }
    by_name
}

/// One run with so many workers, as a row of the table.
fn measure(workers: usize) -> String {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    let suite = Suite::monitored(dir.path(), workers);
    let shape = "rate = 400\nduration = \"16s\"\nconnections = 400";
    let plan = OnePhase::new(&core.url(), shape).text();
    let (begun, begun_ns) = (Instant::now(), monotonic_ns());
    let running = suite.start_run(dir.path(), &plan);
    running.until_history_has("phase-started");
    pass(Duration::from_secs(3));
    let (before, at) = (traffic(&suite), Instant::now());
    pass(WINDOW);
    let (after, seconds) = (traffic(&suite), at.elapsed().as_secs_f64());
    let ended = running.wait(Duration::from_secs(120)).expect(0);
    let whole = begun.elapsed().as_secs_f64();
    let summary = ended.summary();
    assert_closes(phase(&summary));
    assert_eq!(count(phase(&summary), "scheduled"), 6_400);
    // Validation asks the target before the phase; the first request of the load follows the others' by its lead.
    let first = core.stop().iter().map(|line| line.arrival_mono_ns).min().unwrap();
    let first_ms = (first - begun_ns) / 1_000_000;
    let mut row = format!("{workers:>7} {first_ms:>13} {:>9.1}", whole - 16.0);
    for name in ["gauntlet load", "gauntlet scheduler", "gauntlet metrics"] {
        let (a, b) = (before[name], after[name]);
        let each = |now: u64, then: u64| (now - then) as f64 / seconds / a.clients as f64;
        row += &format!(
            " | {:>6.1} {:>6.1} {:>8.0} {:>8.0}",
            each(b.said, a.said),
            each(b.heard, a.heard),
            each(b.said_bytes, a.said_bytes),
            each(b.heard_bytes, a.heard_bytes)
        );
    }
    row
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

fn pass(time: Duration) {
    let start = Instant::now();
    gauntlet_tests::wait::until(
        "time to pass",
        time * 2 + Duration::from_secs(5),
        || (start.elapsed() >= time).then_some(()),
        String::new,
    );
}

#[test]
#[ignore = "measures for minutes: cargo xtask bench control-plane"]
fn control_plane() {
    let part = "said/s heard/s said B/s heard B/s";
    println!("          first request  overhead | each load-worker {part:>12} | scheduler | metrics");
    println!("workers              ms         s | {part} | {part} | {part}");
    for workers in WORKERS {
        println!("{}", measure(workers));
    }
}
