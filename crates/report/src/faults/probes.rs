//! What is asked of each fault, and what share of it held.

use super::windows::{SteadyState, Stretch};
use super::{FaultSummary, IncidentSummary, lives::Fate};
use crate::figures::{length, micros};
use crate::phases::real;
use crate::summary::Check;

/// The first probe: what makes the others worth anything.
pub(super) const BEFORE: &str = "steady state before";

/// Fills in a fault's probes and points.
///
/// One that was not injected has none of either: it counts as nothing in the score.
pub(super) fn judge(fault: &mut FaultSummary, incidents: &[IncidentSummary], steady: &SteadyState) {
    if !fault.ran() {
        return;
    }
    let own: Vec<&IncidentSummary> =
        incidents.iter().filter(|incident| fault.incidents.contains(&incident.incident)).collect();
    let probes = vec![
        stretch(BEFORE, &fault.before, &steady.formula),
        stretch("steady state after", &fault.after, &steady.formula),
        found(&own, &fault.during),
        recovered(&own, &fault.during),
        undone(fault),
    ];
    let passed = probes.iter().filter(|probe| probe.result == "pass").count() as u64;
    // What was in trouble before shows nothing of how a fault is borne.
    let void = fault.before.steady == Some(false);
    fault.points = Some(if void { 0.0 } else { real(passed) / real(probes.len() as u64) });
    fault.probes = probes;
}

fn stretch(name: &str, stretch: &Stretch, formula: &str) -> Check {
    let expected = formula.to_owned();
    match (stretch.steady, &stretch.not_evaluable) {
        (Some(held), _) => judged(name, expected, held, stretch.words()),
        (None, reason) => unknown(name, expected, reason.clone().unwrap_or_default()),
    }
}

fn found(own: &[&IncidentSummary], during: &Stretch) -> Check {
    let name = "found";
    let expected = "an incident names it, or it was borne without harm (steady state during)".to_owned();
    if let Some(first) = own.first() {
        let after = first.detected_after_ms.map_or_else(String::new, |ms| format!(" after {}", length(ms)));
        return judged(name, expected, true, format!("incident {}{after}", first.incident));
    }
    match (during.steady, &during.not_evaluable) {
        (Some(true), _) => {
            let p95 = during
                .p95
                .map_or_else(String::new, |p95| format!(", p95 at most {}", micros(real(p95.highest_us))));
            judged(name, expected, true, format!("borne without harm: {}{p95}", during.words()))
        }
        (Some(false), _) => judged(
            name,
            expected,
            false,
            format!("no incident names it, and it did harm: {}", during.words()),
        ),
        (None, reason) => {
            let reason = reason.clone().unwrap_or_default();
            unknown(name, expected, format!("no incident names it, and harm cannot be told: {reason}"))
        }
    }
}

fn recovered(own: &[&IncidentSummary], during: &Stretch) -> Check {
    let name = "recovered in budget";
    let expected = "every incident that names it was found, over and confirmed within the budgets".to_owned();
    if own.is_empty() {
        return match during.steady {
            Some(true) => judged(name, expected, true, "nothing to recover from".to_owned()),
            Some(false) => judged(name, expected, false, "harm, and no incident".to_owned()),
            None => unknown(name, expected, during.not_evaluable.clone().unwrap_or_default()),
        };
    }
    let over: Vec<String> = own
        .iter()
        .flat_map(|incident| incident.over_budget.iter().map(|why| format!("{}: {why}", incident.incident)))
        .collect();
    if !over.is_empty() {
        return judged(name, expected, false, over.join("; "));
    }
    let slowest = own.iter().filter_map(|incident| incident.recovered_after_ms).max().unwrap_or(0);
    judged(name, expected, true, format!("healthy {} after the detection", length(slowest)))
}

fn undone(fault: &FaultSummary) -> Check {
    let seen = match fault.fate {
        Fate::Ended => match fault.undo_ms {
            Some(ms) => format!("undone in {}: {}", length(ms), fault.verified),
            None => format!("{}: {}", fault.how, fault.verified),
        },
        Fate::Unrecovered => fault.detail.clone(),
        _ => "the history has no end of it".to_owned(),
    };
    judged("undone", "it was undone, and that was read back".to_owned(), fault.fate == Fate::Ended, seen)
}

fn judged(name: &str, expected: String, held: bool, seen: String) -> Check {
    let result = if held { "pass" } else { "fail" }.to_owned();
    Check { name: name.to_owned(), expected, seen, result, reason: None }
}

fn unknown(name: &str, expected: String, reason: String) -> Check {
    Check {
        name: name.to_owned(),
        expected,
        seen: String::new(),
        result: "not-evaluable".to_owned(),
        reason: Some(reason),
    }
}
