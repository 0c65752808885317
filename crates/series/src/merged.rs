//! Sums of series.

use std::collections::BTreeMap;

use protocol::v1;

use crate::hist::Hist;
use crate::v2::DecodeError;

/// The plain counts of a series. All are numbers of operations but the last five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations begun.
    pub started: u64,
    /// Operations with an answer, whatever its status.
    pub answered: u64,
    /// Operations without an answer.
    pub failed: u64,
    /// Operations given up by us: a guest fault or the end of a phase.
    pub cancelled: u64,
    /// Answered operations that broke no check.
    pub good: u64,
    /// Answered operations with status 400 or above or a broken check, each once.
    pub bad: u64,
    /// Arrivals of the scenario that were dropped.
    pub dropped: u64,
    /// Requests on the wire.
    pub requests: u64,
    /// Requests beyond the first of an operation's attempt.
    pub retries: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Bytes read.
    pub bytes_received: u64,
}

impl Counts {
    /// Adds another series' counts.
    pub fn add(&mut self, other: &Self) {
        let Self {
            started,
            answered,
            failed,
            cancelled,
            good,
            bad,
            dropped,
            requests,
            retries,
            bytes_sent,
            bytes_received,
        } = other;
        self.started += started;
        self.answered += answered;
        self.failed += failed;
        self.cancelled += cancelled;
        self.good += good;
        self.bad += bad;
        self.dropped += dropped;
        self.requests += requests;
        self.retries += retries;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
    }
}

/// How often a check passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// It held.
    pub passed: u64,
    /// It did not.
    pub failed: u64,
}

/// The sum of any number of series: counts added, histograms merged exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Plain counts.
    pub counts: Counts,
    /// From the intended send time to the last byte, µs.
    pub latency: Hist,
    /// From the actual send to the last byte, µs.
    pub service: Hist,
    /// From the intended send time to when a user and a connection were free, µs.
    pub queue: Hist,
    /// From the actual send to the first byte, µs.
    pub first_byte: Hist,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u32, u64>,
    /// Failed operations by class (the names of [`protocol::failure::FailureClass`]).
    pub errors: BTreeMap<String, u64>,
    /// Checks by the guest's index.
    pub checks: BTreeMap<u32, CheckCounts>,
    /// The guest's own metrics by its index, values times 1 000.
    pub observations: BTreeMap<u32, Hist>,
}

/// A histogram of a series that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("histogram `{which}` of series (scenario {scenario}, step {step}, target {target})")]
pub struct MergedDecodeError {
    which: &'static str,
    scenario: u32,
    step: u32,
    target: u32,
    source: DecodeError,
}

impl Default for Merged {
    fn default() -> Self {
        Self::new()
    }
}

impl Merged {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: Counts {
                started: 0,
                answered: 0,
                failed: 0,
                cancelled: 0,
                good: 0,
                bad: 0,
                dropped: 0,
                requests: 0,
                retries: 0,
                bytes_sent: 0,
                bytes_received: 0,
            },
            latency: Hist::micros(),
            service: Hist::micros(),
            queue: Hist::micros(),
            first_byte: Hist::micros(),
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            checks: BTreeMap::new(),
            observations: BTreeMap::new(),
        }
    }

    /// Reads one series.
    ///
    /// # Errors
    /// [`MergedDecodeError`] when one of its histograms cannot be read.
    pub fn from_proto(series: &v1::Series) -> Result<Self, MergedDecodeError> {
        let decode = |which, histogram: Option<&v1::Histogram>| {
            histogram.map_or(Ok(Hist::micros()), Hist::decode).map_err(|source| MergedDecodeError {
                which,
                scenario: series.scenario,
                step: series.step,
                target: series.target,
                source,
            })
        };
        let mut merged = Self {
            counts: Counts {
                started: series.started,
                answered: series.answered,
                failed: series.failed,
                cancelled: series.cancelled,
                good: series.good,
                bad: series.bad,
                dropped: series.dropped,
                requests: series.requests,
                retries: series.retries,
                bytes_sent: series.bytes_sent,
                bytes_received: series.bytes_received,
            },
            latency: decode("latency", series.latency.as_ref())?,
            service: decode("service", series.service.as_ref())?,
            queue: decode("queue", series.queue.as_ref())?,
            first_byte: decode("first_byte", series.first_byte.as_ref())?,
            ..Self::new()
        };
        for observation in &series.observations {
            let values = decode("observations", observation.values.as_ref())?;
            merged.observations.entry(observation.metric).or_insert_with(Hist::micros).absorb(values);
        }
        for status in &series.statuses {
            *merged.statuses.entry(status.status).or_default() += status.count;
        }
        for error in &series.errors {
            *merged.errors.entry(error.class.clone()).or_default() += error.count;
        }
        for check in &series.checks {
            let counts = merged.checks.entry(check.check).or_default();
            counts.passed += check.passed;
            counts.failed += check.failed;
        }
        Ok(merged)
    }

    /// Adds one series, whole or not at all.
    ///
    /// # Errors
    /// [`MergedDecodeError`] when one of its histograms cannot be read; nothing is added then.
    pub fn add_proto(&mut self, series: &v1::Series) -> Result<(), MergedDecodeError> {
        self.absorb(Self::from_proto(series)?);
        Ok(())
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.queue.add(&other.queue);
        self.first_byte.add(&other.first_byte);
        for (metric, values) in &other.observations {
            self.observations.entry(*metric).or_insert_with(Hist::micros).add(values);
        }
        self.add_plain(other);
    }

    /// Adds another sum that is not needed any more; into an empty one, its tables are taken over.
    pub fn absorb(&mut self, mut other: Self) {
        self.add_plain(&other);
        for (metric, values) in std::mem::take(&mut other.observations) {
            self.observations.entry(metric).or_insert_with(Hist::micros).absorb(values);
        }
        self.latency.absorb(other.latency);
        self.service.absorb(other.service);
        self.queue.absorb(other.queue);
        self.first_byte.absorb(other.first_byte);
    }

    fn add_plain(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (class, count) in &other.errors {
            match self.errors.get_mut(class) {
                Some(sum) => *sum += count,
                None => _ = self.errors.insert(class.clone(), *count),
            }
        }
        for (check, counts) in &other.checks {
            let sum = self.checks.entry(*check).or_default();
            sum.passed += counts.passed;
            sum.failed += counts.failed;
        }
    }

    /// As a message.
    #[must_use]
    pub fn to_proto(&self, scenario: u32, step: u32, target: u32) -> v1::Series {
        let Counts {
            started,
            answered,
            failed,
            cancelled,
            good,
            bad,
            dropped,
            requests,
            retries,
            bytes_sent,
            bytes_received,
        } = self.counts;
        v1::Series {
            scenario,
            step,
            target,
            started,
            answered,
            failed,
            cancelled,
            requests,
            retries,
            bytes_sent,
            bytes_received,
            good,
            bad,
            dropped,
            latency: Some(self.latency.encode()),
            service: Some(self.service.encode()),
            queue: Some(self.queue.encode()),
            first_byte: Some(self.first_byte.encode()),
            statuses: self
                .statuses
                .iter()
                .map(|(&status, &count)| v1::StatusCount { status, count })
                .collect(),
            errors: self
                .errors
                .iter()
                .map(|(class, &count)| v1::ErrorCount { class: class.clone(), count })
                .collect(),
            checks: self
                .checks
                .iter()
                .map(|(&check, counts)| v1::CheckCount {
                    check,
                    passed: counts.passed,
                    failed: counts.failed,
                })
                .collect(),
            observations: self
                .observations
                .iter()
                .map(|(&metric, values)| v1::Observation { metric, values: Some(values.encode()) })
                .collect(),
        }
    }

    /// Operations that ended with an answer or without, and were not given up by us.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.counts.answered + self.counts.failed
    }

    /// Answered operations that were wrong: status 400 or above or a broken check, each once. Where a worker
    /// did not count them, the larger of the two kinds.
    #[must_use]
    pub fn bad(&self) -> u64 {
        let broke_check = self.counts.answered.saturating_sub(self.counts.good);
        let status: u64 = self.statuses.range(400..).map(|(_, count)| count).sum();
        self.counts.bad.max(broke_check).max(status).min(self.counts.answered)
    }

    /// Operations that count as errors: failed, or answered wrongly. Dropped arrivals come on top.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.counts.failed + self.bad()
    }

    /// Share of checks that passed, 0 to 1; `None` when none was made.
    #[must_use]
    pub fn check_share(&self) -> Option<f64> {
        let (passed, failed) = self
            .checks
            .values()
            .fold((0, 0), |(passed, failed), counts| (passed + counts.passed, failed + counts.failed));
        let made = passed + failed;
        (made > 0).then(|| passed as f64 / made as f64)
    }
}
