//! Faults and incidents of a run: what was done to it, what load saw of it, what recovery found and did, and a score.
//!
//! All of it is a function of the history and of the merged seconds. What these cannot tell is *not evaluable*, with
//! the reason; it never counts as good.

mod incidents;
mod lives;
mod probes;
mod score;
mod windows;

use std::time::Duration;

use plan::Plan;
use protocol::event::Event;
use schemars::JsonSchema;
use serde::Serialize;

pub use incidents::{ActionSummary, IncidentSummary};
pub use lives::{Fate, FaultSummary};
pub use score::Resilience;
pub use windows::{P95, Stretch};

use crate::RunData;
use crate::summary::PhaseSummary;

/// A kind of fault that the plan asks for, and whether it can be done where chaos ran.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CapabilitySummary {
    /// `kill`, `latency` ….
    pub recipe: String,
    /// What does it: `fault proxy`, `fault agent`, `process driver`.
    pub backend: String,
    /// Whether it can be done there.
    pub available: bool,
    /// Why not, and what would mend it; empty when it can.
    pub reason: String,
}

/// What incidents are measured against (requirement R7.2), milliseconds; each figure has to be below its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BudgetsSummary {
    /// From the fault's injection to the incident.
    pub detection_ms: u64,
    /// From the incident to the first good probe after the last bad one.
    pub recovery_ms: u64,
    /// From that probe to the confirmation.
    pub validation_ms: u64,
}

/// All that the report says of faults and recovery.
pub(crate) struct Findings {
    pub(crate) faults: Vec<FaultSummary>,
    pub(crate) incidents: Vec<IncidentSummary>,
    pub(crate) capabilities: Vec<CapabilitySummary>,
    pub(crate) budgets: BudgetsSummary,
    pub(crate) resilience: Resilience,
}

/// Reads it all from a run of that length.
pub(crate) fn findings(data: &RunData, phases: &[PhaseSummary], lasted_ms: u64) -> Findings {
    let budgets = budgets(&data.plan);
    let mut faults = lives::read(data, phases);
    let incidents = incidents::read(&data.history, &faults, budgets);
    let series = windows::Seconds::new(data, phases, &faults, lasted_ms);
    for fault in &mut faults {
        fault.incidents = incidents
            .iter()
            .filter(|incident| incident.fault.as_deref() == Some(&fault.fault))
            .map(|incident| incident.incident.clone())
            .collect();
        series.measure(fault);
        probes::judge(fault, &incidents, &series.steady_state(fault));
    }
    let resilience = score::of(&faults);
    Findings { faults, incidents, capabilities: capabilities(data), budgets, resilience }
}

fn budgets(plan: &Plan) -> BudgetsSummary {
    let ms = |budget: Duration| u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
    BudgetsSummary {
        detection_ms: ms(plan.budgets.detection),
        recovery_ms: ms(plan.budgets.recovery),
        validation_ms: ms(plan.budgets.validation),
    }
}

/// What was probed last of each recipe, in the order in which recipes were first named.
fn capabilities(data: &RunData) -> Vec<CapabilitySummary> {
    let mut all: Vec<CapabilitySummary> = Vec::new();
    for entry in &data.history {
        let Event::FaultsPlanned { capabilities, .. } = &entry.event else { continue };
        for probed in capabilities {
            let new = CapabilitySummary {
                recipe: probed.recipe.clone(),
                backend: probed.backend.clone(),
                available: probed.available,
                reason: probed.reason.clone(),
            };
            match all.iter_mut().find(|known| known.recipe == new.recipe) {
                Some(known) => *known = new,
                None => all.push(new),
            }
        }
    }
    all
}

/// A fault in words: `latency 200 ms ± 50 ms, both directions, on shop-a`.
pub(crate) fn done_to(recipe: &str, parameters: &str, victims: &[String], target: &str) -> String {
    let what = if parameters.is_empty() || parameters == recipe {
        recipe.to_owned()
    } else if parameters.contains(recipe) {
        format!("{parameters},")
    } else {
        format!("{recipe} {parameters},")
    };
    match (victims, kind_of(recipe)) {
        ([], "host") => format!("{what} on the host of {target}"),
        ([], _) => format!("{what} on {target}"),
        (victims, _) => format!("{what} on {}", victims.join(", ")),
    }
}

/// What a recipe works on: `process`, `host` (what the machine has) or `network`.
fn kind_of(recipe: &str) -> &'static str {
    match recipe {
        "kill" | "pause" | "restart" | "clock-skew" => "process",
        "cpu" | "memory" | "connections" | "disk-full" => "host",
        _ => "network",
    }
}

#[cfg(test)]
mod tests {
    use plan::model::{Cores, Direction, DiskFill, Recipe, RecipeKind};

    use super::*;

    #[test]
    fn kinds_are_those_of_the_plan() {
        let recipes = [
            Recipe::Kill,
            Recipe::Pause,
            Recipe::Restart,
            Recipe::ClockSkew { offset_ms: 1 },
            Recipe::Cpu { cores: Cores::Count(1) },
            Recipe::Memory { bytes: 1 },
            Recipe::Connections { count: 1 },
            Recipe::DiskFull { path: "/tmp".into(), fill: DiskFill::Take(1) },
            Recipe::Refuse,
            Recipe::Partition { direction: Direction::Both },
            Recipe::HttpAbort { share: 1.0 },
        ];
        for recipe in recipes {
            let kind = match recipe.kind() {
                RecipeKind::Process => "process",
                RecipeKind::Host => "host",
                RecipeKind::Network => "network",
            };
            assert_eq!(kind_of(recipe.name()), kind, "{}", recipe.name());
        }
    }

    #[test]
    fn faults_are_told_in_words() {
        let on = ["shop-a".to_owned(), "shop-b".to_owned()];
        assert_eq!(done_to("kill", "kill", &on, "shop"), "kill on shop-a, shop-b");
        assert_eq!(
            done_to("latency", "latency 200ms both ways", &on[..1], "shop"),
            "latency 200ms both ways, on shop-a"
        );
        assert_eq!(done_to("cpu", "2 cores", &[], "shop"), "cpu 2 cores, on the host of shop");
        assert_eq!(done_to("pause", "", &[], "shop"), "pause on shop");
    }
}
