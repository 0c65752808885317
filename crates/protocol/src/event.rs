//! The history of a run: one list in which the scheduler, its only writer, puts everything that happened.
//!
//! Entries are JSON, because people read them in `history.ndjson`. Compatibility: variants and fields are only
//! added; a reader skips kinds that it does not know ([`Event::Unknown`]).

mod worker;

use serde::{Deserialize, Serialize};

pub use worker::{ClockReading, Life, LoadShare};

use crate::faults::{ActionOutcome, CapabilityView, Issue, PlannedFault};

/// One entry of the history with its place and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the run's history, from 1, without gaps.
    pub sequence: u64,
    /// When the producer saw it, Unix nanoseconds.
    pub at_unix_ns: i64,
    /// The service that saw it: `scheduler`, `load-worker`, `metrics`, ….
    pub producer: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The run was accepted and stored.
    RunCreated {
        /// The run's id.
        run: String,
        /// The plan's name.
        name: String,
        /// The plan's seed.
        seed: u64,
        /// Digest of the plan as run.
        plan_digest: String,
        /// Factor on phase lengths.
        time_scale: f64,
        /// Factor on rates and connections.
        load_scale: f64,
        /// Version of Gauntlet.
        version: String,
        /// The other files of its bundle.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<NamedDigest>,
    },
    /// A scheduler that was started anew goes on with the run.
    RunResumed {
        /// The name under which it holds the run.
        scheduler: String,
    },
    /// A process of the plan was started.
    ProcessStarted {
        /// Its name in the plan.
        process: String,
        /// Its process id.
        pid: u32,
        /// Milliseconds until its ready check passed.
        ready_after_ms: u64,
    },
    /// A process of the plan ended although nobody asked it to.
    ProcessExited {
        /// Its name in the plan.
        process: String,
        /// `exit code 1`, `signal 9`.
        status: String,
    },
    /// All workers are ready.
    WorkersReady {
        /// How many workers.
        workers: u32,
        /// Load threads of all of them.
        load_threads: u32,
        /// Steps, checks and metrics of each scenario, in the order in which samples count them.
        scenarios: Vec<ScenarioNames>,
    },
    /// A pre-phase check was made.
    PrePhaseCheck {
        /// The phase about to begin.
        phase: u32,
        /// `target ready`, `resources available`, `monitoring fresh`, `workers ready`, ….
        check: String,
        /// Whether it passed.
        passed: bool,
        /// What was seen.
        seen: String,
        /// What would make it pass, if it failed.
        mend: String,
    },
    /// A phase began.
    PhaseStarted {
        /// Index in the run.
        phase: u32,
        /// `idle` … `chaos`.
        name: String,
        /// Length after scaling, milliseconds.
        duration_ms: u64,
        /// Wanted rate at its end, requests per second; absent in closed models.
        rate: Option<f64>,
        /// Transports held open.
        connections: u32,
        /// Virtual users of a closed model.
        users: Option<u32>,
    },
    /// The instant at which workers that are apart begin a phase, noted before any of them is told.
    PhaseTimed {
        /// Index in the run.
        phase: u32,
        /// Its start by the scheduler's clock, Unix nanoseconds.
        t0_unix_ns: i64,
    },
    /// Load is divided among workers that are apart, until it is divided anew.
    LoadDivided {
        /// The phase from which on.
        phase: u32,
        /// Number of the division in the run; numbers grow, and some are left out.
        epoch: u32,
        /// Offset in the phase from which on, nanoseconds; 0 = its begin.
        from_ns: u64,
        /// Each worker's part; together they are all of it.
        shares: Vec<LoadShare>,
    },
    /// A change of the running phase, noted before any worker that is apart is told: what happened, whoever dies.
    ChangeTold {
        /// The phase.
        phase: u32,
        /// Its number among the phase's changes, from 1; workers take each once, in this order.
        number: u32,
        /// Offset from the phase's start at which it takes effect, nanoseconds.
        at_ns: u64,
        /// What it is.
        change: PhaseChange,
    },
    /// The wanted load was changed by hand or by a service.
    LoadChanged {
        /// The phase.
        phase: u32,
        /// Offset from the phase's start, milliseconds.
        at_ms: u64,
        /// `pause`, `resume`, `rate 500`, `hold`, `skip`.
        change: String,
        /// Who asked: `cli`, `api`, `decision`.
        by: String,
    },
    /// A threshold's state changed.
    ThresholdChanged {
        /// The phase in which it was evaluated; absent for the whole run's.
        phase: Option<u32>,
        /// As the plan writes it.
        threshold: String,
        /// Whether it holds now.
        holds: bool,
        /// The value seen, with its unit; `inf` when arrivals were dropped or failed.
        seen: String,
        /// Whether it ends the run.
        abort: bool,
    },
    /// A guest broke a limit or trapped.
    GuestFaulted {
        /// The phase.
        phase: u32,
        /// Name of the scenario's guest and its digest.
        guest: String,
        /// `deadline`, `memory`, `output`, `trap`, `bad-output`.
        fault: String,
        /// What happened.
        message: String,
        /// Operations that ended as cancelled by it.
        operations_cancelled: u64,
        /// Index of its scenario.
        #[serde(default)]
        scenario: u32,
        /// Offset from the phase's start, nanoseconds.
        #[serde(default)]
        offset_ns: u64,
    },
    /// A worker, or one of its load threads, uses an endpoint of a target no more, or again.
    EndpointChanged {
        /// The phase that ran or had run last.
        phase: u32,
        /// Name of the target in the plan.
        target: String,
        /// URL of the endpoint, as the plan writes it.
        endpoint: String,
        /// Whose view that is.
        worker: String,
        /// Whether it is out of use.
        out: bool,
        /// `health-check` or `outlier-detection`.
        cause: String,
        /// What was seen, and by which load thread where it is of one.
        detail: String,
    },
    /// A target's health changed.
    TargetHealth {
        /// Its name in the plan.
        target: String,
        /// Whether it answers its health check.
        healthy: bool,
        /// What was seen.
        seen: String,
    },
    /// A worker was lost or came back.
    WorkerChanged {
        /// Its id.
        worker: String,
        /// `joined`, `lost`, `cut off`, `back`, `left`.
        change: String,
        /// The last that was heard.
        detail: String,
        /// Its clock as it was measured when it joined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock: Option<ClockReading>,
        /// Which life of it that was, when it has part in the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<Life>,
    },
    /// A phase ended; its results and what was decided.
    PhaseEnded {
        /// Index in the run.
        phase: u32,
        /// `idle` … `chaos`.
        name: String,
        /// From its start to its end, milliseconds.
        lasted_ms: u64,
        /// The three checks of the phase (requirement R1.1).
        objectives: Vec<Outcome>,
        /// Expectations of CPU and memory (R1.2): findings, not failures.
        expectations: Vec<Outcome>,
        /// Thresholds scoped to the phase.
        thresholds: Vec<Outcome>,
        /// Rules on the generator itself (R9.4).
        validity: Vec<Outcome>,
        /// `continue`, `hold`, `abort`, `skipped`.
        decision: String,
        /// Why.
        reason: String,
    },
    /// What chaos is going to do in the run, and what it can do here.
    FaultsPlanned {
        /// In the order in which they begin.
        faults: Vec<PlannedFault>,
        /// Of the recipes that the plan asks for.
        capabilities: Vec<CapabilityView>,
    },
    /// A fault was not injected: a missing capability, a broken cap, a victim that was gone.
    FaultSkipped {
        /// Its id.
        fault: String,
        /// Its recipe.
        recipe: String,
        /// Its target.
        target: String,
        /// Why, and what would mend it.
        reason: String,
    },
    /// A fault is about to be injected; its undo is in the journal.
    FaultBeginning {
        /// What it is.
        fault: PlannedFault,
    },
    /// A fault is there, as it was read back.
    FaultInjected {
        /// Its id.
        fault: String,
        /// `fault proxy`, `fault agent`, `process driver`.
        backend: String,
        /// What was read back.
        seen: String,
    },
    /// A fault is gone, as it was read back.
    FaultEnded {
        /// Its id.
        fault: String,
        /// `its time is over`, `stopped by cli`, `stop condition error_rate > 50%: seen 61%`, `signal SIGINT`.
        how: String,
        /// How long it was there, milliseconds; absent when who held it did not live to measure it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_ms: Option<u64>,
        /// How long the undo took, reading back included, milliseconds; absent when nobody measured it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo_ms: Option<u64>,
        /// What was read back.
        verified: String,
    },
    /// A fault could not be undone, or that could not be read back: the run fails with exit code 97.
    FaultUnrecovered {
        /// Its id.
        fault: String,
        /// Its target.
        target: String,
        /// What was tried and seen, and what is left to do by hand.
        detail: String,
    },
    /// Recovery found a target in trouble.
    IncidentOpened {
        /// Its id, unique in the run.
        incident: String,
        /// The target.
        target: String,
        /// What kind of trouble.
        issue: Issue,
        /// The instance, if it is one.
        instance: Option<String>,
        /// What was seen.
        seen: String,
        /// The fault that explains it, if one does.
        fault: Option<String>,
        /// From the fault's injection to this detection, milliseconds; absent without a fault.
        detected_after_ms: Option<u64>,
    },
    /// Recovery did something about an incident, or could not.
    RecoveryActed {
        /// The incident.
        incident: String,
        /// The target.
        target: String,
        /// `restart`, `failover`, `shed-load`, and the way back: `fail back`, `restore load`.
        action: String,
        /// How it ended.
        outcome: ActionOutcome,
        /// What was done and seen.
        detail: String,
        /// How long it took, milliseconds.
        took_ms: u64,
    },
    /// An incident is over: the target was healthy for as long as the plan asks.
    IncidentClosed {
        /// The incident.
        incident: String,
        /// The target.
        target: String,
        /// What ended it: `restart`, `failover`, `the fault ended`, `by itself`.
        how: String,
        /// The fault that explains it, if one does: what is known at its end.
        fault: Option<String>,
        /// From the detection to the first good probe after the last bad one, milliseconds.
        recovered_after_ms: u64,
        /// From that probe to this confirmation, milliseconds.
        validated_after_ms: u64,
    },
    /// Somebody asked the run to stop, or a rule did.
    StopRequested {
        /// `cli`, `api`, `signal SIGINT`, `threshold p(99) < 300ms`, `lost service …`.
        by: String,
        /// Exit code that this alone would give.
        exit_code: u8,
    },
    /// Something that the user should know but that changes no verdict.
    Notice {
        /// The text.
        message: String,
    },
    /// The run is over.
    RunEnded {
        /// What came of it.
        verdict: Verdict,
        /// The exit code (requirement R12).
        exit_code: u8,
        /// Each reason, most severe first; empty when passed.
        reasons: Vec<String>,
        /// Thresholds scoped to the run.
        thresholds: Vec<Outcome>,
    },
    /// An entry written by a newer version.
    #[serde(other)]
    Unknown,
}

/// A file of a run's bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDigest {
    /// `guest:0`, `items.csv`.
    pub name: String,
    /// Digest of its bytes.
    pub digest: String,
}

/// A change of a running phase, as `ChangePhase` carries it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", content = "to", rename_all = "kebab-case")]
pub enum PhaseChange {
    /// Requests per second of all workers together; in closed models virtual users.
    Rate(f64),
    /// Nothing is sent from here on.
    Pause,
    /// The load goes on.
    Resume,
    /// The phase's length from its start, nanoseconds.
    ExtendTo(u64),
    /// The load falls to nothing over so many nanoseconds; then the phase ends.
    RampDown(u64),
    /// The wanted rate is multiplied by this.
    Factor(f64),
}

/// Names of a scenario's parts, by index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioNames {
    /// The scenario's name.
    pub scenario: String,
    /// `name digest` of its guest.
    pub guest: String,
    /// Steps.
    pub steps: Vec<String>,
    /// Checks.
    pub checks: Vec<String>,
    /// The guest's own metrics.
    pub metrics: Vec<String>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything asked for held.
    Passed,
    /// A threshold or an objective made into one did not hold.
    Failed,
    /// Ended before its time by a person, an alert or a lost service.
    Aborted,
    /// The generator was the bottleneck: the numbers say nothing of the target.
    Invalid,
}

impl Verdict {
    /// Its word, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Invalid => "invalid",
        }
    }
}

/// One named check with what was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The check's name or expression.
    pub name: String,
    /// The formula in words.
    pub expected: String,
    /// The figures seen.
    pub seen: String,
    /// How it came out.
    pub result: OutcomeResult,
}

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum OutcomeResult {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// It could not be evaluated.
    NotEvaluable {
        /// Why.
        reason: String,
    },
}
