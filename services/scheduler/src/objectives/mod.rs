//! The three objectives of each phase (requirement R1.1): one table of code and docs.
//!
//! Each row is a formula over recorded series with its parameters, which are keys of `phases.<name>.objectives` in
//! the plan. An objective passes, fails, or is not evaluable with the reason; it never passes because nothing was
//! measured. `OBJECTIVES.md` is this table as text; a test keeps the two alike.

pub(crate) mod counters;
pub(crate) mod evidence;
pub(crate) mod knee;
mod rising;
mod steady;
mod stressed;

use std::fmt::Write as _;

use plan::model::{PhaseName, Plan};
use protocol::event::Outcome;

use crate::figures::Finding;
use evidence::Evidence;

/// A number that a formula reads from the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its key in `phases.<name>.objectives`.
    pub key: &'static str,
    /// The value when the plan has none.
    pub default: f64,
    /// What it means.
    pub meaning: &'static str,
}

/// One objective of a phase.
pub struct Objective {
    /// The phase.
    pub phase: PhaseName,
    /// Its name in reports.
    pub name: &'static str,
    /// The formula in words; parameters stand in braces by their key.
    pub formula: &'static str,
    /// What it reads from the plan.
    pub parameters: &'static [Parameter],
    evaluate: fn(&Evidence<'_>) -> Finding,
}

/// All 21, in order of phase.
#[must_use]
pub fn table() -> Vec<&'static Objective> {
    steady::ROWS.iter().chain(&rising::ROWS).chain(&stressed::ROWS).collect()
}

/// Judges the three objectives of a phase.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Vec<Outcome> {
    rows(evidence.now.phase.name)
        .map(|row| (row.evaluate)(evidence).named(row.name, expected(row, evidence)))
        .collect()
}

/// The three objectives of a phase about which nothing can be said, and why.
pub(crate) fn unjudged(phase: PhaseName, reason: &str) -> Vec<Outcome> {
    rows(phase).map(|row| Finding::not_evaluable(reason).named(row.name, row.formula)).collect()
}

fn rows(phase: PhaseName) -> impl Iterator<Item = &'static Objective> {
    table().into_iter().filter(move |row| row.phase == phase)
}

/// The formula with the parameters' values in place of their keys.
fn expected(row: &Objective, evidence: &Evidence<'_>) -> String {
    let mut text = row.formula.to_owned();
    for parameter in row.parameters {
        let value = evidence.parameter(parameter.key, parameter.default);
        text = text.replace(&format!("{{{}}}", parameter.key), &value.to_string());
    }
    text
}

/// Parameters in the plan that no objective of their phase knows: `(phase, key, the keys that it knows)`.
#[must_use]
pub fn unknown_parameters(plan: &Plan) -> Vec<(PhaseName, String, Vec<&'static str>)> {
    let mut unknown = Vec::new();
    for phase in &plan.phases {
        let known: Vec<&str> = rows(phase.name).flat_map(|row| row.parameters).map(|one| one.key).collect();
        for key in phase.objectives.keys().filter(|key| !known.contains(&key.as_str())) {
            unknown.push((phase.name, key.clone(), known.clone()));
        }
    }
    unknown
}

/// The table as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Objectives\n\nThe three objectives of each phase. Each is evaluated at the phase's end and reported as pass, fail, or not\n\
         evaluable with the reason. Words in braces are parameters: keys of `phases.<name>.objectives` in the plan.\n\n\
         | phase | objective | formula | parameters (default) |\n|---|---|---|---|\n",
    );
    for row in table() {
        let parameters: Vec<String> = row
            .parameters
            .iter()
            .map(|one| format!("`{}` ({}): {}", one.key, one.default, one.meaning))
            .collect();
        let parameters = if parameters.is_empty() { "none".to_owned() } else { parameters.join("; ") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} | {} | {parameters} |", row.phase.name(), row.name, row.formula);
    }
    text
}

#[cfg(test)]
mod tests;
