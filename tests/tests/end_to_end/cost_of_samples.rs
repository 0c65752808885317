//! What it costs the metrics service to apply the samples of many load-workers. Measures, and asserts nothing but that all were
//! applied: `cargo xtask bench samples` prints the table.
//!
//! The workers are simulated, for a thousand real ones have no place on one host: each says a batch a second by the same
//! bus, at its own moment of the second. NATS, PostgreSQL and the metrics service are the real ones, on this host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, NatsOptions};
use gauntlet_tests::Alone;
use gauntlet_tests::suite::Suite;
use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;
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

/// One worker's life: a batch a second, until all are said.
async fn say(
    bus: Bus,
    run: RunId,
    batches: Arc<Vec<v1::SampleBatch>>,
    begin: tokio::time::Instant,
    said: Arc<AtomicU64>,
) {
    let (worker, incarnation) = (WorkerId::new(), IncarnationId::new());
    let bytes = |id: Vec<u8>| <[u8; 16]>::try_from(id).unwrap();
    let (producer, incarnation) = (bytes(worker.to_bytes()), bytes(incarnation.to_bytes()));
    for second in 0..SECONDS {
        tokio::time::sleep_until(begin + Duration::from_secs(u64::from(second))).await;
        let mut batch = batches[second as usize % batches.len()].clone();
        batch.run = run.to_bytes();
        batch.worker = producer.to_vec();
        batch.start_offset_ns = u64::from(second) * 1_000_000_000;
        let key = RecordKey { producer, incarnation, sequence: u64::from(second) + 1, part: 0 };
        bus.record(&key, &batch).await.unwrap();
        said.fetch_add(1, Ordering::Relaxed);
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

/// Resident memory of a process, MiB.
fn memory(pid: u32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / f64::from(1 << 20)
}

/// A row of the table.
fn measure(workers: u32, batches: &Arc<Vec<v1::SampleBatch>>) -> String {
    let dir = Alone::new();
    let suite = Suite::monitored(dir.path(), 0);
    let (_, pid) = suite.pids().into_iter().find(|(name, _)| name == "metrics").unwrap();
    let monitor = suite.nats.monitor().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (before, begun) = (cpu(pid), Instant::now());
    let (most, late) = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        let options = NatsOptions::new(&suite.nats.url(), "simulated-workers", dir.path().join("objects"));
        let bus = Bus::connect(options).await.unwrap();
        let (run, said) = (RunId::new(), Arc::new(AtomicU64::new(0)));
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
        assert_eq!(said.load(Ordering::Relaxed), u64::from(workers * SECONDS));
        tokio::time::timeout(Duration::from_secs(300), async {
            while unacknowledged(&client, monitor).await > 0 {
                every.tick().await;
            }
        })
        .await
        .expect("the metrics service applies what was said within 300 s");
        (most, all_said.elapsed())
    });
    let samples = f64::from(workers * SECONDS);
    let used = cpu(pid) - before;
    format!(
        "| {workers} | {:.2} | {:.0} | {most} | {:.1} | {:.0} |",
        used / (begun.elapsed().as_secs_f64()),
        used / samples * 1e6,
        late.as_secs_f64(),
        memory(pid),
    )
}

#[test]
#[ignore = "measures for minutes: cargo xtask bench samples"]
fn samples() {
    let batches: Arc<Vec<_>> = Arc::new((0..DIFFERENT).map(batch).collect());
    let bytes: usize = batches.iter().map(prost::Message::encoded_len).sum();
    println!(
        "Each worker says one batch a second for {SECONDS} s: 11 histograms of {VALUES} values, {:.1} kB.",
        bytes as f64 / batches.len() as f64 / 1e3
    );
    println!();
    println!(
        "| workers | cores used | CPU a batch, µs | most unapplied | applied so long after the last, s | memory, MiB |"
    );
    println!("|{}", "---|".repeat(6));
    for workers in WORKERS {
        println!("{}", measure(workers, &batches));
    }
}
