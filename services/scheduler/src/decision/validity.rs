//! When the figures say nothing of the target: the five rules of requirement R9.4 (the generator was the bottleneck),
//! and that the counts close (R9.3), each with its figure.
//!
//! The wanted rate of a second is what its schedule asked for, by hand or by a service included: a rate that was
//! lowered is the new wanted rate. A second is *short* when the generator took up fewer arrivals than that, whatever
//! became of them: `scheduled − dropped by the generator`. Arrivals that wait because the target is slow, or are
//! dropped because it stalls, were taken up in time and make no second short. Evenly spaced arrivals are held against
//! the rate, less one arrival for the edge of the second; for the random and bursting shapes, whose seconds differ
//! by design, the schedule's own count is what was wanted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use plan::model::{Arrivals, LoadModel, Phase, Validity};
use protocol::event::Outcome;
use protocol::failure::FailureClass;
use protocol::v1;
use series::Hist;

use crate::figures::{Finding, failed, micros, plain, share};
use crate::objectives::evidence::{Measured, as_seconds};
use crate::objectives::knee::number;

/// A guest that broke a limit or trapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    /// Index of its scenario.
    pub(crate) scenario: u32,
    /// Offset from the phase's start, nanoseconds.
    pub(crate) offset_ns: u64,
}

/// Judges all rules over one phase.
pub(crate) fn judge(rules: &Validity, measured: &Measured, traps: &[Trap]) -> Vec<Outcome> {
    let nothing_sent = matches!(measured.phase.model, LoadModel::None);
    let rule = |name: &str, expected: String, finding: Finding| {
        let finding =
            if nothing_sent { Finding::not_evaluable("nothing is sent in this phase") } else { finding };
        finding.named(name, expected)
    };
    let mut outcomes = vec![
        rule(
            "send lag",
            format!(
                "p99 ≤ the larger of {} and {} of the service p99",
                micros(rules.send_lag.as_secs_f64() * 1e6),
                share(rules.send_lag_share)
            ),
            send_lag(rules, measured),
        ),
        rule(
            "achieved rate",
            format!(
                "under {} of the wanted rate in at most {} of seconds",
                share(rules.achieved),
                share(rules.short_seconds)
            ),
            achieved(rules, &measured.phase, &measured.series.seconds),
        ),
        rule(
            "dropped by the generator",
            format!("at most {} of arrivals", share(rules.drops)),
            drops(rules, measured),
        ),
        rule(
            "load thread busy",
            format!(
                "no load thread over {} busy for {} s",
                share(rules.busy),
                plain(rules.busy_for.as_secs_f64())
            ),
            busy(rules, &measured.series.seconds),
        ),
        rule(
            "guest traps",
            format!("at most {} of one guest in any minute", rules.traps_per_minute),
            trapped(rules, measured, traps),
        ),
        rule(
            "counts close",
            "scheduled = dropped + waiting + started; started = answered + failed + cancelled + in flight"
                .to_owned(),
            counts_close(measured),
        ),
    ];
    let too_few = |outcome: &&mut Outcome| TOO_FEW_CORES.contains(&outcome.name.as_str()) && failed(outcome);
    if let (Some(outcome), Some(cores)) = (outcomes.iter_mut().find(too_few), cores_needed(rules, measured)) {
        let _ = write!(outcome.seen, "; {cores}");
    }
    outcomes
}

/// The rules that a generator breaks when its load threads are too few; the first one broken says how many it takes.
const TOO_FEW_CORES: [&str; 3] = ["achieved rate", "dropped by the generator", "load thread busy"];

/// How many load threads the phase's highest wanted rate takes, each no busier than it may be, at what a started request
/// took of the load threads here; absent where those that there were should do, so that something else held them up.
fn cores_needed(rules: &Validity, measured: &Measured) -> Option<String> {
    let threads = &measured.series.threads;
    let started = measured.series.total.as_ref()?.arrivals?.started;
    let busy_seconds = threads.iter().map(|thread| thread.busy).sum::<f64>() * measured.seconds_long();
    let rate = measured.series.seconds.iter().map(|second| second.wanted_rate).fold(0.0, f64::max);
    if started == 0 || busy_seconds <= 0.0 {
        return None;
    }
    let each = busy_seconds / number(started);
    let needed = (rate * each / rules.busy).ceil();
    (needed > number(threads.len() as u64)).then(|| {
        format!(
            "{}/s would take {} load threads, each with a core of its own, not {}: a request took {} of one here",
            plain(rate),
            plain(needed),
            threads.len(),
            micros(each * 1e6)
        )
    })
}

/// The rules of a phase about which nothing can be said, and why.
pub(crate) fn unjudged(reason: &str) -> Vec<Outcome> {
    [
        "send lag",
        "achieved rate",
        "dropped by the generator",
        "load thread busy",
        "guest traps",
        "counts close",
    ]
    .map(|name| Finding::not_evaluable(reason).named(name, ""))
    .into()
}

fn send_lag(rules: &Validity, measured: &Measured) -> Finding {
    let Some(total) = &measured.series.total else { return Finding::not_evaluable("no samples arrived") };
    let percentile = |histogram: Option<&v1::Histogram>| {
        histogram
            .and_then(|encoded| Hist::decode(encoded).ok())
            .and_then(|hist| hist.percentile(99.0))
            .map(number)
    };
    let Some(lag_ns) = percentile(total.send_lag.as_ref()) else {
        return Finding::not_evaluable("nothing was sent");
    };
    let service_us = percentile(total.total.as_ref().and_then(|series| series.service.as_ref()));
    let lag_us = lag_ns / 1_000.0;
    let allowed_us =
        (rules.send_lag.as_secs_f64() * 1e6).max(rules.send_lag_share * service_us.unwrap_or(0.0));
    let service = service_us.map_or_else(|| "none".to_owned(), micros);
    Finding::judged(lag_us <= allowed_us, format!("p99 {} (service p99 {service})", micros(lag_us)))
}

fn achieved(rules: &Validity, phase: &Phase, seconds: &[v1::Second]) -> Finding {
    let even = match phase.model {
        LoadModel::Closed { .. } => {
            return Finding::not_evaluable(
                "a closed model has no wanted rate: its users wait for their answers",
            );
        }
        LoadModel::None => return Finding::not_evaluable("nothing is sent in this phase"),
        LoadModel::Open { arrivals, .. } | LoadModel::Walk { arrivals, .. } => arrivals == Arrivals::Even,
    };
    let (mut short, mut judged) = (0.0, 0.0);
    let mut worst = 1.0_f64;
    for second in seconds {
        let counts = second.arrivals.unwrap_or_default();
        let by_rate = second.wanted_rate * as_seconds(second.length_ns);
        let wanted = if even { by_rate } else { number(counts.scheduled) };
        if by_rate < 1.0 || wanted < 1.0 {
            continue;
        }
        judged += 1.0;
        let taken_up = number(counts.scheduled.saturating_sub(counts.dropped_by_generator));
        let edge = if even { 1.0 } else { 0.0 };
        worst = worst.min(taken_up / wanted);
        if taken_up + edge < rules.achieved * wanted {
            short += 1.0;
        }
    }
    if judged == 0.0 {
        return Finding::not_evaluable("no second of the phase wanted a whole arrival");
    }
    let figure: f64 = short / judged;
    let seen =
        format!("short in {} of {} s (worst second {})", share(figure), plain(judged), share(worst.min(1.0)));
    Finding::judged(figure <= rules.short_seconds, seen)
}

/// Arrivals that were not sent because of the generator: late, or without a port or a descriptor for their connection.
fn drops(rules: &Validity, measured: &Measured) -> Finding {
    let counts = measured.series.total.as_ref().and_then(|total| total.arrivals).unwrap_or_default();
    if counts.scheduled == 0 {
        return Finding::not_evaluable("no arrival was scheduled");
    }
    let errors =
        measured.series.total.iter().flat_map(|total| &total.total).flat_map(|series| &series.errors);
    let exhausted: u64 =
        errors.filter(|error| error.class == FailureClass::Exhausted.name()).map(|error| error.count).sum();
    let figure = number(counts.dropped_by_generator + exhausted) / number(counts.scheduled);
    let mut seen = format!("{} of {} ({})", counts.dropped_by_generator, counts.scheduled, share(figure));
    if exhausted > 0 {
        let _ = write!(seen, ", with {exhausted} that failed for want of a port or descriptor here");
    }
    Finding::judged(figure <= rules.drops, seen)
}

/// An arrival that is neither of these is one of which nobody knows what became: the figures leave it out.
fn counts_close(measured: &Measured) -> Finding {
    let Some(n) = measured.series.total.as_ref().and_then(|total| total.arrivals) else {
        return Finding::not_evaluable("no samples arrived");
    };
    let began = n.dropped + n.waiting + n.started;
    let ended = n.answered + n.failed + n.cancelled + n.in_flight;
    Finding::judged(
        n.scheduled == began && n.started == ended,
        format!(
            "{} scheduled = {} dropped + {} waiting + {} started; {} started = {} answered + {} failed + {} cancelled + {} in flight",
            n.scheduled,
            n.dropped,
            n.waiting,
            n.started,
            n.started,
            n.answered,
            n.failed,
            n.cancelled,
            n.in_flight
        ),
    )
}

/// Seconds tell the busiest thread only: a stretch counts although different threads were the busiest in it.
fn busy(rules: &Validity, seconds: &[v1::Second]) -> Finding {
    if seconds.is_empty() {
        return Finding::not_evaluable("no samples arrived");
    }
    let (mut stretch, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut peak = 0.0_f64;
    for second in seconds {
        peak = peak.max(second.busy_max);
        stretch = if second.busy_max > rules.busy {
            stretch + Duration::from_nanos(second.length_ns)
        } else {
            Duration::ZERO
        };
        longest = longest.max(stretch);
    }
    let seen = format!(
        "over {} for {} s at most (peak {})",
        share(rules.busy),
        plain(longest.as_secs_f64()),
        share(peak)
    );
    // A stretch as long as the rule says trips it: nine seconds do not, ten do.
    Finding::judged(longest < rules.busy_for, seen)
}

fn trapped(rules: &Validity, measured: &Measured, traps: &[Trap]) -> Finding {
    const MINUTE_NS: u64 = 60_000_000_000;
    let mut by_guest: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for trap in traps {
        by_guest.entry(trap.scenario).or_default().push(trap.offset_ns);
    }
    let mut worst = 0_usize;
    for offsets in by_guest.values_mut() {
        offsets.sort_unstable();
        let mut oldest = 0;
        for (newest, at) in offsets.iter().enumerate() {
            while at - offsets[oldest] >= MINUTE_NS {
                oldest += 1;
            }
            worst = worst.max(newest + 1 - oldest);
        }
    }
    // Samples count traps, too: they stand in for records that have not arrived, or were too many to be kept.
    let counted: u64 = measured.series.threads.iter().map(|thread| thread.guest_traps).sum();
    let minutes = (measured.seconds_long() / 60.0).max(1.0);
    let mean = if counted > traps.len() as u64 { number(counted) / minutes } else { 0.0 };
    let figure = number(worst as u64).max(mean);
    let all = counted.max(traps.len() as u64);
    let seen = format!("{} in the worst minute, {all} in all", plain(figure));
    Finding::judged(figure <= f64::from(rules.traps_per_minute), seen)
}

#[cfg(test)]
#[path = "validity_tests.rs"]
mod tests;
