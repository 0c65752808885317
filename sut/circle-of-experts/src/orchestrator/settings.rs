//! What can be changed at run time: what `PUT /admin/settings` takes and a version is a name for.

use std::time::Duration;

use consensus::{Rules, Tie};
use resilience::{backoff, breaker, budget, bulkhead};
use serde::{Deserialize, Serialize};
use serving::knobs::Latency;

/// How an orchestrator asks and counts. What is left out is as in the default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The longest time of one consensus, all attempts and pauses in it, milliseconds.
    pub timeout_ms: u64,
    /// That of an attempt, milliseconds.
    pub attempt_timeout_ms: u64,
    /// Attempts after the first.
    pub retries: u32,
    /// Pauses before them are drawn evenly from 0 to this, doubled each time, milliseconds …
    pub backoff_ms: u64,
    /// … and to this at most.
    pub max_backoff_ms: u64,
    /// Retries as a share of calls; null = any number.
    pub retry_budget: Option<RetryBudget>,
    /// A breaker for each expert; null = none.
    pub breaker: Option<Breaker>,
    /// Attempts of one expert at a time.
    pub bulkhead: Bulkhead,
    /// Questions at a time; more are refused.
    pub questions: usize,
    /// Decide as soon as nobody outstanding can change the outcome, and cancel those.
    pub early: bool,
    /// What of an answer is the vote.
    pub vote: Vote,
    /// Votes without which there is no quorum; null = half of the experts, rounded up.
    pub min_experts: Option<u32>,
    /// Weight of those who voted / weight of all, needed for a quorum, 0 to 1.
    pub coverage: f64,
    /// Weight of the winner's voters / weight of those who voted, to be exceeded, 0 to 1.
    pub support: f64,
    /// What equal scores at the top mean.
    pub tie: TieRule,
    /// What goes wrong on purpose.
    pub knobs: Knobs,
}

/// See `resilience::budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// Retries that a hundred calls pay for.
    pub percent: u32,
    /// Retries that can be saved up, and that are there at the start.
    pub reserve: u32,
}

/// See `resilience::breaker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open, milliseconds.
    pub open_ms: u64,
    /// Half open, the probes at a time and the successes that close it.
    pub probes: u32,
}

/// See `resilience::bulkhead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulkhead {
    /// Attempts in progress.
    pub concurrent: usize,
    /// Attempts that wait for a place.
    pub waiting: usize,
}

/// What of an answer is the vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"text\", \"number\" or a list of the choices")]
pub enum Vote {
    /// A rule.
    Rule(VoteRule),
    /// The one of these that it names.
    Choices(Vec<String>),
}

/// What of an answer is the vote, where there are no choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteRule {
    /// The whole text; case and white space do not matter.
    Text,
    /// The last number in it.
    Number,
}

/// What equal scores at the top mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieRule {
    /// There is no winner.
    Tie,
    /// The label with the heaviest single voter wins, then that of the expert who stands first.
    Heaviest,
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// How long a question is held before it is asked.
    pub latency: Latency,
    /// Share of questions that are answered with 500 and not asked, 0 to 1.
    pub error_rate: f64,
    /// Megabytes (10⁶ bytes) of memory that are held.
    pub memory_mb: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let budget = budget::Settings::default();
        let breaker = breaker::Settings::default();
        let bulkhead = bulkhead::Settings::default();
        Self {
            timeout_ms: 30_000,
            attempt_timeout_ms: 10_000,
            retries: 3,
            backoff_ms: 500,
            max_backoff_ms: 8_000,
            retry_budget: Some(RetryBudget { percent: budget.percent, reserve: budget.reserve }),
            breaker: Some(Breaker { failures: breaker.failures, open_ms: 30_000, probes: breaker.probes }),
            bulkhead: Bulkhead { concurrent: bulkhead.concurrent, waiting: bulkhead.waiting },
            questions: 1_000,
            early: true,
            vote: Vote::Choices(crate::plan::LABELS.map(str::to_owned).to_vec()),
            min_experts: None,
            coverage: 0.5,
            support: 0.5,
            tie: TieRule::Tie,
            knobs: Knobs::default(),
        }
    }
}

/// The longest wait that can be asked for, milliseconds.
const MAX_MS: u64 = 600_000;

impl Settings {
    /// What is wrong with these values; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut whole = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.push(format!("{key}: {value} is not between {least} and {most}"));
            }
        };
        whole("timeout_ms", self.timeout_ms, 1, MAX_MS);
        whole("attempt_timeout_ms", self.attempt_timeout_ms, 1, MAX_MS);
        whole("retries", self.retries.into(), 0, 20);
        whole("backoff_ms", self.backoff_ms, 0, MAX_MS);
        whole("max_backoff_ms", self.max_backoff_ms, self.backoff_ms.min(MAX_MS), MAX_MS);
        if let Some(RetryBudget { percent, reserve }) = self.retry_budget {
            whole("retry_budget.percent", percent.into(), 0, 2_000);
            whole("retry_budget.reserve", reserve.into(), 0, 1_000_000);
        }
        if let Some(Breaker { failures, open_ms, probes }) = self.breaker {
            whole("breaker.failures", failures.into(), 1, 1_000_000);
            whole("breaker.open_ms", open_ms, 1, MAX_MS);
            whole("breaker.probes", probes.into(), 1, 1_000);
        }
        whole("bulkhead.concurrent", self.bulkhead.concurrent as u64, 1, 10_000);
        whole("bulkhead.waiting", self.bulkhead.waiting as u64, 0, 100_000);
        whole("questions", self.questions as u64, 1, 100_000);
        whole("min_experts", self.min_experts.map_or(1, u64::from), 1, 1_000);
        whole("knobs.memory_mb", self.knobs.memory_mb as u64, 0, 16_000);
        for (key, share) in [
            ("coverage", self.coverage),
            ("support", self.support),
            ("knobs.error_rate", self.knobs.error_rate),
        ] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!("{key}: {share} is not between 0 and 1"));
            }
        }
        problems.extend(self.knobs.latency.problems().into_iter().map(|problem| format!("knobs.{problem}")));
        if let Vote::Choices(choices) = &self.vote {
            let plain: Vec<_> = choices.iter().map(|choice| lower(choice)).collect();
            let twice = plain.iter().enumerate().any(|(at, choice)| plain[..at].contains(choice));
            if !(2..=100).contains(&plain.len()) || twice || plain.iter().any(String::is_empty) {
                problems.push("vote: expected 2 to 100 different choices that are not empty".to_owned());
            }
        }
        problems
    }

    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) const fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }

    pub(crate) const fn backoff(&self) -> backoff::Settings {
        backoff::Settings {
            base: Duration::from_millis(self.backoff_ms),
            cap: Duration::from_millis(self.max_backoff_ms),
            jitter: backoff::Jitter::Full,
            retries: self.retries,
        }
    }

    /// The rules for experts of these weights, in thousandths.
    pub(crate) fn rules(&self, weights: Vec<u32>) -> Rules {
        let half = u32::try_from(weights.len().div_ceil(2)).unwrap_or(u32::MAX);
        Rules {
            weights,
            min_experts: self.min_experts.unwrap_or(half),
            coverage: millionths(self.coverage),
            support: millionths(self.support),
            tie: match self.tie {
                TieRule::Tie => Tie::Tie,
                TieRule::Heaviest => Tie::Heaviest,
            },
        }
    }

    pub(crate) fn vote(&self) -> consensus::Vote {
        match &self.vote {
            Vote::Rule(VoteRule::Text) => consensus::Vote::Text,
            Vote::Rule(VoteRule::Number) => consensus::Vote::Number,
            Vote::Choices(choices) => {
                consensus::Vote::Choices(choices.iter().map(|choice| lower(choice)).collect())
            }
        }
    }
}

impl From<RetryBudget> for budget::Settings {
    fn from(RetryBudget { percent, reserve }: RetryBudget) -> Self {
        Self { percent, reserve }
    }
}

impl From<Breaker> for breaker::Settings {
    fn from(Breaker { failures, open_ms, probes }: Breaker) -> Self {
        Self { failures, rate: None, open_for: Duration::from_millis(open_ms), probes }
    }
}

impl From<Bulkhead> for bulkhead::Settings {
    fn from(Bulkhead { concurrent, waiting }: Bulkhead) -> Self {
        Self { concurrent, waiting }
    }
}

fn lower(choice: &str) -> String {
    choice.trim().to_lowercase()
}

fn millionths(share: f64) -> u32 {
    // A share is between 0 and 1.
    (share * 1e6).round() as u32
}

#[cfg(test)]
mod tests;
