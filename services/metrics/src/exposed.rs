//! What Prometheus is shown of a run: counters that only grow, kept as batches come, so that a scrape adds nothing up.

use std::collections::BTreeMap;

use protocol::v1;
use series::{Counts, Hist};

use crate::state::{Decoded, SeriesKey};

/// Upper ends of the buckets for latencies, µs.
const LATENCY_US: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    750_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
/// Upper ends of the buckets for send lag, ns.
const LAG_NS: [u64; 10] =
    [1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// A histogram in fixed buckets, for Prometheus alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    /// Values a second.
    unit: f64,
    at_most: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Buckets {
    const fn new(bounds: &'static [u64], unit: f64) -> Self {
        Self { bounds, unit, at_most: Vec::new(), count: 0, sum: 0.0 }
    }

    fn add(&mut self, hist: &Hist) {
        self.at_most.resize(self.bounds.len(), 0);
        for (sum, count) in self.at_most.iter_mut().zip(hist.cumulative(self.bounds)) {
            *sum += count;
        }
        self.count += hist.len();
        self.sum += hist.mean().unwrap_or(0.0) * hist.len() as f64 / self.unit;
    }

    /// Sum in seconds, count, and for each bucket its upper end in seconds and the values in it alone.
    pub(crate) fn shown(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len() + 1);
        for (index, bound) in self.bounds.iter().enumerate() {
            let at_most = self.at_most.get(index).copied().unwrap_or(0);
            buckets.push((*bound as f64 / self.unit, at_most - below));
            below = at_most;
        }
        buckets.push((f64::INFINITY, self.count - below));
        (self.sum, self.count, buckets)
    }
}

/// One series as Prometheus sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) counts: Counts,
    pub(crate) failures: BTreeMap<String, u64>,
    /// By first digit of the status.
    pub(crate) statuses: BTreeMap<u32, u64>,
    pub(crate) checks_passed: u64,
    pub(crate) checks_failed: u64,
    pub(crate) latency: Buckets,
    pub(crate) service: Buckets,
    pub(crate) queue: Buckets,
}

impl Default for Shown {
    fn default() -> Self {
        let micros = || Buckets::new(&LATENCY_US, 1e6);
        Self {
            counts: Counts::default(),
            failures: BTreeMap::new(),
            statuses: BTreeMap::new(),
            checks_passed: 0,
            checks_failed: 0,
            latency: micros(),
            service: micros(),
            queue: micros(),
        }
    }
}

/// A run as Prometheus sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exposed {
    pub(crate) series: BTreeMap<SeriesKey, Shown>,
    pub(crate) send_lag: Buckets,
    pub(crate) dropped: u64,
    pub(crate) batches: u64,
    /// By scenario and kind.
    pub(crate) faults: BTreeMap<(u32, String), u64>,
}

impl Default for Exposed {
    fn default() -> Self {
        Self {
            series: BTreeMap::new(),
            send_lag: Buckets::new(&LAG_NS, 1e9),
            dropped: 0,
            batches: 0,
            faults: BTreeMap::new(),
        }
    }
}

impl Exposed {
    /// Adds a part.
    pub(crate) fn add(&mut self, part: &Decoded) {
        self.batches += 1;
        for (series, merged) in part.batch.series.iter().zip(&part.sums) {
            let shown = self.series.entry(SeriesKey::of(series)).or_default();
            shown.counts.add(&merged.counts);
            for (class, count) in &merged.errors {
                *shown.failures.entry(class.clone()).or_default() += count;
            }
            for (status, count) in &merged.statuses {
                *shown.statuses.entry(status / 100).or_default() += count;
            }
            for checks in merged.checks.values() {
                shown.checks_passed += checks.passed;
                shown.checks_failed += checks.failed;
            }
            shown.latency.add(&merged.latency);
            shown.service.add(&merged.service);
            shown.queue.add(&merged.queue);
        }
        if part.is_head() {
            self.dropped += part.batch.arrivals.unwrap_or_default().dropped;
            part.lags.iter().for_each(|lag| self.send_lag.add(lag));
        }
    }

    /// Adds a guest fault.
    pub(crate) fn add_fault(&mut self, fault: &v1::GuestFault) {
        *self.faults.entry((fault.scenario, fault.kind.clone())).or_default() += 1;
    }
}
