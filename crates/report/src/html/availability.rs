//! The availability of experts: of whom how many queries were answered in each phase, and what the others came to.
//!
//! It is made of checks alone, whatever guest has them: `NAME: answers`, of each query to NAME, and `NAME: cause: …`, of each attempt
//! that failed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures;
use crate::summary::{CheckSummary, PhaseSummary, Summary};

/// Experts of one scenario, in the order of their names.
#[derive(Debug, Serialize)]
pub(super) struct Matrix<'a> {
    scenario: &'a str,
    /// Those in which any of them was asked.
    phases: Vec<&'a str>,
    /// Whether there is more than one of these, so that all of them together say something more.
    several: bool,
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    expert: &'a str,
    /// For each phase; none where it was not asked.
    phases: Vec<Option<Cell>>,
    all: Option<Cell>,
    /// `cause × attempts`, the most frequent first.
    causes: Vec<String>,
}

/// Of the queries whose end was heard, how many were answered.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Cell {
    answered: u64,
    asked: u64,
    share: f64,
}

/// One for each scenario that has such checks.
pub(super) fn matrices(summary: &Summary) -> Vec<Matrix<'_>> {
    let mut scenarios: Vec<&str> = Vec::new();
    for check in summary.phases.iter().flat_map(|phase| &phase.checks) {
        if expert(check).is_some() && !scenarios.contains(&&*check.scenario) {
            scenarios.push(&check.scenario);
        }
    }
    scenarios.into_iter().map(|scenario| matrix(summary, scenario)).collect()
}

fn matrix<'a>(summary: &'a Summary, scenario: &'a str) -> Matrix<'a> {
    let asked: Vec<&PhaseSummary> =
        summary.phases.iter().filter(|phase| answers(phase, scenario).next().is_some()).collect();
    let mut rows = BTreeMap::<&str, Vec<Option<Cell>>>::new();
    for (n, phase) in asked.iter().enumerate() {
        for (expert, check) in answers(phase, scenario) {
            let cells = rows.entry(expert).or_insert_with(|| vec![None; asked.len()]);
            cells[n] = Cell::of(check.passed, check.failed);
        }
    }
    let rows = rows.into_iter().map(|(expert, phases)| {
        let (answered, asked) =
            phases.iter().flatten().fold((0, 0), |sum, cell| (sum.0 + cell.answered, sum.1 + cell.asked));
        let all = Cell::of(answered, asked - answered);
        Row { expert, phases, all, causes: causes(summary, scenario, expert) }
    });
    let phases: Vec<&str> = asked.iter().map(|phase| &*phase.name).collect();
    Matrix { scenario, several: phases.len() > 1, phases, rows: rows.collect() }
}

/// The checks of answers of a scenario's experts, with whose they are.
fn answers<'a>(phase: &'a PhaseSummary, scenario: &str) -> impl Iterator<Item = (&'a str, &'a CheckSummary)> {
    let of = phase.checks.iter().filter(move |check| check.scenario == scenario);
    of.filter_map(|check| Some((expert(check)?, check)))
}

/// Whose answers a check is of.
fn expert(check: &CheckSummary) -> Option<&str> {
    check.name.strip_suffix(": answers").filter(|name| !name.is_empty())
}

fn causes(summary: &Summary, scenario: &str, expert: &str) -> Vec<String> {
    let prefix = format!("{expert}: cause: ");
    let mut counts = BTreeMap::<&str, u64>::new();
    let checks = summary.phases.iter().flat_map(|phase| &phase.checks);
    for check in checks.filter(|check| check.scenario == scenario && check.failed > 0) {
        if let Some(cause) = check.name.strip_prefix(&*prefix) {
            *counts.entry(cause).or_default() += check.failed;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(cause, count)| format!("{cause} × {}", figures::count(count))).collect()
}

impl Cell {
    fn of(answered: u64, failed: u64) -> Option<Self> {
        let asked = answered + failed;
        (asked > 0).then(|| Self {
            answered,
            asked,
            share: crate::phases::real(answered) / crate::phases::real(asked),
        })
    }
}
