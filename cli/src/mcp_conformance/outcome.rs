//! What came of a session.

use report::summary::{CheckSummary, PhaseSummary, StepSummary, Summary};

use super::scenarios::Part;
use crate::table;

/// The check that is made once an exchange.
const VALID: &str = "valid";

/// A session that is over.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What was sent and how it ended, by series.
    steps: Vec<Vec<String>>,
    /// How many exchanges were judged.
    exchanges: u64,
    /// What was wrong; nothing when all was right.
    wrong: Vec<String>,
    /// What was wrong on purpose, and seen.
    known: Vec<String>,
}

impl Outcome {
    pub(super) fn of(summary: &Summary, part: &Part) -> Self {
        let phase = summary.phases.first();
        let steps: &[StepSummary] = phase.map_or(&[], |phase| &phase.steps);
        let checks: &[CheckSummary] = phase.map_or(&[], |phase| &phase.checks);
        let valid = checks.iter().find(|check| class(check) == VALID);
        let exchanges = valid.map_or(0, |check| check.passed + check.failed);
        let mut wrong = Vec::new();
        let mut known = Vec::new();
        for check in checks.iter().filter(|check| check.failed > 0 && class(check) != VALID) {
            let text = format!("{}, {}", check.name, times(check.failed));
            if part.breaks.contains(&class(check)) { known.push(text) } else { wrong.push(text) }
        }
        let unseen = part
            .breaks
            .iter()
            .filter(|name| !checks.iter().any(|check| class(check) == **name && check.failed > 0));
        wrong.extend(unseen.map(|name| format!("{name}: the server breaks it, and that was not seen")));
        let answered =
            |name: &str| steps.iter().filter(|step| step.step == name).map(|step| step.answered).sum::<u64>();
        for call in part.calls() {
            match (part.refused.contains(&call.as_str()), answered(&call)) {
                (false, 0) => wrong.push(format!("{call}: there was no answer")),
                (true, 1..) => wrong.push(format!("{call}: was called, which must not be")),
                _ => {}
            }
        }
        wrong.extend(phase.into_iter().flat_map(lost));
        if exchanges == 0 {
            wrong.push("no exchange was judged".to_owned());
        }
        let row = |step: &StepSummary| {
            vec![
                step.step.clone(),
                step.started.to_string(),
                step.answered.to_string(),
                step.good.to_string(),
            ]
        };
        let mut sent: Vec<&StepSummary> = steps.iter().filter(|step| step.started > 0).collect();
        sent.sort_by_key(|step| place(&step.step, part));
        Self { steps: sent.into_iter().map(row).collect(), exchanges, wrong, known }
    }

    /// Every exchange was right, and each call was made.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// For the terminal.
    pub(super) fn text(&self) -> String {
        let mut text = table::render(&["step", "sent", "answered", "good"], &self.steps);
        text.push_str(&format!("\nexchanges judged: {}\n", self.exchanges));
        for (lead, all) in [("wrong on purpose", &self.known), ("wrong", &self.wrong)] {
            all.iter().for_each(|one| text.push_str(&format!("{lead}: {one}\n")));
        }
        if self.is_right() {
            text.push_str("all was right\n");
        }
        text
    }
}

/// Where a series stands in the order of a session.
fn place(step: &str, part: &Part) -> usize {
    let opening = ["initialize", "session stream", "tools/list"];
    let call = || part.calls().position(|call| call == step).map(|call| opening.len() + call);
    opening.iter().position(|name| *name == step).or_else(call).unwrap_or(usize::MAX)
}

/// What was not answered at all.
fn lost(phase: &PhaseSummary) -> impl Iterator<Item = String> {
    let failures = phase.failures.iter().filter(|failure| failure.count > 0);
    let cancelled = (phase.arrivals.cancelled > 0)
        .then(|| format!("cancelled: the session was not over in time, {}", times(phase.arrivals.cancelled)));
    failures.map(|failure| format!("{}, {}", failure.name, times(failure.count))).chain(cancelled)
}

/// The class that a check's name begins with.
fn class(check: &CheckSummary) -> &str {
    check.name.split(':').next().unwrap_or_default()
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
