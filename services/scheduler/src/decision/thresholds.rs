//! Thresholds: which stretch each one asks `metrics` for, and how it stands.

use std::time::Duration;

use plan::model::Plan;
use plan::threshold::{Measure, Threshold};
use protocol::event::{Event, Outcome, ScenarioNames};
use protocol::v1;

use crate::clock::ns;
use crate::figures::{Finding, micros, plain, rate, share};
use crate::objectives::evidence::Judged;

/// Over what a threshold is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One phase, by index.
    Phase(u32),
    /// The whole run.
    Run,
}

/// The part of the series that a threshold is limited to, by index in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    scenario: Option<u32>,
    step: Option<u32>,
    target: Option<u32>,
}

/// A threshold and how it stands.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// As the plan has it.
    pub(crate) threshold: Threshold,
    /// As the plan writes it.
    pub(crate) text: String,
    scope: Scope,
    filter: Filter,
    /// Whether it held when it was last evaluated.
    pub(crate) holds: Option<bool>,
    /// The value seen: the last one, or the first that broke a sliding window.
    value: Option<f64>,
    /// A sliding window that was broken once stays broken.
    broken: bool,
    /// What was seen when it broke, as an earlier scheduler told it.
    told: Option<String>,
}

/// A threshold whose state changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// As the plan writes it.
    pub(crate) text: String,
    /// Whether it holds now.
    pub(crate) holds: bool,
    /// The value with its unit.
    pub(crate) seen: String,
    /// Whether breaking it ends the run.
    pub(crate) abort: bool,
}

impl Change {
    /// As the history has it.
    pub(crate) fn event(self, phase: Option<u32>) -> Event {
        Event::ThresholdChanged {
            phase,
            threshold: self.text,
            holds: self.holds,
            seen: self.seen,
            abort: self.abort,
        }
    }
}

impl Watched {
    /// Resolves the names that a threshold is limited to.
    ///
    /// # Errors
    /// A text for the user when a step is unknown or ambiguous.
    pub(crate) fn new(
        threshold: &Threshold,
        scope: Scope,
        plan: &Plan,
        names: &[ScenarioNames],
    ) -> Result<Self, String> {
        let text = threshold.to_string();
        let filter = resolve(threshold, &text, plan, names)?;
        Ok(Self {
            threshold: threshold.clone(),
            text,
            scope,
            filter,
            holds: None,
            value: None,
            broken: false,
            told: None,
        })
    }

    /// How it stood when an earlier scheduler died: whether it held, and what was seen when it broke first, if it ever did.
    pub(crate) fn recall(&mut self, holds: bool, broken_by: Option<String>) {
        self.holds = Some(holds);
        self.broken = broken_by.is_some() && self.threshold.over.is_some();
        self.told = broken_by.filter(|_| self.broken);
    }

    /// What to ask `metrics` for.
    pub(crate) fn query(&self, run: &[u8]) -> v1::QueryAggregate {
        v1::QueryAggregate {
            run: run.to_vec(),
            phase: match self.scope {
                Scope::Phase(phase) => Some(phase),
                Scope::Run => None,
            },
            window_ns: self.threshold.over.map_or(0, ns),
            scenario: self.filter.scenario,
            step: self.filter.step,
            target: self.filter.target,
        }
    }

    /// Whether it is time to evaluate it, so long after the start of its phase or run: after its delay, and, while the
    /// load goes on, when its window has filled.
    pub(crate) fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.threshold.delay && self.threshold.over.is_none_or(|window| elapsed >= window)
    }

    /// Takes the aggregate of its stretch; says whether its state changed.
    pub(crate) fn observe(&mut self, aggregate: &v1::Aggregate) -> Option<Change> {
        let value = series::evaluate(&self.threshold, aggregate)?;
        let holds = series::holds(self.threshold.op, value, self.threshold.limit);
        if !self.broken {
            self.value = Some(value);
            self.broken = !holds && self.threshold.over.is_some();
        }
        let changed = self.holds != Some(holds) && !(self.holds.is_none() && holds);
        self.holds = Some(holds);
        changed.then(|| Change {
            text: self.text.clone(),
            holds,
            seen: shown(self.threshold.measure, value),
            abort: self.threshold.abort,
        })
    }

    /// How it came out.
    pub(crate) fn outcome(&self) -> Outcome {
        let finding = match (self.holds, self.value) {
            (Some(_), None) if self.told.is_some() => {
                Finding::judged(false, self.told.clone().unwrap_or_default())
            }
            (Some(holds), Some(value)) => {
                Finding::judged(holds && !self.broken, shown(self.threshold.measure, value))
            }
            _ => Finding::not_evaluable("nothing that it measures was seen"),
        };
        finding.named(self.text.clone(), expected(&self.threshold))
    }

    /// How it came out, with its target.
    pub(crate) fn judged(&self) -> Judged {
        Judged { target: self.threshold.target.clone(), outcome: self.outcome() }
    }
}

fn expected(threshold: &Threshold) -> String {
    let mut text = format!("{} {}", symbol(threshold), shown(threshold.measure, threshold.limit));
    if let Some(window) = threshold.over {
        text.push_str(&format!(" in every window of {} s", plain(window.as_secs_f64())));
    }
    text
}

fn symbol(threshold: &Threshold) -> &'static str {
    use plan::threshold::Op;
    match threshold.op {
        Op::Less => "<",
        Op::LessOrEqual => "≤",
        Op::Greater => ">",
        Op::GreaterOrEqual => "≥",
    }
}

/// A value in its measure's unit.
fn shown(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Latency { .. } | Measure::Service { .. } | Measure::Queue { .. } | Measure::Mean => {
            micros(value)
        }
        Measure::ErrorRate | Measure::Checks | Measure::Achieved => share(value),
        Measure::Throughput | Measure::Goodput => rate(value),
        Measure::Dropped => plain(value),
    }
}

fn resolve(
    threshold: &Threshold,
    text: &str,
    plan: &Plan,
    names: &[ScenarioNames],
) -> Result<Filter, String> {
    let mut filter = Filter::default();
    if let Some(name) = &threshold.target {
        filter.target = Some(
            index(plan.targets.iter().map(|target| target.name.as_str()), name)
                .ok_or_else(|| format!("threshold `{text}`: the plan has no target {name:?}"))?,
        );
    }
    if let Some(name) = &threshold.scenario {
        filter.scenario = Some(
            index(names.iter().map(|names| names.scenario.as_str()), name)
                .ok_or_else(|| format!("threshold `{text}`: the plan has no scenario {name:?}"))?,
        );
    }
    if let Some(step) = &threshold.step {
        let mut found = Vec::new();
        for (at, scenario) in names.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            if filter.scenario.is_none_or(|wanted| wanted == at)
                && let Some(step) = index(scenario.steps.iter().map(String::as_str), step)
            {
                found.push((at, step));
            }
        }
        match found[..] {
            [(scenario, step)] => {
                filter.scenario = Some(scenario);
                filter.step = Some(step);
            }
            [] => {
                let known: Vec<&str> =
                    names.iter().flat_map(|names| &names.steps).map(String::as_str).collect();
                return Err(format!(
                    "threshold `{text}`: no scenario has a step {step:?}; the steps are: {}",
                    known.join(", ")
                ));
            }
            [..] => {
                return Err(format!(
                    "threshold `{text}`: {} scenarios have a step {step:?}: name one with `scenario`",
                    found.len()
                ));
            }
        }
    }
    Ok(filter)
}

fn index<'n>(mut names: impl Iterator<Item = &'n str>, wanted: &str) -> Option<u32> {
    names.position(|name| name == wanted).and_then(|at| u32::try_from(at).ok())
}

#[cfg(test)]
#[path = "thresholds_tests.rs"]
mod tests;
