//! `summary.json`: every figure of a run, for machines; computed once and shown in all other views.

use protocol::event::{Event, Outcome};
use schemars::JsonSchema;
use serde::Serialize;

use crate::faults::{
    self, BudgetsSummary, CapabilitySummary, FaultSummary, Findings, IncidentSummary, Resilience,
};
use crate::{RunData, lag, phases, workers};

/// The whole run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Summary {
    /// `gauntlet-summary/1`: grows by fields only.
    pub format: String,
    /// Version of Gauntlet that ran it.
    pub gauntlet: String,
    /// The run's id.
    pub run: String,
    /// The plan's name.
    pub name: String,
    /// The plan's seed.
    pub seed: u64,
    /// Digest of the plan as run.
    pub plan_digest: String,
    /// Factor on phase lengths.
    pub time_scale: f64,
    /// Factor on rates and connections.
    pub load_scale: f64,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// From the first to the last entry of the history, milliseconds.
    pub lasted_ms: u64,
    /// `passed`, `failed`, `aborted`, `invalid`; absent while the history has no end.
    pub verdict: Option<String>,
    /// The process's exit code (requirement R12).
    pub exit_code: Option<u8>,
    /// Why, most severe first.
    pub reasons: Vec<String>,
    /// How many of the 21 objectives passed, failed, and could not be evaluated.
    pub objectives: ObjectiveCounts,
    /// Thresholds over the whole run.
    pub thresholds: Vec<Check>,
    /// The targets' addresses and where their resources were read.
    pub targets: Vec<TargetSummary>,
    /// The phases that ran, in order.
    pub phases: Vec<PhaseSummary>,
    /// Send lag of all phases together: the histograms merged, not the percentiles.
    pub send_lag: SendLag,
    /// The load-workers, where they are processes of their own, in the order in which they came.
    pub workers: Vec<WorkerSummary>,
    /// The faults that were planned or asked for, in the order in which they began or were to begin.
    pub faults: Vec<FaultSummary>,
    /// What recovery found, in order.
    pub incidents: Vec<IncidentSummary>,
    /// What incidents are measured against.
    pub budgets: BudgetsSummary,
    /// What of the plan's faults could be done where chaos ran.
    pub capabilities: Vec<CapabilitySummary>,
    /// How well the planned faults were borne, and how many of them there were.
    pub resilience: Resilience,
}

/// Counts of objectives by result.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct ObjectiveCounts {
    /// Held.
    pub passed: u32,
    /// Did not hold.
    pub failed: u32,
    /// Could not be evaluated, each with its reason.
    pub not_evaluable: u32,
}

/// One check with what was seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Check {
    /// Name or expression.
    pub name: String,
    /// The formula in words.
    pub expected: String,
    /// The figures seen.
    pub seen: String,
    /// `pass`, `fail` or `not-evaluable`.
    pub result: String,
    /// Why it could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<&Outcome> for Check {
    fn from(outcome: &Outcome) -> Self {
        use protocol::event::OutcomeResult::{Fail, NotEvaluable, Pass};
        let (result, reason) = match &outcome.result {
            Pass => ("pass", None),
            Fail => ("fail", None),
            NotEvaluable { reason } => ("not-evaluable", Some(reason.clone())),
        };
        Self {
            name: outcome.name.clone(),
            expected: outcome.expected.clone(),
            seen: outcome.seen.clone(),
            result: result.to_owned(),
            reason,
        }
    }
}

/// A target.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TargetSummary {
    /// Its name in the plan.
    pub name: String,
    /// Its endpoints.
    pub urls: Vec<String>,
    /// Why CPU or memory are absent.
    pub absent: Vec<String>,
}

/// A load-worker.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct WorkerSummary {
    /// Its id.
    pub worker: String,
    /// What it counted against the others in the last division of the load that it had part in: 1 = one load thread of the
    /// slowest that measured; null = it had part in none.
    pub weight: Option<f64>,
    /// The weight was set, not measured.
    pub weight_set: bool,
    /// Load threads.
    pub load_threads: Option<u32>,
    /// Rounds a second of one load thread in its calibration; null = it did not measure.
    pub thread_speed: Option<f64>,
    /// Its share of the arrivals in that division.
    pub share: Option<f64>,
    /// Operations that it started over the whole run.
    pub started: u64,
    /// These as a share of what all load-workers started.
    pub sent_share: f64,
    /// How late it sent, microseconds.
    pub send_lag: Percentiles,
    /// By how much its clock was ahead of the scheduler's when it joined last, milliseconds; negative = behind, null = not
    /// measured. Load is sent by the scheduler's clock all the same.
    pub clock_ahead_ms: Option<f64>,
    /// By how much that may be wrong, either way, milliseconds.
    pub clock_error_ms: Option<f64>,
    /// When it came and went.
    pub changes: Vec<WorkerChange>,
}

/// A load-worker came or went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WorkerChange {
    /// Offset from the run's start, milliseconds.
    pub at_ms: u64,
    /// `joined`, `lost`, `cut off`, `back`, `left`.
    pub change: String,
    /// What is known of it.
    pub detail: String,
}

/// One phase.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PhaseSummary {
    /// Index in the run.
    pub index: u32,
    /// `idle` … `chaos`.
    pub name: String,
    /// Offset of its start from the run's, milliseconds.
    pub start_ms: u64,
    /// Length as planned, after scaling, milliseconds.
    pub planned_ms: u64,
    /// Length as it was; 0 when the history has no end of it.
    pub lasted_ms: u64,
    /// Mean of the rate that the schedule wanted, per second.
    pub wanted_rate: f64,
    /// Operations started per second.
    pub achieved_rate: f64,
    /// Answered operations per second.
    pub throughput: f64,
    /// Answered operations per second that broke no check.
    pub goodput: f64,
    /// Transports held open.
    pub connections: u32,
    /// Arrivals and operations; they close as requirement R9.3 says.
    pub arrivals: Arrivals,
    /// Requests on the wire, retries among them.
    pub requests: u64,
    /// Of these, retries.
    pub retries: u64,
    /// Bytes of requests that were written, heads and bodies before TLS. A request that went out again because its connection
    /// had been closed meanwhile counts once.
    pub bytes_sent: u64,
    /// Bytes of whole answers that were read, heads and bodies after TLS, before they were decoded.
    pub bytes_received: u64,
    /// From the intended send time, of answered operations, microseconds.
    pub latency: Percentiles,
    /// The same with dropped and failed operations as infinite (null): what thresholds see.
    pub latency_with_lost: Percentiles,
    /// From the actual send.
    pub service: Percentiles,
    /// Waiting for a user and a connection.
    pub queue: Percentiles,
    /// From the actual send to the first byte.
    pub first_byte: Percentiles,
    /// How late the generator itself sent.
    pub send_lag: SendLag,
    /// Dropped, failed, 4xx, 5xx or with a broken check, as a share of arrivals.
    pub error_share: f64,
    /// Failures by class.
    pub failures: Vec<Named>,
    /// Answers by HTTP status.
    pub statuses: Vec<Named>,
    /// The guests' checks.
    pub checks: Vec<CheckSummary>,
    /// The guests' own metrics.
    pub metrics: Vec<MetricSummary>,
    /// Per scenario, step and target.
    pub steps: Vec<StepSummary>,
    /// The three objectives (R1.1).
    pub objectives: Vec<Check>,
    /// Expected CPU and memory (R1.2).
    pub expectations: Vec<Check>,
    /// Thresholds of this phase.
    pub thresholds: Vec<Check>,
    /// Rules on the generator (R9.4).
    pub validity: Vec<Check>,
    /// The generator itself.
    pub generator: Generator,
    /// Means of the targets' metrics over the phase.
    pub targets: Vec<TargetMeans>,
    /// `continue`, `hold`, `abort`, `skipped`.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// What is missing from the samples.
    pub gaps: Vec<String>,
    /// Intervals of load-workers that were recorded together with a later one, because the record log was full or away:
    /// counts and percentiles are exact, single seconds are coarser.
    pub merged_intervals: u64,
}

/// Requirement R9.3: scheduled = dropped + waiting + started; started = answered + failed + cancelled +
/// in flight + unaccounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the equation above says each")]
pub struct Arrivals {
    pub scheduled: u64,
    pub dropped: u64,
    pub dropped_by_generator: u64,
    pub waiting: u64,
    pub started: u64,
    pub answered: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub in_flight: u64,
    /// Lost with a host; 0 otherwise.
    pub unaccounted: u64,
}

/// Percentiles in microseconds; null = infinite or no values.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct Percentiles {
    /// Values that they are of.
    pub count: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
    /// Values above the histogram's range of one hour, counted as one hour.
    pub clamped: u64,
}

/// How late the generator itself sent what was due and had a user and a connection, microseconds: the part of the latency
/// that is neither the target's nor the network's. The validity rule `send lag` says how large its p99 may be.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct SendLag {
    /// From nanoseconds, within 0.1 %.
    #[serde(flatten)]
    pub percentiles: Percentiles,
    /// The histogram in steps that the eye can take in, each without those before it; empty when nothing was sent.
    pub histogram: Vec<LagStep>,
}

/// One step of the send lag's histogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LagStep {
    /// Upper end of the step, microseconds; null = no end.
    pub up_to_us: Option<u64>,
    /// Operations that were sent so late, and later than the step before.
    pub count: u64,
}

/// A count with a name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Named {
    /// Status or failure class.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// A guest's check over a phase.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CheckSummary {
    /// Scenario.
    pub scenario: String,
    /// The check.
    pub name: String,
    /// How often it held.
    pub passed: u64,
    /// How often not.
    pub failed: u64,
}

/// A guest's own metric, of one step.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MetricSummary {
    /// Scenario.
    pub scenario: String,
    /// Step.
    pub step: String,
    /// The metric, its unit with it.
    pub name: String,
    /// What was observed, in the metric's own unit.
    pub values: Percentiles,
}

/// One step of a scenario against one target.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StepSummary {
    /// Scenario.
    pub scenario: String,
    /// Step.
    pub step: String,
    /// Target.
    pub target: String,
    /// Operations started.
    pub started: u64,
    /// Answered.
    pub answered: u64,
    /// Failed.
    pub failed: u64,
    /// Answered without a broken check.
    pub good: u64,
    /// Bytes of requests, as the phase's.
    pub bytes_sent: u64,
    /// Bytes of answers, as the phase's.
    pub bytes_received: u64,
    /// Failures by class.
    pub failures: Vec<Named>,
    /// Answers by HTTP status.
    pub statuses: Vec<Named>,
    /// From the intended send time.
    pub latency: Percentiles,
    /// From the actual send.
    pub service: Percentiles,
}

/// The generator over a phase.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Generator {
    /// Busiest second of any thread, share.
    pub busy_max: f64,
    /// Send lag, microseconds: as in the phase's `send_lag`, which has all of it.
    pub send_lag_p50_us: Option<f64>,
    /// The same.
    pub send_lag_p99_us: Option<f64>,
    /// The same.
    pub send_lag_max_us: Option<f64>,
    /// Mean time in the guest per request, nanoseconds.
    pub guest_ns_per_request: Option<f64>,
    /// Guest instances that trapped or broke a limit.
    pub guest_traps: u64,
    /// Connections made, the first ones among them.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
}

/// A target's metrics over a phase.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TargetMeans {
    /// Target.
    pub target: String,
    /// Metric.
    pub metric: String,
    /// Instance; empty when there is one.
    pub instance: String,
    /// Readings.
    pub samples: u64,
    /// Mean of the readings.
    pub mean: f64,
    /// Highest reading.
    pub max: f64,
}

impl Summary {
    /// Computes the summary.
    #[must_use]
    pub fn new(data: &RunData) -> Self {
        let first = data.history.first().map_or(0, |entry| entry.at_unix_ns);
        let last = data.history.last().map_or(first, |entry| entry.at_unix_ns);
        let lasted_ms = ms_between(first, last);
        let phases = phases::summaries(data, first);
        let Findings { faults, incidents, capabilities, budgets, resilience } =
            faults::findings(data, &phases, lasted_ms);
        let mut summary = Self {
            format: "gauntlet-summary/1".to_owned(),
            gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
            run: data.run.clone(),
            name: data.plan.name.clone(),
            seed: data.plan.seed,
            plan_digest: String::new(),
            time_scale: data.plan.time_scale,
            load_scale: data.plan.load_scale,
            started_at: rfc3339(first),
            lasted_ms,
            verdict: None,
            exit_code: None,
            reasons: Vec::new(),
            objectives: ObjectiveCounts::default(),
            thresholds: Vec::new(),
            targets: phases::targets(data),
            send_lag: lag::of_run(&data.series),
            phases,
            workers: workers::summaries(data),
            faults,
            incidents,
            budgets,
            capabilities,
            resilience,
        };
        for entry in &data.history {
            match &entry.event {
                Event::RunCreated { plan_digest, version, .. } => {
                    summary.plan_digest.clone_from(plan_digest);
                    summary.gauntlet.clone_from(version);
                }
                Event::RunEnded { verdict, exit_code, reasons, thresholds } => {
                    summary.verdict = Some(verdict.name().to_owned());
                    summary.exit_code = Some(*exit_code);
                    summary.reasons.clone_from(reasons);
                    summary.thresholds = thresholds.iter().map(Check::from).collect();
                }
                _ => {}
            }
        }
        for check in summary.phases.iter().flat_map(|phase| &phase.objectives) {
            match check.result.as_str() {
                "pass" => summary.objectives.passed += 1,
                "fail" => summary.objectives.failed += 1,
                _ => summary.objectives.not_evaluable += 1,
            }
        }
        summary
    }

    /// The JSON Schema of `summary.json`.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Milliseconds from one stamp to a later one.
pub(crate) fn ms_between(from_unix_ns: i64, to_unix_ns: i64) -> u64 {
    u64::try_from((to_unix_ns - from_unix_ns) / 1_000_000).unwrap_or(0)
}

fn rfc3339(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
