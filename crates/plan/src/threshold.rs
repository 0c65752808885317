//! Thresholds: `p(99) < 300ms`, `error_rate < 1%`, over a phase, the run, or a sliding window.

use std::time::Duration;

use serde::Serialize;

/// A condition on a measured value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// How it is compared.
    pub op: Op,
    /// With what: microseconds for latencies, shares (0 to 1) for rates, per second for throughputs.
    pub limit: f64,
    /// Sliding window; absent = the whole phase or run.
    pub over: Option<Duration>,
    /// Breaking it ends the run at once.
    pub abort: bool,
    /// No evaluation before this long after the start of the phase or run.
    pub delay: Duration,
    /// Only this scenario, by name.
    pub scenario: Option<String>,
    /// Only this step, by name.
    pub step: Option<String>,
    /// Only this target, by name.
    pub target: Option<String>,
}

/// What a threshold measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "measure", rename_all = "kebab-case")]
pub enum Measure {
    /// Percentile of latency from the intended time, dropped and failed operations counting as infinite:
    /// `p(99)`, `p(99.9)`; `med` = `p(50)`, `max` = `p(100)`.
    Latency {
        /// 0 to 100.
        percentile: f64,
    },
    /// Percentile of service time (from the actual send), answered operations only: `service(99)`.
    Service {
        /// 0 to 100.
        percentile: f64,
    },
    /// Percentile of queue time: `queue(99)`.
    Queue {
        /// 0 to 100.
        percentile: f64,
    },
    /// Mean latency of answered operations: `avg`.
    Mean,
    /// Share of arrivals that were dropped, failed, answered 4xx or 5xx, or broke a check: `error_rate`.
    ErrorRate,
    /// Share of checks that passed: `checks`.
    Checks,
    /// Answered operations a second: `throughput`.
    Throughput,
    /// Answered operations a second that broke no check: `goodput`.
    Goodput,
    /// Dropped arrivals: `dropped`.
    Dropped,
    /// Achieved rate as a share of the wanted: `achieved`.
    Achieved,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Op {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterOrEqual,
}
