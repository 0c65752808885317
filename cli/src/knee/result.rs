//! `knee.json`: what a search found, with every stage; written after each, so that a search that is killed leaves what it knew.

use std::path::Path;

use report::summary::Summary;
use scheduler::verdict::code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::page;
use super::search::{self, Bounds, Found, Limits, Purpose, Tried};
use crate::failure::Failure;
use crate::run_dir;

/// Its name in the directory of a search.
pub(crate) const FILE: &str = "knee.json";
/// Its JSON Schema, beside it.
const SCHEMA: &str = "knee.schema.json";
/// The same for people.
pub(crate) const PAGE: &str = "report.html";

/// A search and what it found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Knee {
    /// `gauntlet-knee/1`: grows by fields only.
    pub(crate) format: String,
    /// Version of Gauntlet that searched.
    pub(crate) gauntlet: String,
    /// The plan's name.
    pub(crate) name: String,
    /// The phase that stages are made from.
    pub(crate) phase: String,
    /// Connections in every stage.
    pub(crate) connections: u32,
    /// What a stage has to keep.
    pub(crate) thresholds: Vec<String>,
    /// What was asked for.
    pub(crate) asked: Asked,
    /// From the first stage's begin to the last one's end, milliseconds.
    pub(crate) lasted_ms: u64,
    /// What came of it; absent while the search is under way, and when it was killed.
    pub(crate) conclusion: Option<Conclusion>,
    /// The stages, in the order in which they ran.
    pub(crate) stages: Vec<Stage>,
}

/// One stage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Stage {
    /// Why it was run.
    pub(crate) purpose: Purpose,
    /// The wanted rate, per second.
    pub(crate) rate_per_second: f64,
    /// How it came out.
    pub(crate) found: Found,
    /// What failed, with its figures; empty when it was kept.
    pub(crate) why: Vec<String>,
    /// Length, milliseconds.
    pub(crate) lasted_ms: u64,
    /// Operations started, per second.
    pub(crate) achieved_per_second: f64,
    /// Percentiles of answered operations as in the run's summary, microseconds; null = nothing was answered.
    pub(crate) latency_p50_us: Option<f64>,
    /// The 95th.
    pub(crate) latency_p95_us: Option<f64>,
    /// The 99th.
    pub(crate) latency_p99_us: Option<f64>,
    /// From the actual send.
    pub(crate) service_p99_us: Option<f64>,
    /// Waiting for a user and a connection.
    pub(crate) queue_p99_us: Option<f64>,
    /// How late the generator sent.
    pub(crate) send_lag_p99_us: Option<f64>,
    /// Share of arrivals that were dropped, failed or answered with an error.
    pub(crate) error_share: f64,
    /// Arrivals that were dropped.
    pub(crate) dropped: u64,
    /// How long the target took to get well before the next stage; absent where nobody looked.
    pub(crate) cool_down_ms: Option<u64>,
    /// Name of the run's directory, beside this file.
    pub(crate) run: String,
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Conclusion {
    /// In a word.
    pub(crate) result: Outcome,
    /// The exit code of the command.
    pub(crate) exit_code: u8,
    /// The highest rate that was confirmed, per second.
    pub(crate) knee_per_second: Option<f64>,
    /// The highest rate that a stage kept, per second; above the knee where it could not be confirmed.
    pub(crate) kept_per_second: Option<f64>,
    /// The lowest rate above it that was not kept, per second.
    pub(crate) failed_per_second: Option<f64>,
    /// What failed there, or what ended the search.
    pub(crate) why: Vec<String>,
    /// How far the knee can be trusted; absent where there is none.
    pub(crate) confidence: Option<Confidence>,
}

/// The result in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The knee was confirmed, and the target does not keep a rate above it.
    Found,
    /// The highest rate was kept: the knee is that or more.
    NotReached,
    /// The first rate was not kept.
    BelowStart,
    /// No confirming stage was kept.
    Unconfirmed,
    /// The generator was the limit: the target may keep more.
    GeneratorLimit,
    /// Something else ended the search.
    Ended,
}

/// How far a knee can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Confidence {
    /// High: confirmed by the first confirming stage, its bound failed twice, and no stage contradicts another. Low: a stage at
    /// the knee or below was broken, or the gap is wider than was asked for. Medium: else.
    pub(crate) level: Level,
    /// Stages at the knee or below that were kept.
    pub(crate) kept_at_or_below: usize,
    /// Stages at the knee or below that were not.
    pub(crate) failed_at_or_below: usize,
    /// Stages above it that failed.
    pub(crate) failed_above: usize,
    /// Gap to the lowest rate that failed, as a share of the knee.
    pub(crate) gap: Option<f64>,
    /// Confirming stages that were not kept before the one that was.
    pub(crate) failed_confirmations: usize,
    /// Pairs of stages, by number from 1: the first failed at a rate at or under one that the second kept.
    pub(crate) contradictions: Vec<(usize, usize)>,
}

/// Confidence in a word; [`Confidence::level`] has the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    High,
    Medium,
    Low,
}

impl Level {
    /// As the terminal and the page write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl Stage {
    /// Reads the figures of a stage's run.
    pub(crate) fn new(
        (purpose, rate): (Purpose, f64),
        (found, why): (Found, Vec<String>),
        summary: &Summary,
        run: String,
    ) -> Self {
        let phase = summary.phases.first().cloned().unwrap_or_default();
        Self {
            purpose,
            rate_per_second: rate,
            found,
            why,
            lasted_ms: phase.lasted_ms,
            achieved_per_second: phase.achieved_rate,
            latency_p50_us: phase.latency.p50,
            latency_p95_us: phase.latency.p95,
            latency_p99_us: phase.latency.p99,
            service_p99_us: phase.service.p99,
            queue_p99_us: phase.queue.p99,
            send_lag_p99_us: phase.generator.send_lag_p99_us,
            error_share: phase.error_share,
            dropped: phase.arrivals.dropped,
            cool_down_ms: None,
            run,
        }
    }

    /// What the search has to know of it.
    pub(crate) const fn tried(&self) -> Tried {
        Tried { purpose: self.purpose, rate: self.rate_per_second, found: self.found }
    }
}

impl Knee {
    /// The stages as the search reads them.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        self.stages.iter().map(Stage::tried).collect()
    }

    /// Says what came of the search; `ended` = something else ended it, with its exit code and why.
    pub(crate) fn conclude(&mut self, ended: Option<(u8, Vec<String>)>) {
        self.conclusion = Some(conclude(&self.asked.limits(), &self.stages, ended));
    }

    /// Writes it into the directory of its search, with its schema and its page.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn keep(&self, dir: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| run_dir::write_whole(&dir.join(name), text.as_bytes());
        write(FILE, &format!("{}\n", self.json()?))?;
        write(SCHEMA, &format!("{:#}\n", Self::schema()))?;
        self.draw(dir)
    }

    /// Writes its page alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn draw(&self, dir: &Path) -> Result<(), Failure> {
        run_dir::write_whole(&dir.join(PAGE), report::knee::render(&page::of(self))?.as_bytes())
    }

    /// The JSON Schema of `knee.json`.
    pub(crate) fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// As JSON.
    ///
    /// # Errors
    /// A defect.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| Failure::bug(error.to_string()))
    }

    /// Reads what the search in this directory found; `None` = it is not the directory of one.
    ///
    /// # Errors
    /// When the file is damaged.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        let file = dir.join(FILE);
        let Ok(bytes) = std::fs::read(&file) else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .map_err(|error| Failure::input(format!("{}: {error}; the file is damaged", file.display())))
    }
}

fn conclude(limits: &Limits, stages: &[Stage], ended: Option<(u8, Vec<String>)>) -> Conclusion {
    let tried: Vec<Tried> = stages.iter().map(Stage::tried).collect();
    let last = tried.last().copied();
    let confirmed = last.filter(|last| last.purpose == Purpose::Confirm && last.found == Found::Kept);
    let knee = confirmed.filter(|_| ended.is_none()).map(|last| last.rate);
    let kept = Bounds::of(&tried).kept;
    let reference = knee.or(kept);
    let failed = tried
        .iter()
        .filter(|one| one.found != Found::Kept && reference.is_none_or(|rate| one.rate > rate))
        .map(|one| one.rate)
        .reduce(f64::min);
    let there = || stages.iter().filter(|stage| Some(stage.rate_per_second) == failed);
    // A rate that the target did not keep in a valid stage is the target's limit, whatever else was seen there.
    let by_target = there().any(|stage| stage.found == Found::Broken);
    let of = if by_target { Found::Broken } else { Found::Generator };
    let why: Vec<String> =
        there().filter(|stage| stage.found == of).take(1).flat_map(|stage| stage.why.clone()).collect();
    let (result, exit_code, why) = match (ended, knee, failed) {
        (Some((code, why)), _, _) => (Outcome::Ended, code, why),
        (None, Some(_), None) => (Outcome::NotReached, code::PASSED, why),
        (None, _, Some(_)) if !by_target => (Outcome::GeneratorLimit, code::INVALID, why),
        (None, Some(_), Some(_)) => (Outcome::Found, code::PASSED, why),
        (None, None, _) if kept.is_none() && last.is_none_or(|last| last.purpose != Purpose::Confirm) => {
            (Outcome::BelowStart, code::FAILED, why)
        }
        (None, None, _) => (Outcome::Unconfirmed, code::FAILED, why),
    };
    let confidence = knee.map(|knee| confidence(limits, &tried, knee, failed));
    Conclusion {
        result,
        exit_code,
        knee_per_second: knee,
        kept_per_second: kept,
        failed_per_second: failed,
        why,
        confidence,
    }
}

fn confidence(limits: &Limits, tried: &[Tried], knee: f64, failed: Option<f64>) -> Confidence {
    let number = |of: &dyn Fn(&Tried) -> bool| tried.iter().filter(|one| of(one)).count();
    let failed_confirmations = number(&|one| one.purpose == Purpose::Confirm && one.found == Found::Broken);
    let contradictions: Vec<(usize, usize)> =
        search::contradictions(tried).into_iter().map(|(broken, kept)| (broken + 1, kept + 1)).collect();
    let wide = failed.is_some_and(|failed| !search::close(limits, knee, failed));
    let seen_twice = failed.is_none_or(|failed| search::fails(tried, failed) > 1);
    let failed_at_or_below = number(&|one| one.found == Found::Broken && one.rate <= knee);
    let level = if failed_at_or_below > 0 || wide {
        Level::Low
    } else if contradictions.is_empty() && failed_confirmations == 0 && seen_twice {
        Level::High
    } else {
        Level::Medium
    };
    Confidence {
        level,
        kept_at_or_below: number(&|one| one.found == Found::Kept && one.rate <= knee),
        failed_at_or_below,
        failed_above: number(&|one| one.found != Found::Kept && one.rate > knee),
        gap: failed.map(|failed| failed / knee - 1.0),
        failed_confirmations,
        contradictions,
    }
}

#[cfg(test)]
#[path = "result_tests.rs"]
pub(crate) mod tests;
