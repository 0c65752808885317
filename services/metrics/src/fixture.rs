//! Batches for tests, with a reference sum made value by value.

use std::collections::BTreeMap;

use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;
use series::{CheckCounts, Hist, Merged};
use store::RecordKey;

use crate::state::{SECOND_NS, SeriesKey};

/// A worker that makes batches and remembers every value.
pub(crate) struct Worker {
    pub(crate) run: RunId,
    producer: [u8; 16],
    incarnation: [u8; 16],
    sequence: u64,
    random: u64,
    /// All values ever made, by series.
    pub(crate) truth: BTreeMap<SeriesKey, Merged>,
    pub(crate) lag: Hist,
}

pub(crate) const KEYS: [SeriesKey; 3] = [
    SeriesKey { scenario: 0, step: 0, target: 0 },
    SeriesKey { scenario: 0, step: 1, target: 0 },
    SeriesKey { scenario: 1, step: 0, target: 1 },
];

fn bytes(id: &[u8]) -> [u8; 16] {
    id.try_into().unwrap()
}

impl Worker {
    pub(crate) fn new(run: RunId, seed: u64) -> Self {
        Self {
            run,
            producer: bytes(&WorkerId::new().to_bytes()),
            incarnation: bytes(&IncarnationId::new().to_bytes()),
            sequence: 0,
            random: seed.wrapping_mul(2) + 1,
            truth: BTreeMap::new(),
            lag: Hist::nanos(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn values(&mut self, count: u64) -> Merged {
        let mut merged = Merged::new();
        for _ in 0..count {
            let service = 500 + self.draw(20_000);
            let queue = self.draw(3_000) / 2 * self.draw(2);
            merged.service.record(service);
            merged.queue.record(queue);
            merged.latency.record(service + queue);
            merged.first_byte.record(service / 2);
            let status = if self.draw(10) == 0 { 503 } else { 200 };
            *merged.statuses.entry(status).or_default() += 1;
            let checks: &mut CheckCounts = merged.checks.entry(0).or_default();
            if status == 200 {
                checks.passed += 1;
            } else {
                checks.failed += 1;
            }
            merged.counts.good += u64::from(status == 200);
            merged.counts.bad += u64::from(status != 200);
        }
        merged.counts.started = count + 1;
        merged.counts.answered = count;
        merged.counts.failed = 1;
        merged.counts.requests = count + 1;
        merged.counts.bytes_received = count * 100;
        merged.errors.insert("timeout".into(), 1);
        merged
    }

    /// The interval of one second: `count` answered and one failed operation for each series, one drop for the first.
    pub(crate) fn second(&mut self, phase: u32, second: u64, count: u64) -> (RecordKey, v1::SampleBatch) {
        let mut series = Vec::new();
        for key in KEYS {
            let mut merged = self.values(count);
            merged.counts.dropped = u64::from(key == KEYS[0]);
            self.truth.entry(key).or_default().add(&merged);
            series.push(merged.to_proto(key.scenario, key.step, key.target));
        }
        let mut lag = Hist::nanos();
        lag.record_n(20_000 + self.draw(50_000), count);
        self.lag.add(&lag);
        let keys = KEYS.len() as u64;
        let threads = vec![v1::ThreadStats {
            thread: 0,
            busy: 0.25,
            send_lag: Some(lag.encode()),
            connections_open: 5,
            connects: 1,
            guest_calls: 3,
            ..Default::default()
        }];
        self.sequence += 1;
        let batch = v1::SampleBatch {
            run: self.run.to_bytes(),
            worker: self.producer.to_vec(),
            phase,
            // As threads tremble.
            start_offset_ns: (second * SECOND_NS).saturating_sub(second % 3 * 1_000_000),
            interval_ns: SECOND_NS,
            series,
            threads,
            arrivals: Some(v1::ArrivalCounts {
                scheduled: keys * (count + 1) + 1,
                dropped: 1,
                waiting: 2,
                started: keys * (count + 1),
                answered: keys * count,
                failed: keys,
                in_flight: 4,
                ..Default::default()
            }),
            wanted_rate: (keys * (count + 1) + 1) as f64,
            part: 0,
            parts: 1,
            users_active: 7,
            ..Default::default()
        };
        (self.key(0), batch)
    }

    /// The same worker, started anew.
    pub(crate) fn next_life(&mut self) {
        (self.incarnation, self.sequence) = (bytes(&IncarnationId::new().to_bytes()), 0);
    }

    fn key(&self, part: u32) -> RecordKey {
        RecordKey { producer: self.producer, incarnation: self.incarnation, sequence: self.sequence, part }
    }

    /// Leaves a number out.
    pub(crate) fn skip(&mut self) {
        self.sequence += 1;
    }

    /// All values, of all series.
    pub(crate) fn total(&self) -> Merged {
        let mut total = Merged::new();
        self.truth.values().for_each(|merged| total.add(merged));
        total
    }
}

/// Divides a batch: each series in a part of its own, everything else in the first.
pub(crate) fn split((key, batch): (RecordKey, v1::SampleBatch)) -> Vec<(RecordKey, v1::SampleBatch)> {
    let parts = batch.series.len() as u32;
    (0..parts)
        .zip(batch.series.clone())
        .map(|(part, series)| {
            let mut own = v1::SampleBatch { series: vec![series], part, parts, ..batch.clone() };
            if part > 0 {
                own.threads.clear();
                own.arrivals = Some(v1::ArrivalCounts::default());
                own.wanted_rate = 0.0;
                own.users_active = 0;
            }
            (RecordKey { part, ..key }, own)
        })
        .collect()
}

/// Sums of several workers.
pub(crate) fn total_of(workers: &[&Worker]) -> Merged {
    let mut total = Merged::new();
    workers.iter().for_each(|worker| total.add(&worker.total()));
    total
}
