//! What load saw before, during and after a fault, from the merged seconds.
//!
//! A second is the finest that there is, so a second that a fault touched, even in part, is *during*; the stretches
//! before and after are of seconds that no fault touched. Sums are exact. Percentiles of several seconds are never
//! averaged: without their histograms only bounds are exact, the lowest and the highest of the seconds'.

use protocol::v1;
use schemars::JsonSchema;
use serde::Serialize;

use super::{FaultSummary, lives::Fate};
use crate::RunData;
use crate::figures::{percent, rate, round_percent};
use crate::phases::{real, whole_seconds};
use crate::summary::PhaseSummary;

/// How far before a fault's beginning and after its end is looked.
const AROUND_NS: u64 = 10_000_000_000;
const MS: u64 = 1_000_000;
/// Place of p95 in `Second.latency_us`.
const P95_PLACE: usize = 2;
/// Requests a second by which goodput may miss what was wanted and still be whole: those that end in the next second, and
/// the rounding of low rates. The chaos phase's objective allows the same.
const EDGE: f64 = 1.0;

/// Some seconds together, of all load of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Stretch {
    /// How long they are together, milliseconds.
    pub length_ms: u64,
    /// Mean wanted rate, per second; null when nothing was measured.
    pub wanted_rate: Option<f64>,
    /// Mean rate of answers that broke no check, per second; null when nothing was measured.
    pub goodput: Option<f64>,
    /// Goodput as a share of what was wanted; null when nothing was wanted.
    pub goodput_share: Option<f64>,
    /// Failed, wrongly answered and dropped, as a share of what ended or was dropped; null when nothing was.
    pub error_rate: Option<f64>,
    /// p95 of answers, from when they were due; null when there were none.
    pub p95: Option<P95>,
    /// Whether steady state held; null when that cannot be told.
    pub steady: Option<bool>,
    /// Why it cannot be told.
    pub not_evaluable: Option<String>,
}

/// Bounds of a stretch's p95: the lowest and the highest p95 of its single seconds, between which its own lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct P95 {
    /// Of its best second, microseconds.
    pub lowest_us: u64,
    /// Of its worst second, microseconds.
    pub highest_us: u64,
}

/// When steady state holds in a fault's phase.
pub(super) struct SteadyState {
    /// Goodput at least, as a share of what was wanted.
    goodput: f64,
    /// Errors at most, as a share.
    errors: f64,
    /// In words.
    pub(super) formula: String,
}

/// All seconds of a run, and which of them faults touched.
pub(super) struct Seconds<'a> {
    data: &'a RunData,
    baseline: Option<f64>,
    all: Vec<Placed<'a>>,
    /// Fault, first and last nanosecond from the run's start.
    faults: Vec<(String, u64, u64)>,
}

struct Placed<'a> {
    phase: u32,
    from: u64,
    to: u64,
    second: &'a v1::Second,
}

impl<'a> Seconds<'a> {
    pub(super) fn new(
        data: &'a RunData,
        phases: &[PhaseSummary],
        faults: &[FaultSummary],
        lasted_ms: u64,
    ) -> Self {
        let windows = faults.iter().filter_map(|fault| {
            let (from, to) = fault.window(lasted_ms)?;
            Some((fault.fault.clone(), from * MS, to * MS))
        });
        let placed = |phase: &PhaseSummary| {
            let (index, start) = (phase.index, phase.start_ms * MS);
            whole_seconds(data, phase).map(move |second| {
                let from = start + second.offset_ns;
                Placed { phase: index, from, to: from + second.length_ns, second }
            })
        };
        let baseline = phases.iter().find(|phase| phase.name == "baseline" && phase.arrivals.scheduled > 0);
        Self {
            data,
            baseline: baseline.map(|phase| phase.error_share),
            all: phases.iter().flat_map(placed).collect(),
            faults: windows.collect(),
        }
    }

    /// The rule of the fault's phase: the parameters of the chaos phase's objectives, as its plan or the preset has them.
    pub(super) fn steady_state(&self, fault: &FaultSummary) -> SteadyState {
        let phase = self.data.plan.phases.iter().find(|phase| phase.name.name() == fault.phase);
        let preset = plan::presets::objectives(plan::model::PhaseName::Chaos);
        let parameter = |key: &str| {
            let own = phase.and_then(|phase| phase.objectives.get(key)).copied();
            own.or_else(|| preset.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
        };
        let goodput = parameter("steady-goodput").unwrap_or(1.0);
        let above = parameter("steady-errors").unwrap_or(0.0);
        let errors = self.baseline.unwrap_or(0.0) + above;
        let of = match self.baseline {
            Some(baseline) => {
                format!("the baseline phase's {} + {}", round_percent(baseline), round_percent(above))
            }
            None => "there was no baseline phase".to_owned(),
        };
        let formula = format!(
            "goodput ≥ {} of what was wanted, errors ≤ {} ({of})",
            round_percent(goodput),
            round_percent(errors)
        );
        SteadyState { goodput, errors, formula }
    }

    /// Fills in the three stretches of a fault.
    pub(super) fn measure(&self, fault: &mut FaultSummary) {
        let steady = self.steady_state(fault);
        let window = self.faults.iter().find(|(id, ..)| *id == fault.fault).map(|(_, from, to)| (*from, *to));
        let ((from, to), phase) = match (window, fault.phase_index) {
            (Some(window), Some(phase)) if fault.ran() => (window, phase),
            _ => {
                let none = Stretch::without("it was not injected");
                (fault.before, fault.during, fault.after) = (none.clone(), none.clone(), none);
                return;
            }
        };
        let before = |second: &Placed<'_>| second.to <= from && second.to + AROUND_NS > from;
        let after = |second: &Placed<'_>| second.from >= to && second.from < to + AROUND_NS;
        let during = |second: &Placed<'_>| second.touched(from, to);
        fault.before = self.calm(phase, before, "the phase began with it", &steady);
        fault.during = match self.chosen(phase, during).as_slice() {
            [] => Stretch::without("nothing was measured while it was there"),
            seconds => Stretch::of(seconds, &steady),
        };
        fault.after = match fault.fate {
            Fate::Unrecovered => Stretch::without("it was not undone"),
            _ if fault.over_ms.is_none() => Stretch::without("the history has no end of it"),
            _ => self.calm(phase, after, "its phase ended with it", &steady),
        };
    }

    /// A stretch of seconds that no fault touched.
    fn calm(
        &self,
        phase: u32,
        inside: impl Fn(&Placed<'_>) -> bool,
        at_the_edge: &str,
        steady: &SteadyState,
    ) -> Stretch {
        let near = self.chosen(phase, inside);
        let mut others: Vec<&str> = Vec::new();
        let calm: Vec<&Placed<'_>> = near
            .iter()
            .copied()
            .filter(|second| {
                let there = self.faults.iter().filter(|(_, from, to)| second.touched(*from, *to));
                let before = others.len();
                others.extend(there.map(|(id, ..)| id.as_str()));
                others.len() == before
            })
            .collect();
        if !calm.is_empty() {
            return Stretch::of(&calm, steady);
        }
        others.sort_unstable();
        others.dedup();
        match (others.as_slice(), self.all.iter().any(|second| second.phase == phase)) {
            (_, false) => Stretch::without("nothing was measured in its phase"),
            ([], true) => Stretch::without(at_the_edge),
            (others, true) => {
                let named = others.join(", ");
                Stretch::without(&format!("no second within 10 s was free of other faults ({named})"))
            }
        }
    }

    fn chosen(&self, phase: u32, inside: impl Fn(&Placed<'_>) -> bool) -> Vec<&Placed<'a>> {
        self.all.iter().filter(|second| second.phase == phase && inside(second)).collect()
    }
}

impl Placed<'_> {
    /// Whether any of it lies within; a fault without length touches the second in which it was.
    const fn touched(&self, from: u64, to: u64) -> bool {
        self.to > from && (self.from < to || self.from == from)
    }
}

impl Stretch {
    fn without(reason: &str) -> Self {
        Self { not_evaluable: Some(reason.to_owned()), ..Self::default() }
    }

    fn of(placed: &[&Placed<'_>], steady: &SteadyState) -> Self {
        let length_ns: u64 = placed.iter().map(|one| one.second.length_ns).sum();
        let seconds = real(length_ns) / 1e9;
        if seconds <= 0.0 {
            return Self::without("nothing was measured then");
        }
        let sum = |count: fn(&v1::Second) -> u64| placed.iter().map(|one| count(one.second)).sum::<u64>();
        let wanted: f64 =
            placed.iter().map(|one| one.second.wanted_rate * real(one.second.length_ns) / 1e9).sum();
        let (good, errors) = (sum(|second| second.good), sum(|second| second.errors));
        let ended = sum(ended);
        let wanted_rate = wanted / seconds;
        let goodput = real(good) / seconds;
        let error_rate = (ended > 0).then(|| (real(errors) / real(ended)).min(1.0));
        let p95: Vec<u64> = placed
            .iter()
            .filter_map(|one| one.second.latency_us.get(P95_PLACE).copied())
            .filter(|us| *us > 0)
            .collect();
        let p95 = p95.iter().min().zip(p95.iter().max());
        let kept_up = goodput + EDGE >= steady.goodput * wanted_rate;
        let started = sum(|second| second.arrivals.map_or(0, |counts| counts.started));
        let (held, why) = match (wanted > 0.0, error_rate) {
            (true, Some(errors)) => (Some(kept_up && errors <= steady.errors), None),
            // Nothing ended at all although something was wanted: that is no steady state.
            (true, None) => (Some(false), None),
            (false, _) if started > 0 => {
                (None, Some("no rate was wanted (a closed model has none)".to_owned()))
            }
            (false, _) => (None, Some("no load was wanted".to_owned())),
        };
        Self {
            length_ms: length_ns / MS,
            wanted_rate: Some(wanted_rate),
            goodput: Some(goodput),
            goodput_share: (wanted > 0.0).then(|| real(good) / wanted),
            error_rate,
            p95: p95.map(|(lowest, highest)| P95 { lowest_us: *lowest, highest_us: *highest }),
            steady: held,
            not_evaluable: why,
        }
    }

    /// `goodput 297 of 300 /s (99.0 %), errors 0 %`, or why there is nothing to say.
    pub(super) fn words(&self) -> String {
        let (Some(goodput), Some(wanted)) = (self.goodput, self.wanted_rate) else {
            return self.not_evaluable.clone().unwrap_or_default();
        };
        let errors =
            self.error_rate.map_or_else(|| "nothing ended".to_owned(), |e| format!("errors {}", percent(e)));
        let share = self.goodput_share.map_or_else(String::new, |share| format!(" ({})", percent(share)));
        format!("goodput {} of {} /s{share}, {errors}", rate(goodput), rate(wanted))
    }
}

/// Operations that ended in a second, and arrivals that were dropped.
fn ended(second: &v1::Second) -> u64 {
    second.arrivals.map_or(0, |counts| counts.answered + counts.failed + counts.cancelled + counts.dropped)
}
