//! How experts behave: what `PUT /admin/circle` replaces at run time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All experts. What is left out is as in the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circle {
    /// Of all draws.
    pub seed: u64,
    /// Every expert that is not named in `experts`.
    pub all: Model,
    /// Single experts, by their number, each with a whole model of its own.
    pub experts: BTreeMap<u32, Model>,
    /// Megabytes (10⁶ bytes) of memory that the process holds for nothing.
    pub memory_mb: usize,
}

/// One expert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Probability that it answers a question rightly, 0 to 1.
    pub quality: f64,
    /// Weight of its vote, for whoever counts votes.
    pub weight: f64,
    /// Milliseconds until its first token, between these two.
    pub first_token_ms: [f64; 2],
    /// Milliseconds from one token to the next, between these two.
    pub token_ms: [f64; 2],
    /// Tokens of an answer, between these two; 2 at least, which are the answer itself.
    pub tokens: [u32; 2],
    /// Probability that it fails for a question, at every attempt alike, 0 to 1.
    pub failure_rate: f64,
    /// How it fails, one of these each time; none = in all ways but silence.
    pub failures: Vec<Failure>,
    /// Requests in a second of the monotonic clock; more are told to come a second later. 0 = any number.
    pub per_second: u32,
}

/// A way to fail, as the vendor of each shape does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// 529 or 503: come again later, without saying when.
    Overloaded,
    /// 429, with the time after which to come again: a second.
    RateLimited,
    /// 500.
    Internal,
    /// 401, whatever the key.
    Unauthorized,
    /// The answer ends half way: a stream without its end marker, another one by a closed connection.
    Truncated,
    /// 200, and the error in the body or in the stream.
    Within,
    /// A whole answer that is no vote.
    Refusal,
    /// No answer for a minute, then 504.
    Silent,
}

impl Failure {
    /// Those that are drawn from when a model names none.
    pub const USUAL: [Self; 7] = [
        Self::Overloaded,
        Self::RateLimited,
        Self::Internal,
        Self::Unauthorized,
        Self::Truncated,
        Self::Within,
        Self::Refusal,
    ];
}

impl Default for Model {
    fn default() -> Self {
        Self {
            quality: 0.8,
            weight: 1.0,
            first_token_ms: [20.0, 60.0],
            token_ms: [2.0, 6.0],
            tokens: [10, 30],
            failure_rate: 0.0,
            failures: Vec::new(),
            per_second: 0,
        }
    }
}

/// The largest wait that a model may ask for, milliseconds.
const MAX_MS: f64 = 600_000.0;
/// Megabytes that are held at most.
const MAX_MEMORY_MB: usize = 16_000;
/// Tokens of the longest answer.
const MAX_TOKENS: u32 = 4_096;

impl Circle {
    /// The model of an expert.
    #[must_use]
    pub fn of(&self, expert: u32) -> &Model {
        self.experts.get(&expert).unwrap_or(&self.all)
    }

    /// What is wrong with these values for so many experts; empty = nothing.
    #[must_use]
    pub fn problems(&self, experts: u32) -> Vec<String> {
        let mut problems = self.all.problems("all");
        if self.memory_mb > MAX_MEMORY_MB {
            problems.push(format!("memory_mb: {} is above {MAX_MEMORY_MB}", self.memory_mb));
        }
        for (number, model) in &self.experts {
            if *number >= experts {
                problems.push(format!("experts.{number}: there are only the {experts} from 0 on"));
            }
            problems.extend(model.problems(&format!("experts.{number}")));
        }
        problems
    }
}

impl Model {
    fn problems(&self, place: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, share) in [("quality", self.quality), ("failure_rate", self.failure_rate)] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!("{place}.{key}: {share} is not between 0 and 1"));
            }
        }
        if !(0.0..=1e6).contains(&self.weight) {
            problems.push(format!("{place}.weight: {} is not between 0 and 1000000", self.weight));
        }
        for (key, [least, most]) in [("first_token_ms", self.first_token_ms), ("token_ms", self.token_ms)] {
            if !(0.0 <= least && least <= most && most <= MAX_MS) {
                problems.push(format!(
                    "{place}.{key}: [{least}, {most}] are not two milliseconds from 0 to {MAX_MS}, the lower first"
                ));
            }
        }
        let [least, most] = self.tokens;
        if !(2 <= least && least <= most && most <= MAX_TOKENS) {
            problems.push(format!(
                "{place}.tokens: [{least}, {most}] are not two numbers from 2 to {MAX_TOKENS}, the lower first"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_all_named() {
        assert_eq!(Circle::default().problems(10), Vec::<String>::new());
        let text = r#"{"all": {"quality": 2, "tokens": [1, 5], "token_ms": [9, 3]}, "experts": {"10": {"failure_rate": -1}}, "memory_mb": 99999}"#;
        let problems = serde_json::from_str::<Circle>(text).unwrap().problems(10).join("\n");
        let places = [
            "all.quality",
            "all.tokens",
            "all.token_ms",
            "experts.10:",
            "experts.10.failure_rate",
            "memory_mb",
        ];
        for place in places {
            assert!(problems.contains(place), "{place} in\n{problems}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<Circle>(r#"{"all": {"qualities": 1}}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `qualities`"), "{error}");
    }
}
