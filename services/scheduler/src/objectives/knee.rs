//! Where the target stops keeping up: the knee, and the breaking point behind it.
//!
//! All loaded seconds of the run so far are sorted into levels of wanted rate, each 10 % above the last. A level is
//! *over* when its goodput is under a share of what was wanted (by more than one operation a second), or when its p95 is over a multiple of the reference
//! (the baseline phase's p95, else that of the lowest level). The knee is the highest level below the first one
//! that is over.

use std::collections::BTreeMap;

use protocol::v1;

use crate::objectives::evidence::{Measured, as_seconds};

/// Index of p95 in the percentiles of a second.
const P95: usize = 2;

/// Operations a second by which goodput may miss what was wanted and still be whole: those that end in the next second, and
/// the rounding of low rates.
const EDGE: f64 = 1.0;

/// A level is 10 % wide.
const LEVEL: f64 = 1.1;

/// Figures of one level of wanted rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Level {
    /// Mean wanted rate, per second.
    pub(crate) wanted: f64,
    /// Mean goodput, per second.
    pub(crate) goodput: f64,
    /// Share of ended or dropped arrivals that were errors.
    pub(crate) errors: f64,
    /// Median of its seconds' p95, microseconds; 0 when nothing was answered.
    pub(crate) p95_us: f64,
}

/// Where the target stopped keeping up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Knee {
    /// It kept up with every level; the highest tried.
    NotReached(Level),
    /// Already the lowest level was over; that level.
    Below(Level),
    /// The highest level that it kept up with.
    At(Level),
}

/// When a level is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Goodput under this share of the wanted rate.
    pub(crate) goodput: f64,
    /// p95 over this multiple of the reference.
    pub(crate) latency: f64,
}

/// The levels of all loaded seconds, in order of rate. Seconds without a wanted rate (closed models) have no level.
pub(crate) fn levels<'m>(measured: impl Iterator<Item = &'m Measured>) -> Vec<Level> {
    let mut sorted: BTreeMap<i64, Vec<&v1::Second>> = BTreeMap::new();
    for second in measured.flat_map(|measured| &measured.series.seconds) {
        if second.wanted_rate >= 1.0 && second.length_ns > 0 {
            #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a rate is small")]
            let level = (second.wanted_rate.ln() / LEVEL.ln()).round() as i64;
            sorted.entry(level).or_default().push(second);
        }
    }
    sorted.into_values().map(|seconds| Level::of(&seconds)).collect()
}

impl Level {
    /// Whether at least a share of what was wanted was answered well.
    pub(crate) fn kept_up(&self, share: f64) -> bool {
        self.goodput + EDGE >= share * self.wanted
    }

    /// The figures of some seconds together.
    pub(crate) fn of(seconds: &[&v1::Second]) -> Self {
        let long: f64 = seconds.iter().map(|second| as_seconds(second.length_ns)).sum();
        if long <= 0.0 {
            return Self::default();
        }
        let wanted: f64 =
            seconds.iter().map(|second| second.wanted_rate * as_seconds(second.length_ns)).sum();
        let good: u64 = seconds.iter().map(|second| second.good).sum();
        let errors: u64 = seconds.iter().map(|second| second.errors).sum();
        let ended: u64 = seconds.iter().map(|second| ended(second)).sum();
        let mut p95: Vec<u64> = seconds
            .iter()
            .filter_map(|second| second.latency_us.get(P95).copied())
            .filter(|us| *us > 0)
            .collect();
        p95.sort_unstable();
        Self {
            wanted: wanted / long,
            goodput: number(good) / long,
            errors: if ended == 0 { 0.0 } else { (number(errors) / number(ended)).min(1.0) },
            p95_us: p95.get(p95.len() / 2).map_or(0.0, |us| number(*us)),
        }
    }
}

/// Operations that ended in a second, and arrivals that were dropped.
fn ended(second: &v1::Second) -> u64 {
    second.arrivals.map_or(0, |counts| counts.answered + counts.failed + counts.cancelled + counts.dropped)
}

/// A count as a number to reckon with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Finds the knee; `None` when no second had a wanted rate.
pub(crate) fn knee(levels: &[Level], reference_p95_us: Option<f64>, rule: Rule) -> Option<Knee> {
    let lowest = levels.first()?;
    let reference = reference_p95_us.unwrap_or(lowest.p95_us);
    let over = |level: &Level| {
        !level.kept_up(rule.goodput) || (reference > 0.0 && level.p95_us > rule.latency * reference)
    };
    match levels.iter().position(over) {
        None => levels.last().map(|last| Knee::NotReached(*last)),
        Some(0) => Some(Knee::Below(*lowest)),
        Some(first) => levels.get(first - 1).map(|level| Knee::At(*level)),
    }
}

/// The lowest level at which more than `share` of the operations were errors, or less than 1 − `share` of the wanted
/// rate was answered well.
pub(crate) fn breaking_point(levels: &[Level], share: f64) -> Option<Level> {
    levels.iter().find(|level| level.errors > share || !level.kept_up(1.0 - share)).copied()
}
