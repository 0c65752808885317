//! Objectives of the idle and the baseline phase.

use plan::model::PhaseName;
use plan::threshold::Measure;

use crate::figures::{Finding, count, micros, share};
use crate::objectives::counters::mean_by_target;
use crate::objectives::evidence::Evidence;
use crate::objectives::knee::number;
use crate::objectives::{Objective, Parameter};

pub(super) static ROWS: [Objective; 6] = [
    Objective {
        phase: PhaseName::Idle,
        name: "baseline metrics established",
        formula: "every metric of every target was sampled at least {samples} times (already scaled with time-scale)",
        parameters: &[Parameter {
            key: "samples",
            default: 30.0,
            meaning: "samples of each metric; scaled with time-scale",
        }],
        evaluate: metrics_established,
    },
    Objective {
        phase: PhaseName::Idle,
        name: "monitoring valid",
        formula: "the newest good sample of every probe is younger than {probe-intervals} of its intervals",
        parameters: &[Parameter {
            key: "probe-intervals",
            default: 2.0,
            meaning: "age allowed, in intervals of the probe",
        }],
        evaluate: monitoring_valid,
    },
    Objective {
        phase: PhaseName::Idle,
        name: "system stable",
        formula: "no process of the plan ended, no target failed its health check, and recovery opened no incident",
        parameters: &[],
        evaluate: system_stable,
    },
    Objective {
        phase: PhaseName::Baseline,
        name: "normal operation",
        formula: "share of checks passed ≥ {checks} and error rate < {error-rate}",
        parameters: &[
            Parameter { key: "checks", default: 1.0, meaning: "share of checks that pass" },
            Parameter { key: "error-rate", default: 0.01, meaning: "share of errors to stay below" },
        ],
        evaluate: normal_operation,
    },
    Objective {
        phase: PhaseName::Baseline,
        name: "performance baseline",
        formula: "p50, p95 and p99 from the intended time are stored as the run's reference, none of them infinite",
        parameters: &[],
        evaluate: performance_baseline,
    },
    Objective {
        phase: PhaseName::Baseline,
        name: "first bottlenecks",
        formula: "targets ranked by utilisation, the higher of mean CPU and mean memory",
        parameters: &[],
        evaluate: first_bottlenecks,
    },
];

fn metrics_established(evidence: &Evidence<'_>) -> Finding {
    let wanted = evidence.parameter("samples", 30.0);
    let mut short = Vec::new();
    let mut metrics = 0_usize;
    let mut fewest: Option<u64> = None;
    let mut absent = Vec::new();
    for target in &evidence.now.series.targets {
        let name = evidence.target_name(target.target);
        let health = ("health".to_owned(), target.probes.saturating_sub(target.probe_failures));
        let read = target.metrics.iter().map(|metric| {
            let label = if metric.instance.is_empty() {
                metric.name.clone()
            } else {
                format!("{} of {}", metric.name, metric.instance)
            };
            (label, u64::try_from(metric.points.len()).unwrap_or(u64::MAX))
        });
        for (metric, samples) in std::iter::once(health).chain(read) {
            metrics += 1;
            fewest = Some(fewest.map_or(samples, |least| least.min(samples)));
            if number(samples) < wanted {
                short.push(format!("{name}: {metric} {samples}"));
            }
        }
        absent.extend(target.absent.iter().map(|why| format!("{name}: {why}")));
    }
    let Some(fewest) = fewest else {
        return Finding::not_evaluable("the monitoring has no samples of any target in this phase");
    };
    let absent = if absent.is_empty() { String::new() } else { format!("; absent: {}", absent.join(", ")) };
    if short.is_empty() {
        let metrics = count(metrics, "metric");
        Finding::judged(true, format!("{metrics}, at least {fewest} samples each, {wanted} wanted{absent}"))
    } else {
        Finding::judged(false, format!("fewer than {wanted} samples: {}{absent}", short.join(", ")))
    }
}

fn monitoring_valid(evidence: &Evidence<'_>) -> Finding {
    let Some(probes) = evidence.probes else {
        return Finding::not_evaluable("metrics did not answer for its probes");
    };
    if probes.is_empty() {
        return Finding::not_evaluable("no probe is set up");
    }
    let intervals = evidence.parameter("probe-intervals", 2.0);
    let stale: Vec<String> = probes
        .iter()
        .filter_map(|probe| {
            let name = format!("{}: {}", evidence.target_name(probe.target), probe.probe);
            match probe.age_ns {
                None => Some(format!("{name} never answered")),
                Some(age) if number(age) > intervals * number(probe.interval_ns) => {
                    Some(format!("{name} is {} old", micros(number(age) / 1_000.0)))
                }
                Some(_) => None,
            }
        })
        .collect();
    if stale.is_empty() {
        Finding::judged(true, format!("{} fresh", count(probes.len(), "probe")))
    } else {
        Finding::judged(false, stale.join(", "))
    }
}

fn system_stable(evidence: &Evidence<'_>) -> Finding {
    let mut seen: Vec<String> = evidence.exits.iter().map(|exit| format!("process {exit}")).collect();
    seen.extend(
        evidence.incidents.iter().map(|incident| format!("{} failed its health check", incident.target)),
    );
    seen.extend(evidence.opened.iter().map(|opened| format!("incident {}", opened.incident)));
    if !seen.is_empty() {
        return Finding::judged(false, seen.join(", "));
    }
    let probes: u64 = evidence.now.series.targets.iter().map(|target| target.probes).sum();
    if probes == 0 && evidence.plan.processes.is_empty() {
        return Finding::not_evaluable("no health probe was made in this phase and no process is ours");
    }
    Finding::judged(true, format!("no restart, no incident in {probes} health probes"))
}

fn normal_operation(evidence: &Evidence<'_>) -> Finding {
    let Some(errors) = evidence.measure(Measure::ErrorRate) else {
        return Finding::not_evaluable("nothing was sent in this phase");
    };
    let checks = evidence.measure(Measure::Checks);
    let errors_hold = errors < evidence.parameter("error-rate", 0.01);
    let checks_hold = checks.is_none_or(|passed| passed >= evidence.parameter("checks", 1.0));
    let checks =
        checks.map_or_else(|| "no checks declared".to_owned(), |passed| format!("checks {}", share(passed)));
    Finding::judged(errors_hold && checks_hold, format!("{checks}, errors {}", share(errors)))
}

fn performance_baseline(evidence: &Evidence<'_>) -> Finding {
    let percentiles = [50.0, 95.0, 99.0]
        .map(|percentile| evidence.measure(Measure::Latency { percentile }).map(|us| (percentile, us)));
    let values: Vec<(f64, f64)> = percentiles.into_iter().flatten().collect();
    if values.len() < 3 {
        return Finding::not_evaluable("no operation ended in this phase");
    }
    let seen: Vec<String> =
        values.iter().map(|(percentile, us)| format!("p{percentile} {}", micros(*us))).collect();
    Finding::judged(values.iter().all(|(_, us)| us.is_finite()), seen.join(", "))
}

fn first_bottlenecks(evidence: &Evidence<'_>) -> Finding {
    let (cpu, memory) = (mean_by_target(evidence.now, "cpu"), mean_by_target(evidence.now, "memory"));
    let mut ranked: Vec<(f64, String)> = Vec::new();
    for target in &evidence.now.series.targets {
        let (cpu, memory) = (cpu.get(&target.target), memory.get(&target.target));
        let shown = |value: Option<&f64>| value.map_or_else(|| "not known".to_owned(), |value| share(*value));
        if let Some(most) = cpu.into_iter().chain(memory).copied().max_by(f64::total_cmp) {
            let name = evidence.target_name(target.target);
            ranked.push((most, format!("{name} (CPU {}, memory {})", shown(cpu), shown(memory))));
        }
    }
    if ranked.is_empty() {
        return Finding::not_evaluable(evidence.why_absent("cpu"));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<String> = ranked.into_iter().map(|(_, text)| text).collect();
    Finding::judged(true, names.join(" > "))
}
