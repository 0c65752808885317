//! What the objectives are judged by: the recorded series of this phase and of those before it.

use plan::model::{Phase, Plan};
use plan::threshold::{Measure, Op, Threshold};
use protocol::event::Outcome;
use protocol::v1;

use crate::news::Opened;

/// The parameter whose default is in the plan's `[recovery-budgets]`.
pub(crate) const RECOVERY_SECONDS: &str = "recovery-seconds";

/// A phase that ran, with everything that `metrics` knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The phase, scaled.
    pub(crate) phase: Phase,
    /// Its start, Unix nanoseconds.
    pub(crate) t0_unix_ns: i64,
    /// Its merged series.
    pub(crate) series: v1::PhaseSeries,
}

/// A stretch in which a target was not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// The target's name.
    pub(crate) target: String,
    /// Unix nanoseconds when it was seen first.
    pub(crate) began_unix_ns: i64,
    /// Unix nanoseconds when the target was healthy again.
    pub(crate) ended_unix_ns: Option<i64>,
}

/// A threshold's outcome with the target that it was limited to.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// The target's name; absent = all of them.
    pub(crate) target: Option<String>,
    /// How it came out.
    pub(crate) outcome: Outcome,
}

/// Everything that a phase's objectives may look at.
pub(crate) struct Evidence<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// This phase.
    pub(crate) now: &'a Measured,
    /// The phases before it, in order.
    pub(crate) before: &'a [Measured],
    /// The probes as they stood at the phase's end; absent when `metrics` did not answer.
    pub(crate) probes: Option<&'a [v1::ProbeState]>,
    /// Stretches of this phase in which a target failed its health check.
    pub(crate) incidents: &'a [Incident],
    /// Incidents of recovery that were open in this phase.
    pub(crate) opened: &'a [Opened],
    /// Processes of ours that ended in this phase: `shop: exit code 1`.
    pub(crate) exits: &'a [String],
    /// Thresholds of the phase and of the run, as they stand.
    pub(crate) thresholds: &'a [Judged],
}

impl<'a> Evidence<'a> {
    /// A parameter of the phase's objectives: the plan's, else the requirement's.
    pub(crate) fn parameter(&self, key: &str, default: f64) -> f64 {
        let own = self.now.phase.objectives.get(key).copied();
        own.unwrap_or_else(|| match key {
            RECOVERY_SECONDS => (self.plan.budgets.detection + self.plan.budgets.recovery).as_secs_f64(),
            _ => default,
        })
    }

    /// The whole phase, merged.
    pub(crate) fn total(&self) -> Option<&'a v1::Aggregate> {
        self.now.series.total.as_ref()
    }

    /// Arrivals and operations of the whole phase.
    pub(crate) fn counts(&self) -> v1::ArrivalCounts {
        self.total().and_then(|total| total.arrivals).unwrap_or_default()
    }

    /// A measure over the whole phase, defined as thresholds define it; `None` when nothing was sent.
    pub(crate) fn measure(&self, measure: Measure) -> Option<f64> {
        self.now.measure(measure)
    }

    /// The baseline phase, if it ran before this one.
    pub(crate) fn baseline(&self) -> Option<&'a Measured> {
        self.before.iter().find(|measured| measured.phase.name == plan::model::PhaseName::Baseline)
    }

    /// The name of a target by its index in messages.
    pub(crate) fn target_name(&self, index: u32) -> &'a str {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.plan.targets.get(index).map_or("unknown", |target| target.name.as_str())
    }

    /// Why a metric is missing, in the words of `metrics`, else in ours.
    pub(crate) fn why_absent(&self, metric: &str) -> String {
        let prefix = format!("{metric}:");
        let told: Vec<String> = self
            .now
            .series
            .targets
            .iter()
            .flat_map(|target| {
                let name = self.target_name(target.target);
                target
                    .absent
                    .iter()
                    .filter(|text| text.starts_with(&prefix))
                    .map(move |text| format!("{name}: {text}"))
            })
            .collect();
        if !told.is_empty() {
            return told.join("; ");
        }
        match metric {
            "cpu" | "memory" => {
                format!("no target reports {metric}: name a source in `targets.<name>.resources`")
            }
            _ => format!(
                "no target reports `{metric}`: set its `metrics-url`, and in `metrics` the name of this counter there"
            ),
        }
    }
}

impl Measured {
    /// A measure over the whole phase, defined as thresholds define it; `None` when nothing was sent.
    pub(crate) fn measure(&self, measure: Measure) -> Option<f64> {
        let total = self.series.total.as_ref()?;
        if total.arrivals.is_none_or(|counts| counts.scheduled == 0) {
            return None;
        }
        series::evaluate(&over_the_whole_phase(measure), total)
    }

    /// Offset of a Unix stamp from the phase's start, nanoseconds; negative before it.
    pub(crate) fn offset_of(&self, unix_ns: i64) -> i64 {
        unix_ns.saturating_sub(self.t0_unix_ns)
    }

    /// Length of the phase as it was measured, seconds.
    pub(crate) fn seconds_long(&self) -> f64 {
        let ns: u64 = self.series.seconds.iter().map(|second| second.length_ns).sum();
        if ns > 0 { as_seconds(ns) } else { self.phase.duration.as_secs_f64() }
    }
}

/// Nanoseconds as seconds.
pub(crate) fn as_seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

/// A threshold that exists only to ask for its measure.
fn over_the_whole_phase(measure: Measure) -> Threshold {
    Threshold {
        measure,
        op: Op::Less,
        limit: f64::INFINITY,
        over: None,
        abort: false,
        delay: std::time::Duration::ZERO,
        scenario: None,
        step: None,
        target: None,
    }
}
