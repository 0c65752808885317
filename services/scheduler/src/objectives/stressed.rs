//! Objectives of the heavy, the extreme and the chaos phase.

use std::time::Duration;

use plan::model::PhaseName;
use plan::threshold::Measure;
use protocol::v1;

use crate::figures::{Finding, count, micros, plain, rate, share};
use crate::objectives::counters::{growth, metrics_named, total_growth};
use crate::objectives::evidence::{Evidence, RECOVERY_SECONDS, as_seconds};
use crate::objectives::knee::{Knee, Level, Rule, breaking_point, knee, levels, number};
use crate::objectives::{Objective, Parameter};

const KNEE_GOODPUT: Parameter = Parameter {
    key: "knee-goodput",
    default: 0.95,
    meaning: "share of the wanted rate under which a level is over",
};
const KNEE_LATENCY: Parameter = Parameter {
    key: "knee-latency",
    default: 3.0,
    meaning: "multiple of the baseline's p95 over which a level is over",
};

pub(super) static ROWS: [Objective; 9] = [
    Objective {
        phase: PhaseName::Heavy,
        name: "performance limits",
        formula: "the knee is named, or that it was not reached: the highest level of wanted rate below the first \
                  whose goodput < {knee-goodput} × wanted or whose p95 > {knee-latency} × the baseline's",
        parameters: &[KNEE_GOODPUT, KNEE_LATENCY],
        evaluate: performance_limits,
    },
    Objective {
        phase: PhaseName::Heavy,
        name: "circuit breakers",
        formula: "breaker-opened and breaker-closed both grew by at least {breakers}",
        parameters: &[Parameter {
            key: "breakers",
            default: 1.0,
            meaning: "breakers that opened and closed",
        }],
        evaluate: circuit_breakers,
    },
    Objective {
        phase: PhaseName::Heavy,
        name: "degradation",
        formula: "goodput in the seconds above the knee ≥ {goodput} × the knee's goodput",
        parameters: &[
            Parameter { key: "goodput", default: 0.8, meaning: "share of the knee's goodput" },
            KNEE_GOODPUT,
            KNEE_LATENCY,
        ],
        evaluate: degradation,
    },
    Objective {
        phase: PhaseName::Extreme,
        name: "breaking point",
        formula: "the rate is named, or that it was not reached: the lowest level of wanted rate with an error rate \
                  > {breaking} or goodput < (1 − {breaking}) × wanted",
        parameters: &[Parameter {
            key: "breaking",
            default: 0.5,
            meaning: "share of errors that counts as broken",
        }],
        evaluate: breaking,
    },
    Objective {
        phase: PhaseName::Extreme,
        name: "recovery",
        formula: "every incident that recovery opened was closed, healthy within {recovery-seconds} s of its fault, or of \
                  its detection where it has none; every target without recovery passed its health check again within that",
        parameters: &[RECOVERY],
        evaluate: recovered,
    },
    Objective {
        phase: PhaseName::Extreme,
        name: "monitoring accuracy",
        formula: "our requests and the growth of the target's own `requests` differ by at most {accuracy}, compared \
                  between the target's first and last sample",
        parameters: &[Parameter { key: "accuracy", default: 0.01, meaning: "deviation allowed, as a share" }],
        evaluate: monitoring_accuracy,
    },
    Objective {
        phase: PhaseName::Chaos,
        name: "resilience",
        formula: "in the last tenth of the phase (at least 5 s) goodput ≥ {steady-goodput} × wanted, and the error \
                  rate is at most the baseline's + {steady-errors}",
        parameters: &[
            Parameter { key: "steady-goodput", default: 0.95, meaning: "share of the wanted rate" },
            Parameter {
                key: "steady-errors",
                default: 0.01,
                meaning: "share of errors above the baseline's",
            },
        ],
        evaluate: resilience,
    },
    Objective {
        phase: PhaseName::Chaos,
        name: "recovery",
        formula: "every incident that recovery opened was closed, healthy within {recovery-seconds} s of its fault, or of \
                  its detection where it has none; every target without recovery passed its health check again within that",
        parameters: &[RECOVERY],
        evaluate: recovered,
    },
    Objective {
        phase: PhaseName::Chaos,
        name: "data integrity",
        formula: "every acknowledged write is intact, as an integrity check reads it back",
        parameters: &[],
        evaluate: data_integrity,
    },
];

const RECOVERY: Parameter = Parameter {
    key: RECOVERY_SECONDS,
    default: 150.0,
    meaning: "detection and recovery of `[recovery-budgets]` together",
};

fn find_knee(evidence: &Evidence<'_>) -> Option<Knee> {
    let reference = evidence
        .baseline()
        .and_then(|baseline| baseline.measure(Measure::Latency { percentile: 95.0 }))
        .filter(|us| us.is_finite());
    let levels = levels(evidence.before.iter().chain(std::iter::once(evidence.now)));
    let rule = Rule {
        goodput: evidence.parameter(KNEE_GOODPUT.key, KNEE_GOODPUT.default),
        latency: evidence.parameter(KNEE_LATENCY.key, KNEE_LATENCY.default),
    };
    knee(&levels, reference, rule)
}

const NO_RATE: &str = "no second of the run had a wanted rate (closed models have none)";

fn performance_limits(evidence: &Evidence<'_>) -> Finding {
    let figures = |level: Level| {
        format!("{}, goodput {}, p95 {}", rate(level.wanted), rate(level.goodput), micros(level.p95_us))
    };
    match find_knee(evidence) {
        None => Finding::not_evaluable(NO_RATE),
        Some(Knee::NotReached(level)) => {
            Finding::judged(true, format!("knee not reached up to {}", figures(level)))
        }
        Some(Knee::Below(level)) => Finding::judged(true, format!("knee below {}", figures(level))),
        Some(Knee::At(level)) => Finding::judged(true, format!("knee at {}", figures(level))),
    }
}

fn circuit_breakers(evidence: &Evidence<'_>) -> Finding {
    let Some(opened) = total_growth(evidence.now, "breaker-opened") else {
        return Finding::not_evaluable(evidence.why_absent("breaker-opened"));
    };
    let Some(closed) = total_growth(evidence.now, "breaker-closed") else {
        return Finding::not_evaluable(evidence.why_absent("breaker-closed"));
    };
    let wanted = evidence.parameter("breakers", 1.0);
    Finding::judged(
        opened >= wanted && closed >= wanted,
        format!("{} opened, {} closed", plain(opened), plain(closed)),
    )
}

fn degradation(evidence: &Evidence<'_>) -> Finding {
    let knee = match find_knee(evidence) {
        None => return Finding::not_evaluable(NO_RATE),
        Some(Knee::NotReached(_)) => {
            return Finding::not_evaluable("the knee was not reached: nothing to degrade from");
        }
        Some(Knee::Below(_)) => {
            return Finding::not_evaluable("the knee lies below every rate that was tried");
        }
        Some(Knee::At(level)) => level,
    };
    let above: Vec<&v1::Second> =
        evidence.now.series.seconds.iter().filter(|second| second.wanted_rate > knee.wanted * 1.05).collect();
    if above.is_empty() {
        return Finding::not_evaluable(format!(
            "no second of this phase was above the knee, {}",
            rate(knee.wanted)
        ));
    }
    let beyond = Level::of(&above);
    let kept = beyond.goodput / knee.goodput.max(f64::MIN_POSITIVE);
    let seen =
        format!("{} above the knee, {} at it: {}", rate(beyond.goodput), rate(knee.goodput), share(kept));
    Finding::judged(kept >= evidence.parameter("goodput", 0.8), seen)
}

fn breaking(evidence: &Evidence<'_>) -> Finding {
    let levels = levels(evidence.before.iter().chain(std::iter::once(evidence.now)));
    let Some(highest) = levels.last() else { return Finding::not_evaluable(NO_RATE) };
    let seen = match breaking_point(&levels, evidence.parameter("breaking", 0.5)) {
        Some(level) => format!(
            "broke at {}: goodput {}, errors {}",
            rate(level.wanted),
            rate(level.goodput),
            share(level.errors)
        ),
        None => format!("breaking point not reached up to {}", rate(highest.wanted)),
    };
    Finding::judged(true, seen)
}

fn recovered(evidence: &Evidence<'_>) -> Finding {
    let budget = evidence.parameter(RECOVERY.key, RECOVERY.default);
    let of_recovery = evidence.opened.iter().map(|opened| {
        let lasted = opened.closed.map(|closed| {
            let ms = opened.detected_after_ms.unwrap_or_default() + closed.recovered_after_ms;
            Duration::from_millis(ms).as_secs_f64()
        });
        (&opened.incident, lasted)
    });
    // Where recovery does not look, the health check tells.
    let unwatched = evidence
        .incidents
        .iter()
        .filter(|incident| !evidence.plan.recovery.contains_key(&incident.target))
        .map(|incident| {
            let ns = |ended: i64| u64::try_from(ended - incident.began_unix_ns).unwrap_or(0);
            (&incident.target, incident.ended_unix_ns.map(|ended| as_seconds(ns(ended))))
        });
    let mut holds = true;
    let mut seen = Vec::new();
    for (what, lasted) in of_recovery.chain(unwatched) {
        match lasted {
            Some(lasted) => {
                holds &= lasted <= budget;
                seen.push(format!("{what} recovered after {} s", plain(lasted)));
            }
            None => {
                holds = false;
                seen.push(format!("{what} has not recovered"));
            }
        }
    }
    if seen.is_empty() {
        return Finding::not_evaluable("no incident in this phase");
    }
    Finding::judged(holds, format!("{}: {}", count(seen.len(), "incident"), seen.join(", ")))
}

fn monitoring_accuracy(evidence: &Evidence<'_>) -> Finding {
    let mut loaded: Vec<u32> = evidence.now.series.series.iter().map(|series| series.target).collect();
    loaded.sort_unstable();
    loaded.dedup();
    let [target] = loaded[..] else {
        let reason = if loaded.is_empty() {
            "nothing was sent in this phase"
        } else {
            "more than one target was loaded, and seconds are not kept by target"
        };
        return Finding::not_evaluable(reason);
    };
    let (mut theirs, mut span) = (0.0, None::<(i64, i64)>);
    for (_, series) in metrics_named(evidence.now, "requests").filter(|(index, _)| *index == target) {
        let (Some(grown), Some(first), Some(last)) =
            (growth(&series.points), series.points.first(), series.points.last())
        else {
            continue;
        };
        theirs += grown;
        let (from, to) = span.unwrap_or((first.at_unix_ns, last.at_unix_ns));
        span = Some((from.min(first.at_unix_ns), to.max(last.at_unix_ns)));
    }
    let Some((from, to)) = span else { return Finding::not_evaluable(evidence.why_absent("requests")) };
    let (from, to) = (evidence.now.offset_of(from), evidence.now.offset_of(to));
    let ours = requests_between(evidence, from, to);
    if ours <= 0.0 {
        return Finding::not_evaluable("we sent nothing between the target's first and last sample");
    }
    let deviation = (theirs - ours).abs() / ours;
    let seen = format!("ours {}, the target's {} ({})", plain(ours), plain(theirs), share(deviation));
    Finding::judged(deviation <= evidence.parameter("accuracy", 0.01), seen)
}

/// Requests that were answered between two offsets, each second's share of them by the time that it overlaps. Seconds
/// count operations; where operations have several requests, they are scaled by the phase's requests an operation.
fn requests_between(evidence: &Evidence<'_>, from_ns: i64, to_ns: i64) -> f64 {
    let counts = evidence.counts();
    let requests: u64 = evidence.now.series.series.iter().map(|series| series.requests).sum();
    let per_operation = if counts.started == 0 { 1.0 } else { number(requests) / number(counts.started) };
    let (from, to) = (u64::try_from(from_ns).unwrap_or(0), u64::try_from(to_ns).unwrap_or(0));
    let operations: f64 = evidence
        .now
        .series
        .seconds
        .iter()
        .map(|second| {
            let end = second.offset_ns + second.length_ns;
            let overlap = end.min(to).saturating_sub(second.offset_ns.max(from));
            let answered = second.arrivals.map_or(0, |counts| counts.answered);
            number(answered) * number(overlap) / number(second.length_ns.max(1))
        })
        .sum();
    operations * per_operation
}

fn resilience(evidence: &Evidence<'_>) -> Finding {
    let seconds = &evidence.now.series.seconds;
    let Some(end) = seconds.last().map(|second| second.offset_ns + second.length_ns) else {
        return Finding::not_evaluable("nothing was measured in this phase");
    };
    let stretch = (end / 10).max(5_000_000_000);
    let last: Vec<&v1::Second> = seconds
        .iter()
        .filter(|second| second.offset_ns + stretch >= end && second.wanted_rate > 0.0)
        .collect();
    if last.is_empty() {
        return Finding::not_evaluable("nothing was wanted at the end of this phase");
    }
    let state = Level::of(&last);
    let reference = evidence.baseline().and_then(|baseline| baseline.measure(Measure::ErrorRate));
    let errors_hold = state.errors <= reference.unwrap_or(0.0) + evidence.parameter("steady-errors", 0.01);
    let goodput_holds = state.kept_up(evidence.parameter("steady-goodput", 0.95));
    let baseline = reference
        .map_or_else(|| "no baseline phase".to_owned(), |errors| format!("baseline {}", share(errors)));
    let seen = format!(
        "goodput {} of {} wanted, errors {} ({baseline})",
        rate(state.goodput),
        rate(state.wanted),
        share(state.errors)
    );
    Finding::judged(errors_hold && goodput_holds, seen)
}

fn data_integrity(_: &Evidence<'_>) -> Finding {
    Finding::not_evaluable("no integrity check is declared")
}
