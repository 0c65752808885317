//! The configuration after reading: every default filled in, templates not yet parsed.

mod circle;
mod read;
#[cfg(test)]
mod schema;

use consensus::{Tie, Vote};
use expert_apis::Api;
use gauntlet_sdk::RowOrder;
use resilience::{backoff, breaker, budget};
use serde_json::{Map, Value};

pub(crate) use read::read;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) experts: Vec<Expert>,
    pub(crate) prompt: String,
    pub(crate) system: Option<String>,
    pub(crate) feed: Option<String>,
    pub(crate) feed_order: RowOrder,
    pub(crate) size: Size,
    /// What the right answer says.
    pub(crate) expect: Option<String>,
    /// One query with all its attempts, microseconds.
    pub(crate) timeout_us: u32,
    pub(crate) attempt_timeout_us: u32,
    pub(crate) backoff: backoff::Settings,
    pub(crate) budget: Option<budget::Settings>,
    pub(crate) breaker: Option<breaker::Settings>,
    pub(crate) slo: Option<Slo>,
    /// Answers are read; else only their HTTP status is looked at.
    pub(crate) verifies: bool,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) circle: Option<Circle>,
    /// Microseconds, both ends included.
    pub(crate) think_us: (u32, u32),
}

/// One expert.
#[derive(Debug)]
pub(crate) struct Expert {
    /// Its place in the configuration, where experts that cannot be read stand, too.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) api: Api,
    pub(crate) model: String,
    pub(crate) key: String,
    /// In thousandths.
    pub(crate) weight: u32,
    /// Index into the scenario's targets.
    pub(crate) target: u32,
    pub(crate) path: Option<String>,
    pub(crate) max_tokens: u32,
    pub(crate) stream: bool,
    pub(crate) options: Map<String, Value>,
}

/// How many bytes a prompt has at least: what its text lacks is filled up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    /// As many as its text has.
    Text,
    /// Drawn evenly, both ends included.
    Even { min: u32, max: u32 },
    /// Drawn from a log-normal distribution and cut at `max`.
    LogNormal { median: f64, sigma: f64, max: u32 },
}

/// What a good answer keeps, microseconds; 0 = not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slo {
    pub(crate) ttft_us: u32,
    pub(crate) tpot_us: u32,
    pub(crate) e2e_us: u32,
}

impl Slo {
    /// Whether an objective is about when tokens come.
    pub(crate) const fn is_of_streams(self) -> bool {
        self.ttft_us > 0 || self.tpot_us > 0
    }
}

/// Turns of a user that know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// Turns until a new one begins.
    pub(crate) turns: u32,
    /// Bytes of earlier prompts and answers that are kept and sent again.
    pub(crate) history: usize,
}

/// Every query goes to all experts, who vote.
#[derive(Debug)]
pub(crate) struct Circle {
    /// Votes without which there is no outcome; absent = half of the experts, rounded up.
    pub(crate) min_experts: Option<u32>,
    /// Weight of those who voted, in millionths of all.
    pub(crate) coverage: u32,
    /// Weight of the winner's voters that has to be exceeded, in millionths of that of all who voted.
    pub(crate) support: u32,
    pub(crate) tie: Tie,
    /// The rest is cancelled as soon as it cannot change the outcome.
    pub(crate) early: bool,
    pub(crate) vote: Vote,
}
