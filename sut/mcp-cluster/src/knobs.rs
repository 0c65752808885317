//! What can be changed at run time: latency, errors, stalls, CPU cost and memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serving::knobs::draw;
pub use serving::knobs::{Latency, Stall};

/// The state of all knobs, as `PUT /admin/knobs` takes it and `GET` gives it back. What is left out is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Time that each tool call takes more, drawn from `seed` and the call's number.
    pub latency: Latency,
    /// Share of tool calls that fail (a result with `isError`), 0 to 1.
    pub error_rate: f64,
    /// A window in which no answer is given.
    pub stall: Option<Stall>,
    /// Microseconds of computing for each tool call.
    pub cpu_burn_us: u64,
    /// Mebibytes that are in use for nothing.
    pub memory_mib: usize,
    /// Of the draws for latency and errors.
    pub seed: u64,
}

/// Mebibytes that the knob takes at most.
const MAX_MEMORY_MIB: usize = 16_384;

impl Knobs {
    /// What is wrong with these values; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.latency.problems();
        if !(0.0..=1.0).contains(&self.error_rate) {
            problems.push(format!("error_rate: {} is not a share between 0 and 1", self.error_rate));
        }
        if self.cpu_burn_us > 10_000_000 {
            problems.push(format!("cpu_burn_us: {} is above 10 s", self.cpu_burn_us));
        }
        if self.memory_mib > MAX_MEMORY_MIB {
            problems.push(format!("memory_mib: {} is above {MAX_MEMORY_MIB}", self.memory_mib));
        }
        problems
    }

    /// How much longer the call with this number takes.
    #[must_use]
    pub fn time(&self, call: u64) -> Duration {
        self.latency.time(draw(self.seed, call, 1))
    }

    /// Whether the call with this number fails.
    #[must_use]
    pub fn fails(&self, call: u64) -> bool {
        self.error_rate > 0.0 && draw(self.seed, call, 2) < self.error_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_all_named() {
        let knobs = Knobs {
            latency: Latency::Fixed { ms: -1.0 },
            error_rate: 1.5,
            cpu_burn_us: 20_000_000,
            memory_mib: 1 << 20,
            ..Knobs::default()
        };
        let problems = knobs.problems().join("\n");
        for key in ["latency.ms", "error_rate", "cpu_burn_us", "memory_mib"] {
            assert!(problems.contains(key), "{key} is missing in {problems}");
        }
        assert!(Knobs::default().problems().is_empty());
    }
}
