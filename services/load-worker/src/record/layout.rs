//! Which series a run has, and where in the spool each of their counts lies.

use serde::{Deserialize, Serialize};
use series::hdr::{HIGHEST_NS, HIGHEST_US, counts_for};

/// Statuses 0 … 999 have a count each; higher ones share the last.
pub(super) const STATUSES: u32 = 1_000;
/// Failure classes that have a count; `FailureClass` is append-only and has seven so far.
pub(super) const CLASSES: u32 = 16;

/// The shape of a run's samples: scenarios with their steps, targets, checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    scenarios: Vec<ScenarioLayout>,
    /// First series of each scenario.
    first: Vec<u32>,
}

/// A scenario's part of the layout, over all phases of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioLayout {
    /// Steps.
    pub steps: u32,
    /// Indices of its targets in the plan.
    pub targets: Vec<u32>,
    /// Checks.
    pub checks: u32,
    /// The guest's own metrics.
    pub metrics: u32,
}

/// What a series index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    /// Index of the scenario in the plan.
    pub scenario: u32,
    /// Step among the run's steps of the scenario.
    pub step: u32,
    /// Index of the target in the plan.
    pub target: u32,
}

impl Layout {
    /// The layout of these scenarios, in the plan's order.
    #[must_use]
    pub fn new(scenarios: Vec<ScenarioLayout>) -> Self {
        let mut next = 0;
        let first = scenarios
            .iter()
            .map(|s| {
                let this = next;
                next += s.steps * s.targets.len() as u32;
                this
            })
            .collect();
        Self { scenarios, first }
    }

    /// The series of a step of a scenario towards one of its endpoints (an index into the scenario's targets).
    #[must_use]
    pub fn series(&self, scenario: u32, step: u32, endpoint: u32) -> Option<u32> {
        let s = self.scenarios.get(scenario as usize)?;
        let targets = s.targets.len() as u32;
        let known = step < s.steps && endpoint < targets;
        known.then(|| self.first.get(scenario as usize).map(|first| first + step * targets + endpoint))?
    }

    /// Number of series.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.scenarios.iter().map(|s| s.steps * s.targets.len() as u32).sum()
    }

    /// Whether there is no series at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All series in order, each with its scenario's layout.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SeriesKey, &ScenarioLayout)> {
        self.scenarios.iter().enumerate().flat_map(|(scenario, s)| {
            (0..s.steps).flat_map(move |step| {
                s.targets
                    .iter()
                    .map(move |target| (SeriesKey { scenario: scenario as u32, step, target: *target }, s))
            })
        })
    }

    /// First series of each scenario: where what has no step yet is counted.
    pub(super) fn first_series(&self) -> &[u32] {
        &self.first
    }
}

/// Words of a half's head and of the thread's own counters, by offset from the half's begin.
pub(super) mod word {
    /// Free, open or quiet.
    pub(in crate::record) const STATE: usize = 0;
    /// Sequence of the batch that the half belongs to.
    pub(in crate::record) const SEQUENCE: usize = 1;
    /// Index of the phase.
    pub(in crate::record) const PHASE: usize = 2;
    /// Begin of the interval, nanoseconds from the phase's t0.
    pub(in crate::record) const START: usize = 3;
    /// The last that the thread saw of the clock in this interval, the same way.
    pub(in crate::record) const END: usize = 4;
    /// Whether the phase goes on: one of [`super::last`].
    pub(in crate::record) const LAST: usize = 5;
    /// `ArrivalCounts.scheduled`, and so on.
    pub(in crate::record) const SCHEDULED: usize = 8;
    pub(in crate::record) const DROPPED: usize = 9;
    pub(in crate::record) const DROPPED_BY_GENERATOR: usize = 10;
    pub(in crate::record) const WAITING: usize = 11;
    pub(in crate::record) const IN_FLIGHT: usize = 12;
    pub(in crate::record) const USERS_ACTIVE: usize = 13;
    pub(in crate::record) const CONNECTIONS: usize = 14;
    pub(in crate::record) const CONNECTS: usize = 15;
    pub(in crate::record) const CONNECT_FAILURES: usize = 16;
    pub(in crate::record) const GUEST_CALLS: usize = 17;
    pub(in crate::record) const GUEST_NS: usize = 18;
    pub(in crate::record) const TRAPS: usize = 19;
    pub(in crate::record) const BUSY_NS: usize = 20;
    pub(in crate::record) const TOTAL_NS: usize = 21;
    /// `WAITING` and `IN_FLIGHT` as they were when the interval began: what a killed worker left in progress follows from
    /// these and the interval's counts, while its gauges may lag behind them.
    pub(in crate::record) const WAITING_BEFORE: usize = 22;
    pub(in crate::record) const IN_FLIGHT_BEFORE: usize = 23;
    /// Where the send-lag histogram begins.
    pub(in crate::record) const HEAD: usize = 24;
}

/// Counters of a series, by offset from its begin.
pub(super) mod count {
    pub(in crate::record) const STARTED: usize = 0;
    pub(in crate::record) const ANSWERED: usize = 1;
    pub(in crate::record) const FAILED: usize = 2;
    pub(in crate::record) const CANCELLED: usize = 3;
    pub(in crate::record) const REQUESTS: usize = 4;
    pub(in crate::record) const RETRIES: usize = 5;
    pub(in crate::record) const BYTES_SENT: usize = 6;
    pub(in crate::record) const BYTES_RECEIVED: usize = 7;
    pub(in crate::record) const GOOD: usize = 8;
    /// Arrivals of the scenario that were dropped: in its first series only.
    pub(in crate::record) const DROPPED: usize = 9;
    /// Answered with a status of 400 or above or a broken check.
    pub(in crate::record) const BAD: usize = 10;
    pub(in crate::record) const COUNTERS: usize = 11;
}

/// Whether a half's phase goes on.
pub(super) mod last {
    /// It does.
    pub(in crate::record) const RUNNING: u64 = 0;
    /// It is over on this thread, and this half is the last that the thread has to say of it.
    pub(in crate::record) const OVER: u64 = 1;
    /// The half was opened after that: it belongs to no phase.
    pub(in crate::record) const BETWEEN: u64 = 2;
}

/// A flat histogram: clamped, lowest index plus one (0 = empty), highest index, one word unused, then the counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistAt {
    /// Offset of its head in words.
    pub(super) at: usize,
    /// Number of counts.
    pub(super) counts: u32,
    /// Values above are counted as this one, and as clamped.
    pub(super) highest: u64,
}

impl HistAt {
    pub(super) const CLAMPED: usize = 0;
    pub(super) const LOWEST_PLUS_1: usize = 1;
    pub(super) const HIGHEST: usize = 2;
    pub(super) const HEAD: usize = 4;

    const fn words(self) -> usize {
        Self::HEAD + self.counts.div_ceil(2) as usize
    }
}

/// Where a series' parts lie, in words from the half's begin.
#[derive(Clone, Debug)]
pub(super) struct SeriesAt {
    pub(super) counters: usize,
    pub(super) classes: usize,
    /// Pairs of passed and failed.
    pub(super) checks: usize,
    pub(super) check_count: u32,
    /// Counts of 32 bits.
    pub(super) statuses: usize,
    pub(super) latency: HistAt,
    pub(super) service: HistAt,
    pub(super) queue: HistAt,
    pub(super) first_byte: HistAt,
    pub(super) metrics: Vec<HistAt>,
}

/// Where everything of a half lies.
#[derive(Clone, Debug)]
pub(super) struct HalfAt {
    pub(super) send_lag: HistAt,
    pub(super) series: Vec<SeriesAt>,
    pub(super) first_series: Vec<u32>,
    /// Length of a half in words, whole pages.
    pub(super) words: usize,
}

/// Words of a page.
pub(super) const PAGE: usize = 512;

impl HalfAt {
    pub(super) fn of(layout: &Layout) -> Self {
        let mut next = word::HEAD;
        let mut take = |words: usize| {
            let at = next;
            next += words;
            at
        };
        let mut hist = |highest| {
            let mut h = HistAt { at: 0, counts: counts_for(highest), highest };
            h.at = take(h.words());
            h
        };
        let send_lag = hist(HIGHEST_NS);
        let mut series = Vec::with_capacity(layout.len() as usize);
        for (_, scenario) in layout.iter() {
            let latency = hist(HIGHEST_US);
            let service = hist(HIGHEST_US);
            let queue = hist(HIGHEST_US);
            let first_byte = hist(HIGHEST_US);
            let metrics = (0..scenario.metrics).map(|_| hist(HIGHEST_US)).collect();
            series.push(SeriesAt {
                counters: 0,
                classes: 0,
                checks: 0,
                check_count: scenario.checks,
                statuses: 0,
                latency,
                service,
                queue,
                first_byte,
                metrics,
            });
        }
        for s in &mut series {
            s.counters = take(count::COUNTERS);
            s.classes = take(CLASSES as usize);
            s.checks = take(2 * s.check_count as usize);
            s.statuses = take(STATUSES as usize / 2);
        }
        Self {
            send_lag,
            series,
            first_series: layout.first_series().to_vec(),
            words: next.div_ceil(PAGE) * PAGE,
        }
    }
}
