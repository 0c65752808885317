//! What thresholds read.

use plan::threshold::{Measure, Op, Threshold};
use protocol::v1;

use crate::hist::rank;
use crate::merged::Merged;

/// Percentile `q` (0 to 100) of latency from the intended time in microseconds, over the answered operations
/// and `lost` ones (dropped and failed), which are infinitely slow: [`f64::INFINITY`] when the rank falls
/// among them. NaN when there is neither.
#[must_use]
pub fn latency_percentile(merged: &Merged, lost: u64, q: f64) -> f64 {
    let answered = merged.latency.len();
    let all = answered.saturating_add(lost);
    if all == 0 {
        return f64::NAN;
    }
    merged.latency.at_rank(rank(q, all)).map_or(f64::INFINITY, |value| value as f64)
}

/// Share of ended or dropped arrivals that were dropped, failed, answered with status 400 or above, or broke
/// a check; 0 to 1, `None` when nothing ended. Cancelled operations are neither errors nor successes.
#[must_use]
pub fn error_share(merged: &Merged, dropped: u64) -> Option<f64> {
    let all = merged.ended() + dropped;
    (all > 0).then(|| (merged.error_count() + dropped) as f64 / all as f64)
}

/// Length of the stretch that an aggregate covers.
#[must_use]
pub fn seconds(aggregate: &v1::Aggregate) -> f64 {
    aggregate.to_offset_ns.saturating_sub(aggregate.from_offset_ns) as f64 / 1e9
}

/// The value that a threshold compares, in the unit of [`Threshold::limit`] (µs, shares 0 to 1, or a second).
///
/// The caller asks for the stretch, scenario, step and target that the threshold names and keeps to its
/// `delay`; here only its measure counts. `None` = nothing to evaluate yet: no value of the kind (operations,
/// checks, a wanted rate, time covered), or an aggregate whose histograms cannot be read. In latencies,
/// dropped and failed operations are infinite; service and queue times are those of answered ones.
#[must_use]
pub fn evaluate(threshold: &Threshold, aggregate: &v1::Aggregate) -> Option<f64> {
    let merged = match &aggregate.total {
        Some(total) => Merged::from_proto(total).ok()?,
        None => Merged::new(),
    };
    let arrivals = aggregate.arrivals.unwrap_or_default();
    let per_second = |count: u64| {
        let length = seconds(aggregate);
        (length > 0.0).then(|| count as f64 / length)
    };
    match threshold.measure {
        Measure::Latency { percentile } => {
            let lost = arrivals.dropped + merged.counts.failed;
            Some(latency_percentile(&merged, lost, percentile)).filter(|value| !value.is_nan())
        }
        Measure::Service { percentile } => merged.service.percentile(percentile).map(|value| value as f64),
        Measure::Queue { percentile } => merged.queue.percentile(percentile).map(|value| value as f64),
        Measure::Mean => merged.latency.mean(),
        Measure::ErrorRate => error_share(&merged, arrivals.dropped),
        Measure::Checks => merged.check_share(),
        Measure::Throughput => per_second(merged.counts.answered),
        Measure::Goodput => per_second(merged.counts.good),
        Measure::Dropped => Some(arrivals.dropped as f64),
        Measure::Achieved => {
            let wanted = aggregate.wanted_rate;
            (wanted > 0.0).then(|| per_second(arrivals.started).map(|rate| rate / wanted)).flatten()
        }
    }
}

/// Whether a value is on the right side of a limit. Nothing holds for NaN.
#[must_use]
pub fn holds(op: Op, value: f64, limit: f64) -> bool {
    match op {
        Op::Less => value < limit,
        Op::LessOrEqual => value <= limit,
        Op::Greater => value > limit,
        Op::GreaterOrEqual => value >= limit,
    }
}
