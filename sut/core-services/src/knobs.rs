//! What can be changed at run time: latency, errors, stalls, CPU cost and memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use serving::knobs::{Latency, Stall};
use serving::knobs::{draw, out_of_range};

/// The state of all knobs, as `PUT /admin/knobs` takes it and `GET` gives it back. What is left out is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Time that the simulated backend takes for each request, drawn from `seed` and the request's number.
    pub latency: Latency,
    /// Further milliseconds for an item that is not in the cache.
    pub miss_ms: f64,
    /// Further milliseconds of each query, spent on the database's server with a connection in use.
    pub query_ms: f64,
    /// Share of requests for which the backend fails (500, counted by the breaker), 0 to 1.
    pub error_rate: f64,
    /// A window in which no answer is given.
    pub stall: Option<Stall>,
    /// Microseconds of computing for each request.
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
        let mut problems = Vec::new();
        problems.extend(out_of_range("miss_ms", self.miss_ms));
        problems.extend(out_of_range("query_ms", self.query_ms));
        problems.extend(self.latency.problems());
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

    /// The backend's time for the request with this number.
    #[must_use]
    pub fn backend_time(&self, request: u64) -> Duration {
        self.latency.time(draw(self.seed, request, 1))
    }

    /// Whether the backend fails for the request with this number.
    #[must_use]
    pub fn fails(&self, request: u64) -> bool {
        self.error_rate > 0.0 && draw(self.seed, request, 2) < self.error_rate
    }
}

#[cfg(test)]
mod tests;
