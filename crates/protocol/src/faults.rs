//! Faults, incidents and what was done about them, as histories, APIs and reports have them.
//!
//! JSON, as the history is, and with its compatibility: fields are only added.

use serde::{Deserialize, Serialize};

/// A fault of the schedule, or one that somebody asked for by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Unique in its run: the fault's name in the plan, and `#2`, `#3` … where it comes several times.
    pub fault: String,
    /// `kill`, `pause`, `latency` ….
    pub recipe: String,
    /// The target's name in the plan.
    pub target: String,
    /// Index of its phase.
    pub phase: u32,
    /// Offset from the phase's start, milliseconds of real time.
    pub at_ms: u64,
    /// How long it is to last, milliseconds of real time.
    pub duration_ms: u64,
    /// What is hit: instances of the target, or its endpoints; empty = the host.
    pub victims: Vec<String>,
    /// Its parameters in words: `200 ms ± 50 ms, both directions`.
    pub parameters: String,
    /// What ends it before its time: `error_rate > 50%`, or `none`.
    pub stop: String,
    /// Who asked for it: `plan`, `cli`, `api`.
    pub by: String,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    /// Its time has not come.
    Planned,
    /// It is being injected.
    Beginning,
    /// It is there.
    Injected,
    /// It is being undone.
    Ending,
    /// It was undone, and that was read back.
    Ended,
    /// It was never injected, with a reason.
    Skipped,
    /// It could not be undone, or that could not be read back.
    Unrecovered,
}

/// A fault as `gauntlet chaos list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// What it is.
    pub planned: PlannedFault,
    /// How far it has come.
    pub state: FaultState,
    /// What was seen last, or why it was skipped.
    pub detail: String,
}

/// Whether a recipe can be done on the host of the chaos service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityView {
    /// `kill`, `clock-skew` ….
    pub recipe: String,
    /// What does it: `fault proxy`, `fault agent`, `process driver`.
    pub backend: String,
    /// Whether it can be done here.
    pub available: bool,
    /// Why not, and what would mend it; empty when it can.
    pub reason: String,
}

/// What is wrong with a target (requirement R7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issue {
    /// An instance ended or does not answer.
    ComponentFailure,
    /// An instance answers directly, but not on the way that load takes.
    NetworkPartition,
    /// The instance answers, too slowly, and its host or its connections are used up.
    ResourceExhaustion,
    /// Most instances of a target fail at once.
    CascadingFailure,
}

impl Issue {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ComponentFailure => "component failure",
            Self::NetworkPartition => "network partition",
            Self::ResourceExhaustion => "resource exhaustion",
            Self::CascadingFailure => "cascading failure",
        }
    }
}

/// How an action of recovery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionOutcome {
    /// It was done, and that was verified.
    Done,
    /// It was tried and did not help in its time.
    Failed,
    /// Its precondition does not hold, or its budget is used up.
    NotPossible,
}

/// An incident as `gauntlet recovery status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Unique in its run: `core-1`.
    pub incident: String,
    /// The target's name in the plan.
    pub target: String,
    /// What is wrong.
    pub issue: Issue,
    /// What was seen.
    pub seen: String,
    /// The fault that explains it, if one does.
    pub fault: Option<String>,
    /// When it was detected, Unix nanoseconds.
    pub opened_unix_ns: i64,
    /// When it was closed; absent while it lasts.
    pub closed_unix_ns: Option<i64>,
    /// What was done, in words, in order.
    pub actions: Vec<String>,
}

/// A target's health as recovery sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name in the plan.
    pub target: String,
    /// Whether it is healthy.
    pub healthy: bool,
    /// What the last probe saw.
    pub seen: String,
    /// The interval of its probes, milliseconds.
    pub interval_ms: u64,
    /// Restarts done and left.
    pub restarts: (u32, u32),
}

/// The budgets of requirement R7.2, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetsView {
    /// From the fault to its detection.
    pub detection_ms: u64,
    /// From the detection to health.
    pub recovery_ms: u64,
    /// From the first good probe until health was confirmed.
    pub validation_ms: u64,
}

/// What recovery knows of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// Watched targets.
    pub targets: Vec<TargetView>,
    /// Incidents, in the order in which they were detected.
    pub incidents: Vec<IncidentView>,
    /// What they are measured against.
    pub budgets: BudgetsView,
}
