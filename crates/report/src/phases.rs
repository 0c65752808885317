//! The figures of each phase, from its entries in the history and its merged series.

use protocol::event::{Event, ScenarioNames};
use protocol::v1;
use series::{Hist, Merged, latency_percentile};

use crate::summary::{
    Arrivals, Check, CheckSummary, Generator, MetricSummary, Named, Percentiles, PhaseSummary, SendLag,
    StepSummary, TargetMeans, TargetSummary, ms_between,
};
use crate::{RunData, lag};

/// One summary for each phase that began.
pub(crate) fn summaries(data: &RunData, run_start_ns: i64) -> Vec<PhaseSummary> {
    let names = scenario_names(data);
    let mut phases = Vec::new();
    for entry in &data.history {
        match &entry.event {
            Event::PhaseStarted { phase, name, duration_ms, connections, .. } => {
                let series = data.series.phases.iter().find(|series| series.phase == *phase);
                let mut summary = measured(data, names, series, *phase, name);
                summary.start_ms = ms_between(run_start_ns, entry.at_unix_ns);
                summary.planned_ms = *duration_ms;
                summary.connections = *connections;
                phases.push(summary);
            }
            // Where workers are apart it begins a little later than it is announced; seconds count from here.
            Event::PhaseTimed { phase, t0_unix_ns } => {
                if let Some(summary) = phases.iter_mut().rfind(|summary| summary.index == *phase) {
                    summary.start_ms = ms_between(run_start_ns, *t0_unix_ns);
                }
            }
            Event::PhaseEnded {
                phase,
                lasted_ms,
                objectives,
                expectations,
                thresholds,
                validity,
                decision,
                reason,
                ..
            } => {
                let Some(summary) = phases.iter_mut().rfind(|summary| summary.index == *phase) else {
                    continue;
                };
                summary.lasted_ms = *lasted_ms;
                summary.objectives = objectives.iter().map(Check::from).collect();
                summary.expectations = expectations.iter().map(Check::from).collect();
                summary.thresholds = thresholds.iter().map(Check::from).collect();
                summary.validity = validity.iter().map(Check::from).collect();
                summary.decision.clone_from(decision);
                summary.reason.clone_from(reason);
            }
            _ => {}
        }
    }
    for phase in &mut phases {
        set_rates(phase, data.series.phases.iter().find(|series| series.phase == phase.index));
    }
    phases
}

fn scenario_names(data: &RunData) -> &[ScenarioNames] {
    data.history
        .iter()
        .find_map(|entry| match &entry.event {
            Event::WorkersReady { scenarios, .. } => Some(scenarios.as_slice()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Everything that the merged series tell.
fn measured(
    data: &RunData,
    names: &[ScenarioNames],
    series: Option<&v1::PhaseSeries>,
    index: u32,
    name: &str,
) -> PhaseSummary {
    let mut summary = PhaseSummary { index, name: name.to_owned(), ..PhaseSummary::default() };
    let Some(series) = series else { return summary };
    let counts = series.total.as_ref().and_then(|total| total.arrivals).unwrap_or_default();
    let ended = counts.answered + counts.failed + counts.cancelled + counts.in_flight;
    summary.arrivals = Arrivals {
        scheduled: counts.scheduled,
        dropped: counts.dropped,
        dropped_by_generator: counts.dropped_by_generator,
        waiting: counts.waiting,
        started: counts.started,
        answered: counts.answered,
        failed: counts.failed,
        cancelled: counts.cancelled,
        in_flight: counts.in_flight,
        unaccounted: counts.started.saturating_sub(ended),
    };
    let lost = counts.dropped + counts.failed;
    if let Some(total) = series.total.as_ref().and_then(|total| total.total.as_ref()) {
        let merged = merged(total);
        summary.requests = total.requests;
        summary.retries = total.retries;
        summary.bytes_sent = total.bytes_sent;
        summary.bytes_received = total.bytes_received;
        summary.latency = percentiles(&merged.latency);
        summary.latency_with_lost = with_lost(&merged, lost);
        summary.service = percentiles(&merged.service);
        summary.queue = percentiles(&merged.queue);
        summary.first_byte = percentiles(&merged.first_byte);
        summary.statuses = statuses(total);
        summary.failures = failures(total);
        let arrivals = counts.scheduled.saturating_sub(counts.waiting);
        let bad = lost + merged.bad();
        summary.error_share = share(bad, arrivals);
    }
    summary.checks = checks(series, names);
    summary.metrics = metrics(series, names);
    summary.steps = series.series.iter().map(|step| step_summary(data, names, step)).collect();
    summary.steps.sort_by(|a, b| b.latency.p99.unwrap_or(0.0).total_cmp(&a.latency.p99.unwrap_or(0.0)));
    summary.send_lag = lag::of_phase(series);
    summary.generator = generator(series, summary.requests, &summary.send_lag);
    summary.targets = target_means(data, series);
    summary.gaps.clone_from(&series.gaps);
    summary.merged_intervals = series.merged_intervals;
    summary
}

/// Rates over the phase's length; also for a phase whose end is not in the history yet.
fn set_rates(phase: &mut PhaseSummary, series: Option<&v1::PhaseSeries>) {
    let Some(series) = series else { return };
    let seconds: f64 = series.seconds.iter().map(|second| seconds(second.length_ns)).sum();
    let planned = seconds_of_ms(phase.planned_ms);
    // Answers that came in the grace after the phase's end belong to it, the grace itself does not.
    let length = if phase.lasted_ms > 0 && phase.lasted_ms < phase.planned_ms {
        seconds_of_ms(phase.lasted_ms)
    } else if planned > 0.0 {
        planned
    } else {
        seconds
    };
    if length <= 0.0 {
        return;
    }
    let wanted: f64 = series.seconds.iter().map(|second| second.wanted_rate * seconds_of(second)).sum();
    phase.wanted_rate = wanted / length;
    phase.achieved_rate = real(phase.arrivals.started) / length;
    phase.throughput = real(phase.arrivals.answered) / length;
    let good = series.total.as_ref().and_then(|total| total.total.as_ref()).map_or(0, |total| total.good);
    phase.goodput = real(good) / length;
}

/// The seconds of a phase that charts and stretches are made of. What trickles in after the phase's end is in the
/// tables; as a rate over a few milliseconds it misleads.
pub(crate) fn whole_seconds<'a>(
    data: &'a RunData,
    phase: &PhaseSummary,
) -> impl Iterator<Item = &'a v1::Second> + use<'a> {
    let (planned_ms, in_time) = (phase.planned_ms, phase.lasted_ms <= phase.planned_ms + 100);
    let series = data.series.phases.iter().find(|series| series.phase == phase.index);
    series
        .into_iter()
        .flat_map(|series| &series.seconds)
        .filter(move |second| !(in_time && second.offset_ns / 1_000_000 >= planned_ms))
}

fn seconds_of(second: &v1::Second) -> f64 {
    seconds(second.length_ns)
}

fn step_summary(data: &RunData, names: &[ScenarioNames], step: &v1::Series) -> StepSummary {
    let merged = merged(step);
    let scenario = names.get(index(step.scenario));
    StepSummary {
        scenario: scenario.map_or_else(|| format!("scenario {}", step.scenario), |s| s.scenario.clone()),
        step: scenario
            .and_then(|s| s.steps.get(index(step.step)))
            .cloned()
            .unwrap_or_else(|| format!("step {}", step.step)),
        target: target_name(data, step.target),
        started: step.started,
        answered: step.answered,
        failed: step.failed,
        good: step.good,
        bytes_sent: step.bytes_sent,
        bytes_received: step.bytes_received,
        failures: failures(step),
        statuses: statuses(step),
        latency: percentiles(&merged.latency),
        service: percentiles(&merged.service),
    }
}

fn statuses(series: &v1::Series) -> Vec<Named> {
    series.statuses.iter().map(|s| Named { name: s.status.to_string(), count: s.count }).collect()
}

fn failures(series: &v1::Series) -> Vec<Named> {
    series.errors.iter().map(|e| Named { name: e.class.clone(), count: e.count }).collect()
}

fn checks(series: &v1::PhaseSeries, names: &[ScenarioNames]) -> Vec<CheckSummary> {
    let mut sums = std::collections::BTreeMap::<(u32, u32), (u64, u64)>::new();
    for step in &series.series {
        for check in &step.checks {
            let sum = sums.entry((step.scenario, check.check)).or_default();
            sum.0 += check.passed;
            sum.1 += check.failed;
        }
    }
    sums.into_iter()
        .map(|((scenario, check), (passed, failed))| {
            let names = names.get(index(scenario));
            CheckSummary {
                scenario: names.map_or_else(|| format!("scenario {scenario}"), |s| s.scenario.clone()),
                name: names
                    .and_then(|s| s.checks.get(index(check)))
                    .cloned()
                    .unwrap_or_else(|| format!("check {check}")),
                passed,
                failed,
            }
        })
        .collect()
}

/// The guests' own metrics, over all targets of a step.
fn metrics(series: &v1::PhaseSeries, names: &[ScenarioNames]) -> Vec<MetricSummary> {
    let mut sums = std::collections::BTreeMap::<(u32, u32, u32), Hist>::new();
    for step in &series.series {
        for (metric, values) in merged(step).observations {
            let sum = sums.entry((step.scenario, step.step, metric)).or_insert_with(Hist::micros);
            sum.add(&values);
        }
    }
    let name = |all: Option<&Vec<String>>, at: u32, what: &str| {
        all.and_then(|all| all.get(index(at))).cloned().unwrap_or_else(|| format!("{what} {at}"))
    };
    sums.into_iter()
        .map(|((scenario, step, metric), values)| {
            let names = names.get(index(scenario));
            MetricSummary {
                scenario: names.map_or_else(|| format!("scenario {scenario}"), |s| s.scenario.clone()),
                step: name(names.map(|s| &s.steps), step, "step"),
                name: name(names.map(|s| &s.metrics), metric, "metric"),
                values: thousandths(&percentiles(&values)),
            }
        })
        .collect()
}

/// Values that were counted times 1 000.
fn thousandths(values: &Percentiles) -> Percentiles {
    let whole = |value: Option<f64>| value.map(|value| value / 1e3);
    Percentiles {
        count: values.count,
        mean: whole(values.mean),
        p50: whole(values.p50),
        p90: whole(values.p90),
        p95: whole(values.p95),
        p99: whole(values.p99),
        p999: whole(values.p999),
        max: whole(values.max),
        clamped: values.clamped,
    }
}

fn generator(series: &v1::PhaseSeries, requests: u64, lag: &SendLag) -> Generator {
    let (mut guest_ns, mut generator) = (0, Generator::default());
    for thread in &series.threads {
        guest_ns += thread.guest_ns;
        generator.guest_traps += thread.guest_traps;
        generator.connects += thread.connects;
        generator.connect_failures += thread.connect_failures;
    }
    generator.busy_max = series.total.as_ref().map_or(0.0, |total| total.busy_max);
    generator.send_lag_p50_us = lag.percentiles.p50;
    generator.send_lag_p99_us = lag.percentiles.p99;
    generator.send_lag_max_us = lag.percentiles.max;
    generator.guest_ns_per_request = (requests > 0).then(|| real(guest_ns) / real(requests));
    generator
}

fn target_means(data: &RunData, series: &v1::PhaseSeries) -> Vec<TargetMeans> {
    let mut means = Vec::new();
    for target in &series.targets {
        for metric in &target.metrics {
            let values = metric.points.iter().map(|point| point.value);
            let samples = metric.points.len() as u64;
            if samples == 0 {
                continue;
            }
            means.push(TargetMeans {
                target: target_name(data, target.target),
                metric: metric.name.clone(),
                instance: metric.instance.clone(),
                samples,
                mean: values.clone().sum::<f64>() / real(samples),
                max: values.fold(f64::NEG_INFINITY, f64::max),
            });
        }
    }
    means
}

/// The targets of the plan.
pub(crate) fn targets(data: &RunData) -> Vec<TargetSummary> {
    let absent = |index: usize| {
        let mut reasons: Vec<String> = data
            .series
            .phases
            .iter()
            .flat_map(|phase| &phase.targets)
            .filter(|samples| usize::try_from(samples.target) == Ok(index))
            .flat_map(|samples| samples.absent.iter().cloned())
            .collect();
        reasons.sort();
        reasons.dedup();
        reasons
    };
    data.plan
        .targets
        .iter()
        .enumerate()
        .map(|(index, target)| TargetSummary {
            name: target.name.clone(),
            urls: target.urls.clone(),
            absent: absent(index),
        })
        .collect()
}

fn target_name(data: &RunData, target: u32) -> String {
    data.plan.targets.get(index(target)).map_or_else(|| format!("target {target}"), |t| t.name.clone())
}

fn merged(series: &v1::Series) -> Merged {
    let mut merged = Merged::default();
    // A blob that does not decode was counted by `metrics` when it came; here it only leaves its values out.
    let _ = merged.add_proto(series);
    merged
}

fn percentiles(hist: &Hist) -> Percentiles {
    let at = |q: f64| hist.percentile(q).map(real);
    Percentiles {
        count: hist.len(),
        mean: hist.mean(),
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        p999: at(99.9),
        max: at(100.0),
        clamped: hist.clamped(),
    }
}

fn with_lost(merged: &Merged, lost: u64) -> Percentiles {
    let count = merged.latency.len() + lost;
    let at = |q: f64| Some(latency_percentile(merged, lost, q)).filter(|v| count > 0 && v.is_finite());
    Percentiles {
        count,
        mean: None,
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        p999: at(99.9),
        max: at(100.0),
        clamped: merged.latency.clamped(),
    }
}

/// An index from a message.
fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A count as a number to calculate with: exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

fn seconds(ns: u64) -> f64 {
    real(ns) / 1e9
}

fn seconds_of_ms(ms: u64) -> f64 {
    real(ms) / 1e3
}
