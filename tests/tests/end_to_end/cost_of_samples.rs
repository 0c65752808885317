//! What it costs the metrics service to apply the samples of many load-workers, and whether it keeps up on one core. Measures,
//! and asserts nothing but that all were applied: `cargo xtask bench samples` prints the table. With `GAUNTLET_BENCH_JSON` =
//! a path it is written there, too, for machines.
//!
//! The workers are simulated, for a thousand real ones have no place on one host: each says a batch a second by the same
//! bus, at its own moment of the second. NATS, PostgreSQL and the metrics service are the real ones, on this host: the metrics
//! service has a core to itself, all the others share the rest. So a service that falls behind with its core full is too slow,
//! and one that does so with time to spare waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, NatsOptions};
use gauntlet_tests::suite::Suite;
use gauntlet_tests::{Alone, wait};
use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;
use series::{Hist, Merged};
use store::RecordKey;

const WORKERS: [u32; 5] = [50, 100, 200, 500, 1_000];
/// How long they say samples.
const SECONDS: u32 = 20;
/// Series of a batch, with two histograms each; a thread's send lag is one more.
const SERIES: u32 = 5;
/// Values in each histogram.
const VALUES: u64 = 1_000;
/// Batches that differ; a worker says each in turn.
const DIFFERENT: u64 = 40;

/// A log-normal value: median 20 ms, a tenth over 52 ms; in microseconds.
fn latency(key: u64, n: u64) -> u64 {
    let uniform = |n| (draws::at(key, n) >> 11) as f64 / (1_u64 << 53) as f64;
    let normal =
        (-2.0 * (1.0 - uniform(2 * n)).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * n + 1)).cos();
    (20_000.0 * (0.75 * normal).exp()) as u64
}

fn batch(seed: u64) -> v1::SampleBatch {
    let series = (0..SERIES).map(|step| {
        let mut sum = Merged::new();
        for n in 0..VALUES {
            let value = latency(seed, u64::from(step) * VALUES + n);
            sum.service.record(value);
            sum.latency.record(value + 100);
        }
        sum.counts.started = VALUES;
        sum.counts.answered = VALUES;
        sum.counts.requests = VALUES;
        sum.counts.good = VALUES;
        sum.statuses.insert(200, VALUES);
        sum.to_proto(0, step, 0)
    });
    let mut lag = Hist::nanos();
    (0..VALUES).for_each(|n| lag.record(latency(seed ^ 1, n)));
    let sent = u64::from(SERIES) * VALUES;
    v1::SampleBatch {
        series: series.collect(),
        threads: vec![v1::ThreadStats { send_lag: Some(lag.encode()), busy: 0.5, ..Default::default() }],
        arrivals: Some(v1::ArrivalCounts {
            scheduled: sent,
            started: sent,
            answered: sent,
            ..Default::default()
        }),
        wanted_rate: sent as f64,
        interval_ns: 1_000_000_000,
        parts: 1,
        ..Default::default()
    }
}

/// What all workers have said.
#[derive(Default)]
struct Said {
    batches: AtomicU64,
    /// The longest that it took from when a batch was due until the log had it, milliseconds.
    latest_ms: AtomicU64,
}

/// One worker's life: a batch a second, until all are said.
async fn say(
    bus: Bus,
    run: RunId,
    batches: Arc<Vec<v1::SampleBatch>>,
    begin: tokio::time::Instant,
    said: Arc<Said>,
) {
    let (worker, incarnation) = (WorkerId::new(), IncarnationId::new());
    let bytes = |id: Vec<u8>| <[u8; 16]>::try_from(id).unwrap();
    let (producer, incarnation) = (bytes(worker.to_bytes()), bytes(incarnation.to_bytes()));
    for second in 0..SECONDS {
        let due = begin + Duration::from_secs(u64::from(second));
        tokio::time::sleep_until(due).await;
        let mut batch = batches[second as usize % batches.len()].clone();
        batch.run = run.to_bytes();
        batch.worker = producer.to_vec();
        batch.start_offset_ns = u64::from(second) * 1_000_000_000;
        let key = RecordKey { producer, incarnation, sequence: u64::from(second) + 1, part: 0 };
        bus.record(&key, &batch).await.unwrap();
        said.batches.fetch_add(1, Ordering::Relaxed);
        said.latest_ms.fetch_max(due.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// Records of the log of samples that are not acknowledged.
async fn unacknowledged(client: &reqwest::Client, monitor: u16) -> u64 {
    let url = format!("http://127.0.0.1:{monitor}/jsz?consumers=true");
    let jsz: serde_json::Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    let streams = jsz["account_details"][0]["stream_detail"].as_array().unwrap();
    let consumers =
        streams.iter().flat_map(|stream| stream["consumer_detail"].as_array().into_iter().flatten());
    consumers
        .filter(|consumer| consumer["stream_name"].as_str().is_some_and(|name| name.contains("samples")))
        .map(|consumer| {
            consumer["num_pending"].as_u64().unwrap() + consumer["num_ack_pending"].as_u64().unwrap()
        })
        .sum()
}

/// CPU time of a process so far, user and system, seconds.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

/// CPU time of a core so far, whoever used it, seconds: all but idle and waiting for disks.
fn cpu_of_core(core: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} "))).unwrap();
    let ticks: Vec<u64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().map(|&field| ticks[field]).sum();
    busy as f64 / 100.0
}

/// Resident memory of a process, MiB.
fn memory(pid: u32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / f64::from(1 << 20)
}

/// The cores that this test may use: one for the metrics service, the rest for all others; where there is only one, they
/// share it.
fn cores() -> (usize, CpuSet) {
    let mut rest = sched_getaffinity(None).unwrap();
    let own = (0..CpuSet::MAX_CPU).find(|&core| rest.is_set(core)).unwrap();
    if rest.count() > 1 {
        rest.unset(own);
    }
    (own, rest)
}

/// Moves a process to a core, with all its threads: a new one has the cores of the thread that began it, so it is done
/// when a look finds none elsewhere.
fn move_to(pid: u32, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let look = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let ids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
        let ids = ids.map(|id| Pid::from_raw(id).unwrap());
        // One that has ended meanwhile has no cores.
        let elsewhere = ids.filter(|id| sched_getaffinity(Some(*id)).is_ok_and(|found| found != cores));
        let elsewhere: Vec<Pid> = elsewhere.collect();
        for id in &elsewhere {
            let moved = sched_setaffinity(Some(*id), &cores);
            assert!(matches!(moved, Ok(()) | Err(rustix::io::Errno::SRCH)), "{moved:?}");
        }
        elsewhere.is_empty().then_some(())
    };
    wait::until("all threads on their core", Duration::from_secs(10), look, || format!("process {pid}"));
}

/// What was measured with so many workers.
struct Row {
    workers: u32,
    /// CPU time of the metrics service as a share of a core, from the first batch until all were applied.
    cores_used: f64,
    /// The same of all others that were on its core.
    others_on_its_core: f64,
    cpu_us_a_batch: f64,
    /// The longest from when a batch was due until the log had it, seconds.
    said_late_s: f64,
    /// Batches in the log that were not applied: the most at any look, and when the last had been said.
    most_unapplied: u64,
    unapplied_at_the_end: u64,
    /// From when the last had been said until all were applied, seconds.
    applied_after_s: f64,
    memory_mib: f64,
}

impl Row {
    /// Whether the service keeps up with so many: when the last batch is said, no more wait than are said in a second.
    fn keeps_up(&self) -> &'static str {
        if self.said_late_s > 1.0 {
            // What was measured is less than it should have been.
            "unknown: the others' cores did not say them in time"
        } else if self.unapplied_at_the_end <= u64::from(self.workers) {
            "yes"
        } else if self.others_on_its_core > 0.2 {
            "unknown: others used its core"
        } else if self.cores_used > 0.9 {
            "no: its core was full"
        } else {
            "no, though its core was not full: it waited for NATS or PostgreSQL"
        }
    }

    fn shown(&self) -> String {
        format!(
            "| {} | {:.2} | {:.2} | {:.0} | {:.2} | {} | {} | {:.1} | {:.0} | {} |",
            self.workers,
            self.cores_used,
            self.others_on_its_core,
            self.cpu_us_a_batch,
            self.said_late_s,
            self.most_unapplied,
            self.unapplied_at_the_end,
            self.applied_after_s,
            self.memory_mib,
            self.keeps_up(),
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "workers": self.workers,
            "cores_used": self.cores_used,
            "others_on_its_core": self.others_on_its_core,
            "cpu_us_per_batch": self.cpu_us_a_batch,
            "said_late_s": self.said_late_s,
            "most_unapplied": self.most_unapplied,
            "unapplied_at_the_end": self.unapplied_at_the_end,
            "applied_after_s": self.applied_after_s,
            "memory_mib": self.memory_mib,
            "keeps_up": self.keeps_up(),
        })
    }
}

/// Measures with so many workers, the metrics service on this core.
fn measure(workers: u32, batches: &Arc<Vec<v1::SampleBatch>>, core: usize) -> Row {
    let dir = Alone::new();
    let suite = Suite::monitored(dir.path(), 0);
    let (_, pid) = suite.pids().into_iter().find(|(name, _)| name == "metrics").unwrap();
    move_to(pid, core);
    let monitor = suite.nats.monitor().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = Arc::new(Said::default());
    let (before, core_before, begun) = (cpu(pid), cpu_of_core(core), Instant::now());
    let (most, at_the_end, late) = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        let options = NatsOptions::new(&suite.nats.url(), "simulated-workers", dir.path().join("objects"));
        let bus = Bus::connect(options).await.unwrap();
        let run = RunId::new();
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..workers {
            let begin = Duration::from_secs(1).mul_f64(f64::from(worker) / f64::from(workers));
            let begin = tokio::time::Instant::now() + begin;
            tasks.spawn(say(bus.clone(), run, Arc::clone(batches), begin, Arc::clone(&said)));
        }
        let mut most = 0;
        let mut every = tokio::time::interval(Duration::from_millis(500));
        while !tasks.is_empty() {
            tokio::select! {
                ended = tasks.join_next() => ended.unwrap().unwrap(),
                _ = every.tick() => most = most.max(unacknowledged(&client, monitor).await),
            }
        }
        let all_said = Instant::now();
        let at_the_end = unacknowledged(&client, monitor).await;
        assert_eq!(said.batches.load(Ordering::Relaxed), u64::from(workers * SECONDS));
        tokio::time::timeout(Duration::from_secs(300), async {
            while unacknowledged(&client, monitor).await > 0 {
                every.tick().await;
            }
        })
        .await
        .expect("the metrics service applies what was said within 300 s");
        (most.max(at_the_end), at_the_end, all_said.elapsed())
    });
    let (used, core_used, seconds) =
        (cpu(pid) - before, cpu_of_core(core) - core_before, begun.elapsed().as_secs_f64());
    Row {
        workers,
        cores_used: used / seconds,
        others_on_its_core: (core_used - used).max(0.0) / seconds,
        cpu_us_a_batch: used / f64::from(workers * SECONDS) * 1e6,
        said_late_s: said.latest_ms.load(Ordering::Relaxed) as f64 / 1e3,
        most_unapplied: most,
        unapplied_at_the_end: at_the_end,
        applied_after_s: late.as_secs_f64(),
        memory_mib: memory(pid),
    }
}

#[test]
#[ignore = "measures for minutes: cargo xtask bench samples"]
fn samples() {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (own, rest) = cores();
    // What this thread starts from now on stays there, PostgreSQL and NATS among it.
    sched_setaffinity(None, &rest).unwrap();
    let batches: Arc<Vec<_>> = Arc::new((0..DIFFERENT).map(batch).collect());
    let bytes: usize = batches.iter().map(prost::Message::encoded_len).sum();
    let kilobytes = bytes as f64 / batches.len() as f64 / 1e3;
    let shared = rest.is_set(own);
    println!(
        "Each worker says one batch a second for {SECONDS} s: 11 histograms of {VALUES} values, {kilobytes:.1} kB. Programs: \
         {profile}. The metrics service has one core{}.",
        if shared { ", with all the others on it, for there is no second one" } else { " to itself" }
    );
    println!();
    println!(
        "| workers | cores used | by others of its core | CPU a batch, µs | said late, s | most unapplied | unapplied after the last | all applied so long after it, s | memory, MiB | keeps up on one core |"
    );
    println!("|{}", "---|".repeat(10));
    let mut rows = Vec::new();
    for workers in WORKERS {
        let row = measure(workers, &batches, own);
        println!("{}", row.shown());
        rows.push(row.json());
    }
    if let Some(path) = std::env::var_os("GAUNTLET_BENCH_JSON") {
        let text = json!({
            "profile": profile,
            "seconds": SECONDS,
            "kilobytes_per_batch": kilobytes,
            "core_to_itself": !shared,
            "rows": rows,
        });
        std::fs::write(&path, format!("{text:#}\n")).unwrap();
        println!("\nWrote {}.", std::path::Path::new(&path).display());
    }
}
