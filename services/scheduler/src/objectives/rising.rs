//! Objectives of the light and the medium phase.

use plan::model::PhaseName;
use protocol::v1;

use crate::expectations;
use crate::figures::{Finding, count, failed, micros, plain, rate, share};
use crate::objectives::counters::{growth_by_instance, scaling, total_growth};
use crate::objectives::evidence::{Evidence, as_seconds};
use crate::objectives::knee::{Level, number};
use crate::objectives::{Objective, Parameter};

pub(super) static ROWS: [Objective; 6] = [
    Objective {
        phase: PhaseName::Light,
        name: "component scaling",
        formula: "goodput per instance after the instances changed is within {scaling} of that before",
        parameters: &[Parameter { key: "scaling", default: 0.2, meaning: "deviation allowed, as a share" }],
        evaluate: component_scaling,
    },
    Objective {
        phase: PhaseName::Light,
        name: "caching effective",
        formula: "cache-hits / (cache-hits + cache-misses), grown over the phase, ≥ {cache-hit-ratio}",
        parameters: &[Parameter { key: "cache-hit-ratio", default: 0.8, meaning: "share of hits" }],
        evaluate: caching_effective,
    },
    Objective {
        phase: PhaseName::Light,
        name: "resource use",
        formula: "mean CPU and memory of every target lie in the phase's expected ranges",
        parameters: &[],
        evaluate: resource_use,
    },
    Objective {
        phase: PhaseName::Medium,
        name: "core components",
        formula: "every threshold that is limited to one target holds",
        parameters: &[],
        evaluate: core_components,
    },
    Objective {
        phase: PhaseName::Medium,
        name: "load balancing",
        formula: "requests of the busiest / of the least busy instance of each target ≤ {balance}",
        parameters: &[Parameter { key: "balance", default: 1.25, meaning: "largest ratio" }],
        evaluate: load_balancing,
    },
    Objective {
        phase: PhaseName::Medium,
        name: "horizontal scaling",
        formula: "p95 after instances were added ≤ (1 + {scaleout-p95}) × p95 before",
        parameters: &[Parameter {
            key: "scaleout-p95",
            default: 0.2,
            meaning: "rise of p95 allowed, as a share",
        }],
        evaluate: horizontal_scaling,
    },
];

/// The figures of the seconds that ended before an offset and of those that began after it.
fn around(evidence: &Evidence<'_>, at_ns: u64) -> Option<(Level, Level)> {
    let seconds = &evidence.now.series.seconds;
    let before: Vec<&v1::Second> =
        seconds.iter().filter(|second| second.offset_ns + second.length_ns <= at_ns).collect();
    let after: Vec<&v1::Second> = seconds.iter().filter(|second| second.offset_ns >= at_ns).collect();
    (!before.is_empty() && !after.is_empty()).then(|| (Level::of(&before), Level::of(&after)))
}

fn component_scaling(evidence: &Evidence<'_>) -> Finding {
    let Some(change) = scaling(evidence) else {
        return Finding::not_evaluable("the number of instances did not change in this phase");
    };
    if change.before == change.after || change.before == 0 || change.after == 0 {
        return Finding::not_evaluable(format!("{} was restarted, not scaled", change.target));
    }
    let Some((before, after)) = around(evidence, change.at_ns) else {
        return Finding::not_evaluable("too little was measured before or after the instances changed");
    };
    let per_instance = |level: Level, instances: usize| level.goodput / number(instances as u64);
    let (before, after) = (per_instance(before, change.before), per_instance(after, change.after));
    if before <= 0.0 {
        return Finding::not_evaluable("nothing was answered before the instances changed");
    }
    let deviation = (after - before).abs() / before;
    let seen = format!(
        "{}: {} → {}, per instance {} → {} ({})",
        change.target,
        count(change.before, "instance"),
        change.after,
        rate(before),
        rate(after),
        share(deviation)
    );
    Finding::judged(deviation <= evidence.parameter("scaling", 0.2), seen)
}

fn caching_effective(evidence: &Evidence<'_>) -> Finding {
    let Some(hits) = total_growth(evidence.now, "cache-hits") else {
        return Finding::not_evaluable(evidence.why_absent("cache-hits"));
    };
    let Some(misses) = total_growth(evidence.now, "cache-misses") else {
        return Finding::not_evaluable(evidence.why_absent("cache-misses"));
    };
    if hits + misses <= 0.0 {
        return Finding::not_evaluable("the cache was not asked in this phase");
    }
    let ratio = hits / (hits + misses);
    let seen = format!("{} ({} hits, {} misses)", share(ratio), plain(hits), plain(misses));
    Finding::judged(ratio >= evidence.parameter("cache-hit-ratio", 0.8), seen)
}

fn resource_use(evidence: &Evidence<'_>) -> Finding {
    let outcomes = expectations::measured(evidence);
    if outcomes.is_empty() {
        let reasons: Vec<String> =
            ["cpu", "memory"].iter().map(|metric| evidence.why_absent(metric)).collect();
        return Finding::not_evaluable(reasons.join("; "));
    }
    let seen: Vec<String> =
        outcomes.iter().map(|one| format!("{} {} (expected {})", one.name, one.seen, one.expected)).collect();
    Finding::judged(!outcomes.iter().any(failed), seen.join(", "))
}

fn core_components(evidence: &Evidence<'_>) -> Finding {
    let own: Vec<_> = evidence.thresholds.iter().filter(|judged| judged.target.is_some()).collect();
    let judged: Vec<_> = own
        .iter()
        .filter(|one| !matches!(one.outcome.result, protocol::event::OutcomeResult::NotEvaluable { .. }))
        .collect();
    if judged.is_empty() {
        return Finding::not_evaluable(if own.is_empty() {
            "the plan has no threshold that is limited to one target"
        } else {
            "no threshold that is limited to one target could be evaluated"
        });
    }
    let seen: Vec<String> = judged
        .iter()
        .map(|one| {
            let target = one.target.as_deref().unwrap_or_default();
            format!("{target}: {}, seen {}", one.outcome.name, one.outcome.seen)
        })
        .collect();
    Finding::judged(!judged.iter().any(|one| failed(&one.outcome)), seen.join("; "))
}

fn load_balancing(evidence: &Evidence<'_>) -> Finding {
    let by_instance = growth_by_instance(evidence.now, "requests");
    if by_instance.is_empty() {
        return Finding::not_evaluable(evidence.why_absent("requests"));
    }
    let mut worst: Option<(f64, String)> = None;
    for target in &evidence.now.series.targets {
        let instances: Vec<(&str, f64)> = by_instance
            .iter()
            .filter(|((index, _), _)| *index == target.target)
            .map(|((_, instance), requests)| (instance.as_str(), *requests))
            .collect();
        let busiest = instances.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let idlest = instances.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let (Some(busiest), Some(idlest), 2..) = (busiest, idlest, instances.len()) else { continue };
        let ratio = if idlest.1 > 0.0 { busiest.1 / idlest.1 } else { f64::INFINITY };
        if worst.as_ref().is_none_or(|(most, _)| ratio > *most) {
            let name = evidence.target_name(target.target);
            let (most, least) = (plain(busiest.1), plain(idlest.1));
            worst = Some((
                ratio,
                format!("{name}: {} {most} / {} {least} = {}", busiest.0, idlest.0, plain(ratio)),
            ));
        }
    }
    let Some((ratio, seen)) = worst else {
        return Finding::not_evaluable("no target has two or more instances that report `requests`");
    };
    Finding::judged(ratio <= evidence.parameter("balance", 1.25), seen)
}

fn horizontal_scaling(evidence: &Evidence<'_>) -> Finding {
    let Some(change) = scaling(evidence).filter(|change| change.after > change.before) else {
        return Finding::not_evaluable("no target was scaled out in this phase");
    };
    let Some((before, after)) = around(evidence, change.at_ns) else {
        return Finding::not_evaluable("too little was measured before or after the scale-out");
    };
    if before.p95_us <= 0.0 || after.p95_us <= 0.0 {
        return Finding::not_evaluable("nothing was answered before or after the scale-out");
    }
    let seen = format!(
        "{}: {} → {} at {} s, p95 {} → {}",
        change.target,
        count(change.before, "instance"),
        change.after,
        plain(as_seconds(change.at_ns)),
        micros(before.p95_us),
        micros(after.p95_us)
    );
    Finding::judged(after.p95_us <= (1.0 + evidence.parameter("scaleout-p95", 0.2)) * before.p95_us, seen)
}
