//! The incidents that recovery found, what it did about them, and how long that took.

use protocol::event::{Entry, Event};
use protocol::faults::ActionOutcome;
use schemars::JsonSchema;
use serde::Serialize;

use super::{BudgetsSummary, FaultSummary};
use crate::figures::{length, round_length};
use crate::summary::ms_between;

/// An incident.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct IncidentSummary {
    /// Its id, unique in the run.
    pub incident: String,
    /// The target's name in the plan.
    pub target: String,
    /// `component failure`, `network partition`, `resource exhaustion`, `cascading failure`.
    pub issue: String,
    /// The instance, if it is one.
    pub instance: Option<String>,
    /// What was seen.
    pub seen: String,
    /// The fault that explains it, as it was known last; null = none does.
    pub fault: Option<String>,
    /// When it was found, from the run's start, milliseconds.
    pub opened_ms: u64,
    /// From the fault's injection to that; null without a fault.
    pub detected_after_ms: Option<u64>,
    /// What was done about it, in order.
    pub actions: Vec<ActionSummary>,
    /// When it was closed, from the run's start, milliseconds; null = it was open when the run ended.
    pub closed_ms: Option<u64>,
    /// What ended it.
    pub how: String,
    /// From the detection to the first good probe after the last bad one, milliseconds.
    pub recovered_after_ms: Option<u64>,
    /// From that probe to the confirmation, milliseconds.
    pub validated_after_ms: Option<u64>,
    /// What was over its budget, in words; empty = everything was within.
    pub over_budget: Vec<String>,
}

/// What was done about an incident.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ActionSummary {
    /// When it was over, from the run's start, milliseconds.
    pub at_ms: u64,
    /// `restart`, `failover`, `shed-load` ….
    pub action: String,
    /// `done`, `failed` or `not possible`.
    pub outcome: String,
    /// What was done and seen.
    pub detail: String,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// All incidents, in the order in which they were found.
pub(super) fn read(
    history: &[Entry],
    faults: &[FaultSummary],
    budgets: BudgetsSummary,
) -> Vec<IncidentSummary> {
    let start = history.first().map_or(0, |entry| entry.at_unix_ns);
    let end = history.last().map_or(0, |entry| ms_between(start, entry.at_unix_ns));
    let mut incidents: Vec<IncidentSummary> = Vec::new();
    for entry in history {
        tell(&mut incidents, &entry.event, ms_between(start, entry.at_unix_ns));
    }
    for incident in &mut incidents {
        let injected = || {
            let fault = faults.iter().find(|fault| Some(&fault.fault) == incident.fault.as_ref())?;
            fault.injected_ms.or(fault.begun_ms)
        };
        // A cause that was known only at the end: measured by the stamps of both.
        if incident.detected_after_ms.is_none() {
            incident.detected_after_ms = injected().map(|at| incident.opened_ms.saturating_sub(at));
        }
        incident.over_budget = over(incident, budgets, end);
    }
    incidents
}

fn tell(incidents: &mut Vec<IncidentSummary>, event: &Event, at: u64) {
    let known = |id: &str| incidents.iter().rposition(|incident| incident.incident == id);
    match event {
        Event::IncidentOpened { incident, target, issue, instance, seen, fault, detected_after_ms } => {
            incidents.push(IncidentSummary {
                incident: incident.clone(),
                target: target.clone(),
                issue: issue.name().to_owned(),
                instance: instance.clone(),
                seen: seen.clone(),
                fault: fault.clone(),
                opened_ms: at,
                detected_after_ms: *detected_after_ms,
                ..IncidentSummary::default()
            });
        }
        Event::RecoveryActed { incident, action, outcome, detail, took_ms, .. } => {
            let outcome = match outcome {
                ActionOutcome::Done => "done",
                ActionOutcome::Failed => "failed",
                ActionOutcome::NotPossible => "not possible",
            };
            // Deeds without an incident (load that is restored at the end) are in the list of events alone.
            if let Some(place) = known(incident) {
                incidents[place].actions.push(ActionSummary {
                    at_ms: at,
                    action: action.clone(),
                    outcome: outcome.to_owned(),
                    detail: detail.clone(),
                    took_ms: *took_ms,
                });
            }
        }
        Event::IncidentClosed { incident, how, fault, recovered_after_ms, validated_after_ms, .. } => {
            if let Some(place) = known(incident) {
                let closed = &mut incidents[place];
                closed.closed_ms = Some(at);
                closed.how.clone_from(how);
                if fault.is_some() {
                    if closed.fault != *fault {
                        closed.detected_after_ms = None;
                    }
                    closed.fault.clone_from(fault);
                }
                closed.recovered_after_ms = Some(*recovered_after_ms);
                closed.validated_after_ms = Some(*validated_after_ms);
            }
        }
        _ => {}
    }
}

fn over(incident: &IncidentSummary, budgets: BudgetsSummary, run_end_ms: u64) -> Vec<String> {
    let late = |what: &str, took: Option<u64>, budget: u64| {
        let took = took.filter(|took| *took >= budget)?;
        Some(format!("{what} took {} of {}", length(took), round_length(budget)))
    };
    let open = incident.closed_ms.is_none().then(|| {
        let lasted = run_end_ms.saturating_sub(incident.opened_ms);
        format!("still open {} after it was found, when the history ended", length(lasted))
    });
    [
        late("detection", incident.detected_after_ms, budgets.detection_ms),
        late("recovery", incident.recovered_after_ms, budgets.recovery_ms),
        late("validation", incident.validated_after_ms, budgets.validation_ms),
        open,
    ]
    .into_iter()
    .flatten()
    .collect()
}
