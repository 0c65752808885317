//! Thresholds: `p(99) < 300ms`, `error_rate < 1%`, over a phase, the run, or a sliding window.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::units;

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

/// The condition alone: `p(99) < 300ms`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is measured.
    pub measure: Measure,
    /// How it is compared.
    pub op: Op,
    /// With what, in the unit of [`Threshold::limit`].
    pub limit: f64,
}

impl From<Check> for Threshold {
    /// Over the whole phase or run, everything in it.
    fn from(Check { measure, op, limit }: Check) -> Self {
        Self {
            measure,
            op,
            limit,
            over: None,
            abort: false,
            delay: Duration::ZERO,
            scenario: None,
            step: None,
            target: None,
        }
    }
}

impl Threshold {
    /// The condition alone.
    #[must_use]
    pub const fn check(&self) -> Check {
        Check { measure: self.measure, op: self.op, limit: self.limit }
    }
}

/// Text that is not a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidCheck {
    /// What was found and what was expected.
    pub message: String,
    /// What the user can do about it; may be empty.
    pub mend: String,
}

/// The words of measures that take no percentile.
const WORDS: [(&str, Measure); 9] = [
    ("med", Measure::Latency { percentile: 50.0 }),
    ("max", Measure::Latency { percentile: 100.0 }),
    ("avg", Measure::Mean),
    ("error_rate", Measure::ErrorRate),
    ("checks", Measure::Checks),
    ("throughput", Measure::Throughput),
    ("goodput", Measure::Goodput),
    ("dropped", Measure::Dropped),
    ("achieved", Measure::Achieved),
];

const GRAMMAR: &str = "p(99), service(99), queue(99), med, max, avg, error_rate, checks, throughput, goodput, dropped or achieved";

impl FromStr for Check {
    type Err = InvalidCheck;

    fn from_str(text: &str) -> Result<Self, InvalidCheck> {
        let invalid = |message: String, mend: &str| InvalidCheck { message, mend: mend.to_owned() };
        let Some(at) = text.find(['<', '>', '=']) else {
            let message = format!("found {text:?}, expected MEASURE < LIMIT");
            return Err(invalid(message, "such as \"p(99) < 300ms\" or \"error_rate < 1%\""));
        };
        let (left, right) = text.split_at(at);
        let measure = left.trim().parse()?;
        let (op, limit) = match right.as_bytes() {
            [b'<', b'=', ..] => (Op::LessOrEqual, &right[2..]),
            [b'>', b'=', ..] => (Op::GreaterOrEqual, &right[2..]),
            [b'<', ..] => (Op::Less, &right[1..]),
            [b'>', ..] => (Op::Greater, &right[1..]),
            _ => {
                let message = format!("found {:?} in {text:?}, expected <, <=, > or >=", &right[..1]);
                return Err(invalid(message, "a measured value is never just equal"));
            }
        };
        let limit = limit.trim();
        match read_limit(measure, limit) {
            Ok(limit) => Ok(Self { measure, op, limit }),
            Err(expected) => {
                let message = format!("found the limit {limit:?} for {measure}, expected {expected}");
                Err(invalid(message, ""))
            }
        }
    }
}

impl FromStr for Measure {
    type Err = InvalidCheck;

    fn from_str(text: &str) -> Result<Self, InvalidCheck> {
        if let Some((_, measure)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*measure);
        }
        let inner =
            text.split_once('(').and_then(|(word, rest)| Some((word.trim(), rest.strip_suffix(')')?)));
        if let Some((word @ ("p" | "service" | "queue"), number)) = inner {
            let percentile =
                number.trim().parse().ok().filter(|p: &f64| (0.0..=100.0).contains(p)).ok_or_else(|| {
                    InvalidCheck {
                        message: format!("found the percentile {number:?}, expected a number from 0 to 100"),
                        mend: format!("such as {word}(99) or {word}(99.9)"),
                    }
                })?;
            return Ok(match word {
                "p" => Self::Latency { percentile },
                "service" => Self::Service { percentile },
                _ => Self::Queue { percentile },
            });
        }
        let as_percentile = text.strip_prefix('p').filter(|rest| rest.parse::<f64>().is_ok());
        let mend = as_percentile.map(|number| format!("did you mean p({number})?")).or_else(|| {
            let near = units::nearest(text, WORDS.iter().map(|(word, _)| *word))?;
            Some(format!("did you mean {near}?"))
        });
        Err(InvalidCheck {
            message: format!("found the measure {text:?}, expected {GRAMMAR}"),
            mend: mend.unwrap_or_default(),
        })
    }
}

/// The limit in the measure's unit, or what was expected.
fn read_limit(measure: Measure, text: &str) -> Result<f64, &'static str> {
    match measure {
        Measure::Latency { .. } | Measure::Service { .. } | Measure::Queue { .. } | Measure::Mean => {
            let duration = units::parse_duration(text).ok_or("a duration such as 300ms")?;
            Ok(micros(duration))
        }
        Measure::ErrorRate | Measure::Checks | Measure::Achieved => units::parse_share(text)
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or("a share from 0 to 1 or a percentage such as 1%"),
        Measure::Throughput | Measure::Goodput => units::parse_rate(text)
            .filter(|rate| *rate >= 0.0)
            .ok_or("operations per second such as 500 or 30/m"),
        Measure::Dropped => text.parse::<u32>().map(f64::from).map_err(|_| "a number of arrivals"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53 ns")]
fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { percentile } if *percentile == 100.0 => f.write_str("max"),
            Self::Latency { percentile } => write!(f, "p({percentile})"),
            Self::Service { percentile } => write!(f, "service({percentile})"),
            Self::Queue { percentile } => write!(f, "queue({percentile})"),
            Self::Mean => f.write_str("avg"),
            Self::ErrorRate => f.write_str("error_rate"),
            Self::Checks => f.write_str("checks"),
            Self::Throughput => f.write_str("throughput"),
            Self::Goodput => f.write_str("goodput"),
            Self::Dropped => f.write_str("dropped"),
            Self::Achieved => f.write_str("achieved"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Measure {
    /// A value of this measure with its unit, as a plan would write it; `inf` when dropped or failed operations
    /// make it infinite.
    #[must_use]
    pub fn format(&self, value: f64) -> String {
        if !value.is_finite() {
            return "inf".to_owned();
        }
        match self {
            Self::Latency { .. } | Self::Service { .. } | Self::Queue { .. } | Self::Mean => {
                let whole = Duration::try_from_secs_f64(value / 1e6).unwrap_or(Duration::ZERO);
                units::print_duration(whole)
            }
            Self::ErrorRate | Self::Checks | Self::Achieved => units::print_share(value),
            Self::Throughput | Self::Goodput => format!("{value}/s"),
            Self::Dropped => format!("{value}"),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.measure, self.op, self.measure.format(self.limit))
    }
}

impl fmt::Display for Threshold {
    /// The condition and what narrows it: `error_rate < 1% over 30s, scenario shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.check().fmt(f)?;
        if let Some(over) = self.over {
            write!(f, " over {}", units::print_duration(over))?;
        }
        for (what, name) in [("scenario", &self.scenario), ("step", &self.step), ("target", &self.target)] {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "threshold_tests.rs"]
mod tests;
