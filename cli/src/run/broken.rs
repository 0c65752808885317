//! Faults and incidents as the terminal tells them: a line each while they happen, and a few at the end.

use protocol::event::Event;
use protocol::faults::{ActionOutcome, PlannedFault};
use report::faults::{Fate, IncidentSummary};
use report::figures::{length, round_length};
use report::summary::Summary;

/// An event of chaos or recovery as a line, if it is worth one.
pub(super) fn worded(event: &Event) -> Option<String> {
    Some(match event {
        Event::FaultsPlanned { faults, capabilities } => {
            let missing: Vec<String> = capabilities
                .iter()
                .filter(|capability| !capability.available)
                .map(|capability| {
                    format!("; {} cannot be done here: {}", capability.recipe, capability.reason)
                })
                .collect();
            let noun = if faults.len() == 1 { "fault" } else { "faults" };
            format!("{} {noun} planned{}", faults.len(), missing.concat())
        }
        Event::FaultBeginning { fault } => {
            format!("  ⚡ {}: {}, for {}", fault.fault, does(fault), length(fault.duration_ms))
        }
        Event::FaultEnded { fault, how, held_ms, verified, .. } => {
            let after = held_ms.map_or_else(String::new, |ms| format!(" after {}", length(ms)));
            format!("  ⚡ {fault}: undone{after}, {how}: {verified}")
        }
        Event::FaultSkipped { fault, reason, .. } => format!("  ⚡ {fault}: skipped: {reason}"),
        Event::FaultUnrecovered { fault, detail, .. } => {
            format!("  ⚡ {fault}: COULD NOT BE UNDONE: {detail}")
        }
        Event::IncidentOpened { incident, issue, seen, fault, detected_after_ms, .. } => {
            let cause = match (fault, detected_after_ms) {
                (Some(fault), Some(after)) => format!(", {} after {fault}", length(*after)),
                (Some(fault), None) => format!(", by {fault}"),
                (None, _) => String::new(),
            };
            format!("  ✚ {incident}: {}{cause}: {seen}", issue.name())
        }
        Event::RecoveryActed { incident, action, outcome, detail, took_ms, .. } => {
            let outcome = match outcome {
                ActionOutcome::Done => format!("done in {}", length(*took_ms)),
                ActionOutcome::Failed => format!("failed after {}", length(*took_ms)),
                ActionOutcome::NotPossible => "not possible".to_owned(),
            };
            format!("  ✚ {incident}: {action} {outcome}: {detail}")
        }
        Event::IncidentClosed { incident, how, recovered_after_ms, validated_after_ms, .. } => {
            let (healthy, confirmed) = (length(*recovered_after_ms), length(*validated_after_ms));
            format!("  ✚ {incident}: closed, healthy after {healthy} by {how}, confirmed {confirmed} later")
        }
        _ => return None,
    })
}

fn does(fault: &PlannedFault) -> String {
    match fault.victims.as_slice() {
        [] => format!("{} on {}", fault.parameters, fault.target),
        victims => format!("{} on {}", fault.parameters, victims.join(", ")),
    }
}

/// What was broken and what was found, against the budgets; empty when nothing was.
pub(super) fn closing(summary: &Summary) -> String {
    let mut text = String::new();
    if !summary.faults.is_empty() {
        let of = |fates: &[Fate]| summary.faults.iter().filter(|fault| fates.contains(&fault.fate)).count();
        let injected = summary.faults.iter().filter(|fault| fault.injected_ms.is_some()).count();
        let (undone, skipped) = (of(&[Fate::Ended]), of(&[Fate::Skipped]));
        let lost = of(&[Fate::Unrecovered]);
        let score = summary
            .resilience
            .score
            .map_or_else(String::new, |score| format!(" · resilience {score} of 100"));
        text.push_str(&format!(
            "\nfaults: {injected} injected, {undone} undone, {skipped} skipped, {lost} unrecovered{score}\n"
        ));
    }
    if !summary.incidents.is_empty() {
        let closed = summary.incidents.iter().filter(|incident| incident.closed_ms.is_some()).count();
        let worst = |of: fn(&IncidentSummary) -> Option<u64>, budget: u64| {
            let worst = summary.incidents.iter().filter_map(of).max();
            worst.map_or_else(
                || "–".to_owned(),
                |worst| format!("{} of {}", length(worst), round_length(budget)),
            )
        };
        text.push_str(&format!(
            "incidents: {} found, {closed} closed · worst detection {}, worst recovery {}\n",
            summary.incidents.len(),
            worst(|incident| incident.detected_after_ms, summary.budgets.detection_ms),
            worst(|incident| incident.recovered_after_ms, summary.budgets.recovery_ms),
        ));
        for incident in &summary.incidents {
            for over in &incident.over_budget {
                text.push_str(&format!("  ✗ {}: {over}\n", incident.incident));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::faults::Issue;

    use super::*;

    fn kill() -> PlannedFault {
        PlannedFault {
            fault: "a shop dies".to_owned(),
            recipe: "kill".to_owned(),
            target: "shop".to_owned(),
            phase: 0,
            at_ms: 10,
            duration_ms: 2_000,
            victims: vec!["shop-a".to_owned()],
            parameters: "kill".to_owned(),
            stop: "none".to_owned(),
            by: "plan".to_owned(),
        }
    }

    #[test]
    fn what_is_broken_and_mended_reads_as_a_line() {
        let line = |event: &Event| worded(event).unwrap();
        assert_eq!(
            line(&Event::FaultBeginning { fault: kill() }),
            "  ⚡ a shop dies: kill on shop-a, for 2 s"
        );
        let ended = Event::FaultEnded {
            fault: "a shop dies".to_owned(),
            how: "its time is over".to_owned(),
            held_ms: Some(2_003),
            undo_ms: Some(4),
            verified: "shop-a runs".to_owned(),
        };
        assert_eq!(line(&ended), "  ⚡ a shop dies: undone after 2 s, its time is over: shop-a runs");
        let opened = Event::IncidentOpened {
            incident: "shop-1".to_owned(),
            target: "shop".to_owned(),
            issue: Issue::ComponentFailure,
            instance: Some("shop-a".to_owned()),
            seen: "its process ended".to_owned(),
            fault: Some("a shop dies".to_owned()),
            detected_after_ms: Some(36),
        };
        assert_eq!(
            line(&opened),
            "  ✚ shop-1: component failure, 36 ms after a shop dies: its process ended"
        );
        let acted = Event::RecoveryActed {
            incident: "shop-1".to_owned(),
            target: "shop".to_owned(),
            action: "restart".to_owned(),
            outcome: ActionOutcome::NotPossible,
            detail: "the restart budget is used up".to_owned(),
            took_ms: 0,
        };
        assert_eq!(line(&acted), "  ✚ shop-1: restart not possible: the restart budget is used up");
        let injected = Event::FaultInjected {
            fault: "a shop dies".to_owned(),
            backend: "fault agent".to_owned(),
            seen: "gone".to_owned(),
        };
        assert_eq!(worded(&injected), None, "its beginning stands there already");
    }
}
