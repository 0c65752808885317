//! The search for the knee: a pure function from the stages so far to what comes next.
//!
//! 1. **Rise**: from the start rate, twice as much each time, until a stage fails or the highest rate is kept.
//! 2. **Narrow**: halfway between the highest rate kept and the lowest that failed above it, until the two are close enough.
//! 3. **Confirm**: a longer stage at the highest rate kept. When it fails, a lower rate is confirmed, a few times at most.
//!
//! A single failure is believed only where it costs little. One that ends the rise, and the one that bounds the result, are
//! tried **again**: noise that breaks one stage would else hide a knee that is far higher, and the confirming stage, which
//! passes below it, would not find out. When the second try passes, the stages contradict each other, and the search goes on
//! above. A stage in which the generator was the limit says nothing of the target: it is repeated at once, and counts as a
//! failure of the generator only when it comes out so twice, or four times where it measured a higher rate: then something else
//! disturbs it, and may pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Each rate of the rise is so many times the one before.
pub(crate) const FACTOR: f64 = 2.0;
/// Confirming stages at most, those repeated for the generator's sake among them.
pub(crate) const CONFIRMATIONS: usize = 5;
/// How often a stage may pass at a rate that failed before, until such bounds are no longer tried again.
const CONTRADICTIONS: usize = 3;
/// After so many stages of one rate that the generator spoilt, the rate is given up …
const SPOILT: usize = 2;
/// … and after so many where it could measure a higher one.
const DISTURBED: usize = 4;
/// Stages beside those of a search without surprises: repeated ones, and what follows from a contradiction.
const SPARE: usize = 6;
/// The gap of a step down is at most this share of the lower rate.
const LONGEST_STEP: f64 = 1.0;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// First rate, per second; over 0.
    pub(crate) start: f64,
    /// Highest rate, per second; at least `start`.
    pub(crate) max: f64,
    /// The gap between knee and lowest failure is at most this share of the knee; over 0, under 1.
    pub(crate) precision: f64,
}

/// Why a stage is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Find a rate that fails.
    Rise,
    /// Bring the highest rate kept and the lowest that failed together.
    Narrow,
    /// See whether a failure comes again.
    Again,
    /// See whether the knee is kept for longer.
    Confirm,
}

impl Purpose {
    /// As the terminal and `knee.json` write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rise => "rise",
            Self::Narrow => "narrow",
            Self::Again => "again",
            Self::Confirm => "confirm",
        }
    }
}

/// How a stage came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    /// Every threshold held, at the rate that was wanted, in a valid measurement.
    Kept,
    /// The target did not keep it.
    Broken,
    /// The generator was the limit: nothing is known of the target.
    Generator,
}

/// A stage that was run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tried {
    pub(crate) purpose: Purpose,
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) found: Found,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// Run a stage.
    Stage {
        /// Why.
        purpose: Purpose,
        /// Requests per second.
        rate: f64,
    },
    /// Nothing more is to be learnt.
    Done,
}

/// Stages that a search takes at most, confirming ones apart.
pub(crate) fn most_stages(limits: &Limits) -> usize {
    let mut rate = limits.start;
    let mut rises = 1;
    while rate < limits.max {
        rate *= FACTOR;
        rises += 1;
    }
    // Each halves the gap, which is at most FACTOR − 1 of the lower rate at first.
    let mut gap = FACTOR - 1.0;
    let mut halvings = 0;
    while gap > limits.precision {
        gap /= 2.0;
        halvings += 1;
    }
    rises + 2 * halvings + SPARE
}

/// The stage that comes after these. The same stages give the same answer.
pub(crate) fn next(limits: &Limits, tried: &[Tried]) -> Next {
    let stage = |purpose, rate| Next::Stage { purpose, rate };
    let last = tried.last().copied();
    if let Some(last) = last.filter(|last| last.purpose == Purpose::Confirm) {
        return after_confirmation(limits, tried, last);
    }
    let bounds = Bounds::of(tried);
    if tried.len() >= most_stages(limits) {
        return bounds.kept.map_or(Next::Done, |rate| stage(Purpose::Confirm, rate));
    }
    let failed_once = |rate| fails(tried, rate) == 1;
    if let Some(last) = last
        && last.found == Found::Generator
        && spoilt(tried, last.rate) < patience(tried, last.rate)
    {
        return stage(Purpose::Again, last.rate);
    }
    match (bounds.kept, bounds.failed) {
        (None, None) => stage(Purpose::Rise, limits.start),
        (None, Some(failed)) if failed_once(failed) => stage(Purpose::Again, failed),
        (None, Some(_)) => Next::Done,
        (Some(kept), None) if kept >= limits.max => stage(Purpose::Confirm, kept),
        (Some(kept), None) => stage(Purpose::Rise, (kept * FACTOR).min(limits.max)),
        (Some(_), Some(failed)) if last.is_some_and(|last| ended_the_rise(last, failed)) => {
            stage(Purpose::Again, failed)
        }
        (Some(kept), Some(failed)) if !close(limits, kept, failed) => {
            stage(Purpose::Narrow, between(kept, failed))
        }
        (Some(_), Some(failed)) if failed_once(failed) && overturned(tried) < CONTRADICTIONS => {
            stage(Purpose::Again, failed)
        }
        (Some(kept), Some(_)) => stage(Purpose::Confirm, kept),
    }
}

fn after_confirmation(limits: &Limits, tried: &[Tried], last: Tried) -> Next {
    let confirming: Vec<&Tried> = tried.iter().filter(|one| one.purpose == Purpose::Confirm).collect();
    if last.found == Found::Kept || confirming.len() >= CONFIRMATIONS {
        return Next::Done;
    }
    let here = confirming.iter().filter(|one| one.rate == last.rate).count();
    if last.found == Found::Generator && here == 1 {
        return Next::Stage { purpose: Purpose::Confirm, rate: last.rate };
    }
    // The steps grow, so that a few of them leave the neighbourhood of a knee that was found too high.
    let mut rates: Vec<f64> = confirming.iter().map(|one| one.rate).collect();
    rates.dedup();
    let step = rates.iter().skip(1).fold(limits.precision, |step, _| step * 2.0).min(LONGEST_STEP);
    // As far below that the gap is the step; rounded up, for a rounded gap must not be wider.
    let lower = last.rate / (1.0 + step);
    let short = rounded(lower, f64::ceil);
    Next::Stage { purpose: Purpose::Confirm, rate: if short < last.rate { short } else { lower } }
}

/// What is known of where the knee is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    /// The highest rate that was kept, below every confirming stage that failed.
    pub(crate) kept: Option<f64>,
    /// The lowest rate above it at which a stage failed; without one that was kept, the lowest of all.
    pub(crate) failed: Option<f64>,
}

impl Bounds {
    /// Reads the stages. A longer stage that failed outweighs shorter ones that passed.
    pub(crate) fn of(tried: &[Tried]) -> Self {
        let ceiling = tried
            .iter()
            .filter(|one| one.purpose == Purpose::Confirm && one.found == Found::Broken)
            .map(|one| one.rate)
            .fold(f64::INFINITY, f64::min);
        let kept =
            tried.iter().filter(|one| one.found == Found::Kept && one.rate < ceiling).map(|one| one.rate);
        let kept = kept.reduce(f64::max);
        let failed = tried
            .iter()
            .filter(|one| one.found != Found::Kept && kept.is_none_or(|kept| one.rate > kept))
            .map(|one| one.rate);
        Self { kept, failed: failed.reduce(f64::min) }
    }
}

/// A rate that was kept in one stage although a lower or the same one was not in another, by index. A confirming stage that
/// failed contradicts no shorter one: what lasts longer asks for more.
pub(crate) fn contradictions(tried: &[Tried]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (broken_at, broken) in tried.iter().enumerate().filter(|(_, one)| one.found == Found::Broken) {
        let against = tried.iter().enumerate().filter(|(_, one)| {
            let outweighed = broken.purpose == Purpose::Confirm && one.purpose != Purpose::Confirm;
            one.found == Found::Kept && one.rate >= broken.rate && !outweighed
        });
        // One is enough; the lowest says most.
        let lowest = against.min_by(|(_, a), (_, b)| a.rate.total_cmp(&b.rate));
        found.extend(lowest.map(|(kept_at, _)| (broken_at, kept_at)));
    }
    found
}

/// Whether a gap is as small as was asked for.
pub(crate) fn close(limits: &Limits, kept: f64, failed: f64) -> bool {
    failed - kept <= limits.precision * kept
}

/// How often a rate that failed was kept when it was tried again.
fn overturned(tried: &[Tried]) -> usize {
    tried.iter().filter(|one| one.purpose == Purpose::Again && one.found == Found::Kept).count()
}

/// Stages at this rate in which the generator was the limit.
fn spoilt(tried: &[Tried], rate: f64) -> usize {
    tried.iter().filter(|one| one.rate == rate && one.found == Found::Generator).count()
}

/// How many of them there may be until the rate is given up.
fn patience(tried: &[Tried], rate: f64) -> usize {
    if measured_above(tried, rate) { DISTURBED } else { SPOILT }
}

/// Whether the generator could measure a higher rate.
pub(crate) fn measured_above(tried: &[Tried], rate: f64) -> bool {
    tried.iter().any(|one| one.rate > rate && one.found != Found::Generator)
}

/// Stages at this rate that failed, for whatever reason.
pub(crate) fn fails(tried: &[Tried], rate: f64) -> usize {
    tried.iter().filter(|one| one.rate == rate && one.found != Found::Kept).count()
}

fn ended_the_rise(last: Tried, failed: f64) -> bool {
    last.purpose == Purpose::Rise && last.rate == failed
}

/// The middle of two rates, as a number that is easily read where there is one between them.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    let short = readable(middle);
    if low < short && short < high { short } else { middle }
}

/// Whole from 100 on, below with four digits: as exact as a rate can be told apart.
fn readable(rate: f64) -> f64 {
    rounded(rate, f64::round)
}

fn rounded(rate: f64, way: fn(f64) -> f64) -> f64 {
    // Divided by a whole number, so that 0.1 is 0.1.
    let mut parts = 1.0;
    while rate < 100.0 && rate * parts < 1_000.0 && parts < 1e6 {
        parts *= 10.0;
    }
    way(rate * parts) / parts
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
