//! What chaos and recovery did, as sentences of the history's list.

use protocol::event::Event;
use protocol::faults::{ActionOutcome, PlannedFault};

use crate::faults::done_to;
use crate::figures::length;

/// So many faults of a schedule are named in its one line; all of them have rows of their own elsewhere.
const NAMED: usize = 12;

/// The sentence and its mood; none for other events.
pub(super) fn sentence(event: &Event) -> Option<(String, &'static str)> {
    Some(match event {
        Event::FaultsPlanned { faults, capabilities } => {
            let mut text = planned(faults);
            let unable: Vec<String> = capabilities
                .iter()
                .filter(|capability| !capability.available)
                .map(|capability| format!("{} ({})", capability.recipe, capability.reason))
                .collect();
            if !unable.is_empty() {
                text.push_str(&format!("; cannot be done here: {}", unable.join(", ")));
            }
            (text, if unable.is_empty() { "plain" } else { "warn" })
        }
        Event::FaultSkipped { fault, recipe, target, reason } => {
            (format!("fault {fault} ({recipe} on {target}) was skipped: {reason}"), "warn")
        }
        Event::FaultBeginning { fault } => {
            let stop = if fault.stop == "none" { String::new() } else { format!(" or until {}", fault.stop) };
            let by = if fault.by == "plan" { String::new() } else { format!(", asked for by {}", fault.by) };
            let text = format!(
                "fault {} begins: {} for {}{stop}{by}",
                fault.fault,
                what(fault),
                length(fault.duration_ms)
            );
            (text, "warn")
        }
        Event::FaultInjected { fault, backend, seen } => {
            (format!("fault {fault} is there, read back by the {backend}: {seen}"), "warn")
        }
        Event::FaultEnded { fault, how, held_ms, undo_ms, verified } => {
            let after = held_ms.map_or_else(String::new, |ms| format!(" after {}", length(ms)));
            let within = undo_ms.map_or_else(String::new, |ms| format!(" in {}", length(ms)));
            (
                format!("fault {fault} is gone{after} ({how}); undone{within} and read back: {verified}"),
                "good",
            )
        }
        Event::FaultUnrecovered { fault, target, detail } => {
            (format!("fault {fault} on {target} could not be undone: {detail}"), "bad")
        }
        Event::IncidentOpened { incident, target, issue, instance, seen, fault, detected_after_ms } => {
            let place = instance.as_ref().map_or_else(String::new, |instance| format!(" ({instance})"));
            let cause = match (fault, detected_after_ms) {
                (Some(fault), Some(ms)) => format!("found {} after fault {fault}", length(*ms)),
                (Some(fault), None) => format!("explained by fault {fault}"),
                (None, _) => "no fault explains it".to_owned(),
            };
            (format!("incident {incident}: {} of {target}{place}: {seen}; {cause}", issue.name()), "bad")
        }
        Event::RecoveryActed { incident, target, action, outcome, detail, took_ms } => {
            let (end, mood) = match outcome {
                ActionOutcome::Done => (format!("done in {}", length(*took_ms)), "plain"),
                ActionOutcome::Failed => (format!("failed after {}", length(*took_ms)), "bad"),
                ActionOutcome::NotPossible => ("not possible".to_owned(), "warn"),
            };
            (format!("recovery of {target} for incident {incident}: {action} {end}: {detail}"), mood)
        }
        Event::IncidentClosed { incident, target, how, recovered_after_ms, validated_after_ms, .. } => (
            format!(
                "incident {incident} is closed: {target} was healthy {} after the detection ({how}), confirmed {} later",
                length(*recovered_after_ms),
                length(*validated_after_ms)
            ),
            "good",
        ),
        _ => return None,
    })
}

fn planned(faults: &[PlannedFault]) -> String {
    if faults.is_empty() {
        return "no fault is planned".to_owned();
    }
    let mut named: Vec<String> = faults
        .iter()
        .take(NAMED)
        .map(|fault| {
            format!(
                "{} ({}, {} into its phase, for {})",
                fault.fault,
                what(fault),
                length(fault.at_ms),
                length(fault.duration_ms)
            )
        })
        .collect();
    if let more @ 1.. = faults.len().saturating_sub(NAMED) {
        named.push(format!("and {more} more"));
    }
    let plural = if faults.len() == 1 { "" } else { "s" };
    format!("{} fault{plural} planned: {}", faults.len(), named.join("; "))
}

fn what(fault: &PlannedFault) -> String {
    done_to(&fault.recipe, &fault.parameters, &fault.victims, &fault.target)
}
