//! The resilience score and what it covers.

use schemars::JsonSchema;
use serde::Serialize;

use super::FaultSummary;

/// How the score is made, in words.
const FORMULA: &str = "Every fault of the schedule weighs 1 and brings the share of its probes that passed: \
    steady state before it, steady state after it, found (an incident names it, or it was borne without harm), \
    recovered in budget, undone and read back. What could not be told did not pass. A fault before which steady \
    state did not hold brings nothing, and so does one that was not injected. The score is 100 × the sum of the \
    points ÷ the number of planned faults, cut to a whole number. Without a planned fault, or with none injected, \
    there is no score.";

/// How well what was broken was borne. Join faults by their id.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Resilience {
    /// 0 to 100; null when there is nothing to make it of.
    pub score: Option<u32>,
    /// Why there is no score.
    pub reason: Option<String>,
    /// Faults of the schedule; those by hand are not in the score.
    pub planned: u32,
    /// Of these, injected.
    pub run: u32,
    /// The one as a share of the other, 0 to 1; null without a planned fault.
    pub coverage: Option<f64>,
    /// How the score is made, in words.
    pub formula: String,
}

/// The score of the planned faults.
pub(super) fn of(faults: &[FaultSummary]) -> Resilience {
    let planned: Vec<&FaultSummary> = faults.iter().filter(|fault| fault.scheduled).collect();
    let run = count(planned.iter().filter(|fault| fault.ran()).count());
    let points: f64 = planned.iter().filter_map(|fault| fault.points).sum();
    let planned = count(planned.len());
    let reason = match (planned, run) {
        (0, _) if faults.iter().any(FaultSummary::ran) => {
            Some("no fault was planned; those by hand are not scored")
        }
        (0, _) => Some("no fault was planned"),
        (_, 0) => Some("none of the planned faults was injected"),
        _ => None,
    };
    Resilience {
        score: reason.is_none().then(|| whole(100.0 * points / f64::from(planned))),
        reason: reason.map(str::to_owned),
        planned,
        run,
        coverage: (planned > 0).then(|| f64::from(run) / f64::from(planned)),
        formula: FORMULA.to_owned(),
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Cut, not rounded; what is a whole number but for the last bits of its sum stays one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn whole(score: f64) -> u32 {
    (score + 1e-9) as u32
}
