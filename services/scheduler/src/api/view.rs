//! Runs and phases as the API shows them: a function of the stored row and the history.

use protocol::event::{Entry, Event, Outcome, OutcomeResult};
use serde::Serialize;
use store::{RunRow, RunState};
use utoipa::ToSchema;

/// A run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    /// Its id.
    id: String,
    /// The plan's name.
    name: String,
    /// RFC 3339, UTC.
    created_at: String,
    /// `sha256:…` of the plan as run.
    plan_digest: String,
    /// `created`, `running`, `ended`.
    state: &'static str,
    /// Once it has ended (requirement R12).
    exit_code: Option<u8>,
}

/// A run with what its history tells.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunDetail {
    /// The run.
    #[serde(flatten)]
    run: RunView,
    /// `passed`, `failed`, `aborted`, `invalid`, once it has ended.
    verdict: Option<&'static str>,
    /// Why, most severe first.
    reasons: Vec<String>,
    /// The phase that runs now.
    phase: Option<String>,
    /// Whether it is paused.
    paused: bool,
    /// Sequence of the newest entry of the history.
    last_sequence: u64,
}

/// A phase that began.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PhaseView {
    /// Index in the run.
    index: u32,
    /// `idle` … `chaos`.
    name: String,
    /// RFC 3339, UTC.
    started_at: String,
    /// Length as planned, after scaling.
    planned_ms: u64,
    /// Length as it was, once it has ended.
    lasted_ms: Option<u64>,
    /// `continue`, `hold`, `abort`, `skipped`, once it has ended.
    decision: Option<String>,
    /// Why.
    reason: Option<String>,
    /// Its three objectives.
    objectives: Vec<CheckView>,
    /// Expectations of CPU and memory.
    expectations: Vec<CheckView>,
    /// Its thresholds.
    thresholds: Vec<CheckView>,
    /// Rules on the generator.
    validity: Vec<CheckView>,
}

/// A check with what was seen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CheckView {
    /// Name or expression.
    name: String,
    /// The formula in words.
    expected: String,
    /// The figures seen.
    seen: String,
    /// `pass`, `fail`, `not-evaluable`.
    result: &'static str,
    /// Why it could not be evaluated.
    reason: Option<String>,
}

impl From<&RunRow> for RunView {
    fn from(row: &RunRow) -> Self {
        let (state, exit_code) = match row.state {
            RunState::Created => ("created", None),
            RunState::Running => ("running", None),
            RunState::Ended { exit_code } => ("ended", Some(exit_code)),
        };
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            created_at: rfc3339(row.created_unix_ns),
            plan_digest: row.plan_digest.clone(),
            state,
            exit_code,
        }
    }
}

impl RunDetail {
    pub(super) fn new(row: &RunRow, history: &[Entry]) -> Self {
        let mut detail = Self {
            run: RunView::from(row),
            verdict: None,
            reasons: Vec::new(),
            phase: None,
            paused: false,
            last_sequence: history.last().map_or(0, |entry| entry.sequence),
        };
        for entry in history {
            match &entry.event {
                Event::PhaseStarted { name, .. } => detail.phase = Some(name.clone()),
                Event::LoadChanged { change, .. } if change == "pause" => detail.paused = true,
                Event::LoadChanged { change, .. } if change == "resume" => detail.paused = false,
                Event::PhaseEnded { .. } => {
                    detail.phase = None;
                    detail.paused = false;
                }
                Event::RunEnded { verdict, reasons, .. } => {
                    detail.verdict = Some(verdict.name());
                    detail.reasons.clone_from(reasons);
                }
                _ => {}
            }
        }
        detail
    }
}

/// The phases that began, in order.
pub(super) fn phases(history: &[Entry]) -> Vec<PhaseView> {
    let mut phases: Vec<PhaseView> = Vec::new();
    for entry in history {
        match &entry.event {
            Event::PhaseStarted { phase, name, duration_ms, .. } => phases.push(PhaseView {
                index: *phase,
                name: name.clone(),
                started_at: rfc3339(entry.at_unix_ns),
                planned_ms: *duration_ms,
                lasted_ms: None,
                decision: None,
                reason: None,
                objectives: Vec::new(),
                expectations: Vec::new(),
                thresholds: Vec::new(),
                validity: Vec::new(),
            }),
            Event::PhaseEnded {
                phase,
                lasted_ms,
                objectives,
                expectations,
                thresholds,
                validity,
                decision,
                reason,
                ..
            } => {
                let Some(view) = phases.iter_mut().rfind(|view| view.index == *phase) else { continue };
                let checks = |outcomes: &[Outcome]| outcomes.iter().map(CheckView::from).collect();
                view.lasted_ms = Some(*lasted_ms);
                view.decision = Some(decision.clone());
                view.reason = Some(reason.clone());
                view.objectives = checks(objectives);
                view.expectations = checks(expectations);
                view.thresholds = checks(thresholds);
                view.validity = checks(validity);
            }
            _ => {}
        }
    }
    phases
}

impl From<&Outcome> for CheckView {
    fn from(outcome: &Outcome) -> Self {
        let (result, reason) = match &outcome.result {
            OutcomeResult::Pass => ("pass", None),
            OutcomeResult::Fail => ("fail", None),
            OutcomeResult::NotEvaluable { reason } => ("not-evaluable", Some(reason.clone())),
        };
        Self {
            name: outcome.name.clone(),
            expected: outcome.expected.clone(),
            seen: outcome.seen.clone(),
            result,
            reason,
        }
    }
}

fn rfc3339(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
