//! What can be read from a target's own metrics: growth of counters, means of gauges, instances that come and go.

use std::collections::BTreeMap;

use protocol::v1;

use crate::objectives::evidence::{Evidence, Measured};

/// Growth of a counter over its points. A restarted process counts from zero: a fall adds what it has counted since.
pub(crate) fn growth(points: &[v1::MetricPoint]) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let grown = points.windows(2).map(|pair| {
        let step = pair[1].value - pair[0].value;
        if step < 0.0 { pair[1].value } else { step }
    });
    Some(grown.sum())
}

/// Growth of a counter over the phase, by target and instance.
pub(crate) fn growth_by_instance(measured: &Measured, metric: &str) -> BTreeMap<(u32, String), f64> {
    let mut by_instance = BTreeMap::new();
    for (target, series) in metrics_named(measured, metric) {
        if let Some(grown) = growth(&series.points) {
            *by_instance.entry((target, series.instance.clone())).or_insert(0.0) += grown;
        }
    }
    by_instance
}

/// Growth of a counter over the phase, all targets and instances together; `None` when nobody reports it.
pub(crate) fn total_growth(measured: &Measured, metric: &str) -> Option<f64> {
    let by_instance = growth_by_instance(measured, metric);
    if by_instance.is_empty() { None } else { Some(by_instance.values().sum()) }
}

/// Mean of a gauge over the phase, by target: the mean of its instances' means.
pub(crate) fn mean_by_target(measured: &Measured, metric: &str) -> BTreeMap<u32, f64> {
    let mut means: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (target, series) in metrics_named(measured, metric) {
        if let Some(mean) = mean(series.points.iter().map(|point| point.value)) {
            means.entry(target).or_default().push(mean);
        }
    }
    means.into_iter().filter_map(|(target, values)| Some((target, mean(values.into_iter())?))).collect()
}

/// All series of one metric with their targets.
pub(crate) fn metrics_named<'m>(
    measured: &'m Measured,
    metric: &'m str,
) -> impl Iterator<Item = (u32, &'m v1::TargetMetric)> {
    measured.series.targets.iter().flat_map(move |target| {
        target
            .metrics
            .iter()
            .filter(move |series| series.name == metric)
            .map(move |series| (target.target, series))
    })
}

/// The mean, unless there is nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

/// The number of a target's instances changed in mid-phase.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling {
    /// The target's name.
    pub(crate) target: String,
    /// Offset of the last change from the phase's start, nanoseconds.
    pub(crate) at_ns: u64,
    /// Instances before the first change.
    pub(crate) before: usize,
    /// Instances after the last change.
    pub(crate) after: usize,
}

/// The first target whose instances changed: some instance's samples begin, or end, well inside the phase.
///
/// An instance counts as new (gone) when its first (last) sample is more than two of its target's sampling intervals
/// away from the phase's first (last) one.
pub(crate) fn scaling(evidence: &Evidence<'_>) -> Option<Scaling> {
    evidence.now.series.targets.iter().find_map(|target| {
        let lives = lives(target);
        let first = lives.values().map(|life| life.0).min()?;
        let last = lives.values().map(|life| life.1).max()?;
        let interval = target.metrics.iter().filter_map(|metric| shortest_interval(&metric.points)).min()?;
        let born: Vec<i64> =
            lives.values().map(|life| life.0).filter(|at| at - first > 2 * interval).collect();
        let died: Vec<i64> =
            lives.values().map(|life| life.1).filter(|at| last - at > 2 * interval).collect();
        let changed = born.iter().chain(&died).max()?;
        Some(Scaling {
            target: evidence.target_name(target.target).to_owned(),
            at_ns: u64::try_from(evidence.now.offset_of(*changed)).unwrap_or(0),
            before: lives.len() - born.len(),
            after: lives.len() - died.len(),
        })
    })
}

/// First and last stamp of each instance.
fn lives(target: &v1::TargetSamples) -> BTreeMap<&str, (i64, i64)> {
    let mut lives: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for metric in &target.metrics {
        let (Some(first), Some(last)) = (metric.points.first(), metric.points.last()) else { continue };
        let life = lives.entry(&metric.instance).or_insert((first.at_unix_ns, last.at_unix_ns));
        life.0 = life.0.min(first.at_unix_ns);
        life.1 = life.1.max(last.at_unix_ns);
    }
    lives
}

fn shortest_interval(points: &[v1::MetricPoint]) -> Option<i64> {
    points.windows(2).map(|pair| pair[1].at_unix_ns - pair[0].at_unix_ns).filter(|gap| *gap > 0).min()
}
