//! Series as `metrics` would answer: a steady load, well served.

use protocol::id::WorkerId;
use protocol::v1;
use series::{Hist, Merged};

/// Operations of one second of a steady load.
pub(crate) const RATE: u64 = 100;

fn merged(operations: u64) -> v1::Series {
    let mut merged = Merged::new();
    merged.counts.started = operations;
    merged.counts.answered = operations;
    merged.counts.good = operations;
    merged.counts.requests = operations;
    merged.latency.record_n(2_000, operations);
    merged.service.record_n(1_900, operations);
    merged.queue.record_n(0, operations);
    merged.to_proto(0, 0, 0)
}

fn counts(operations: u64) -> v1::ArrivalCounts {
    v1::ArrivalCounts {
        scheduled: operations,
        started: operations,
        answered: operations,
        ..Default::default()
    }
}

/// A stretch of so many seconds.
pub(crate) fn aggregate(seconds: u64) -> v1::Aggregate {
    let operations = RATE * seconds;
    let mut lag = Hist::nanos();
    lag.record_n(50_000, operations);
    v1::Aggregate {
        to_offset_ns: seconds * 1_000_000_000,
        wanted_rate: 100.0,
        arrivals: Some(counts(operations)),
        total: Some(merged(operations)),
        send_lag: Some(lag.encode()),
        busy_max: 0.2,
        ..Default::default()
    }
}

/// A whole phase.
pub(crate) fn phase(phase: u32, seconds: u64, t0_unix_ns: i64) -> v1::PhaseSeries {
    let second = |at: u64| v1::Second {
        offset_ns: at * 1_000_000_000,
        length_ns: 1_000_000_000,
        wanted_rate: 100.0,
        arrivals: Some(counts(RATE)),
        good: RATE,
        latency_us: vec![2_000; 6],
        service_us: vec![1_900; 6],
        queue_us: vec![0; 6],
        busy_max: 0.2,
        ..Default::default()
    };
    let metric = |name: &str, value: f64, step: f64| v1::TargetMetric {
        name: name.to_owned(),
        instance: "app".to_owned(),
        points: (0..=seconds)
            .map(|at| v1::MetricPoint {
                at_unix_ns: t0_unix_ns + i64::try_from(at * 1_000_000_000).unwrap(),
                #[expect(clippy::cast_precision_loss, reason = "small")]
                value: value + step * at as f64,
            })
            .collect(),
    };
    v1::PhaseSeries {
        phase,
        series: vec![merged(RATE * seconds)],
        total: Some(v1::Aggregate { phase, ..aggregate(seconds) }),
        seconds: (0..seconds).map(second).collect(),
        targets: vec![v1::TargetSamples {
            target: 0,
            metrics: vec![
                metric("cpu", 0.15, 0.0),
                metric("memory", 0.25, 0.0),
                metric("requests", 7.0, 100.0),
            ],
            probes: seconds + 1,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A phase in which nothing was sent.
pub(crate) fn idle(index: u32, seconds: u64, t0_unix_ns: i64) -> v1::PhaseSeries {
    let loaded = phase(index, seconds, t0_unix_ns);
    v1::PhaseSeries { phase: index, targets: loaded.targets, ..Default::default() }
}

/// All batches of a worker arrived.
pub(crate) fn progress(worker: WorkerId, last_sequence: u64, last: bool) -> v1::WorkerProgress {
    v1::WorkerProgress {
        worker: worker.to_bytes(),
        incarnation: vec![1; 16],
        last_sequence,
        last,
        batches: 1,
        ..v1::WorkerProgress::default()
    }
}
