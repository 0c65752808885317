//! What can be changed at run time: latency, errors, stalls and CPU cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The state of all knobs, as `PUT /admin/knobs` takes it and `GET` gives it back. What is left out is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Time that the simulated backend takes for each request, drawn from `seed` and the request's number.
    pub latency: Latency,
    /// Further milliseconds for an item that is not in the cache.
    pub miss_ms: f64,
    /// Share of requests for which the backend fails (500, counted by the breaker), 0 to 1.
    pub error_rate: f64,
    /// A window in which no answer is given.
    pub stall: Option<Stall>,
    /// Microseconds of computing for each request.
    pub cpu_burn_us: u64,
    /// Of the draws for latency and errors.
    pub seed: u64,
}

/// A distribution of latencies. Waits have the granularity of the runtime's timer: up to 1 ms more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// No wait at all.
    #[default]
    None,
    /// Always the same.
    Fixed {
        /// Milliseconds.
        ms: f64,
    },
    /// Evenly between two ends.
    Uniform {
        /// Lower end, milliseconds.
        min_ms: f64,
        /// Upper end, milliseconds.
        max_ms: f64,
    },
    /// Memoryless, with this mean; cut at 20 times the mean.
    Exponential {
        /// Milliseconds.
        mean_ms: f64,
    },
}

/// All answers, health included, that would be given inside the window are given at its end. The admin and
/// metrics endpoints go on answering.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// Beginning of the window, milliseconds after the knob was set; 0 = at once.
    #[serde(default)]
    pub after_ms: u64,
    /// Length of the window, milliseconds.
    pub for_ms: u64,
}

/// The largest wait that a knob may ask for: longer ones are mistakes.
const MAX_MS: f64 = 600_000.0;

impl Knobs {
    /// What is wrong with these values; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut milliseconds = |key: &str, value: f64| {
            if !(0.0..=MAX_MS).contains(&value) {
                problems.push(format!("{key}: {value} is not between 0 and {MAX_MS} milliseconds"));
            }
        };
        milliseconds("miss_ms", self.miss_ms);
        match self.latency {
            Latency::None => {}
            Latency::Fixed { ms } => milliseconds("latency.ms", ms),
            Latency::Exponential { mean_ms } => milliseconds("latency.mean_ms", mean_ms),
            Latency::Uniform { min_ms, max_ms } => {
                milliseconds("latency.min_ms", min_ms);
                milliseconds("latency.max_ms", max_ms);
                if min_ms > max_ms {
                    problems.push(format!("latency.min_ms: {min_ms} is above latency.max_ms ({max_ms})"));
                }
            }
        }
        if !(0.0..=1.0).contains(&self.error_rate) {
            problems.push(format!("error_rate: {} is not a share between 0 and 1", self.error_rate));
        }
        if self.cpu_burn_us > 10_000_000 {
            problems.push(format!("cpu_burn_us: {} is above 10 s", self.cpu_burn_us));
        }
        problems
    }

    /// The backend's time for the request with this number.
    #[must_use]
    pub fn backend_time(&self, request: u64) -> Duration {
        let share = draw(self.seed, request, 1);
        let milliseconds = match self.latency {
            Latency::None => 0.0,
            Latency::Fixed { ms } => ms,
            Latency::Uniform { min_ms, max_ms } => min_ms + (max_ms - min_ms) * share,
            Latency::Exponential { mean_ms } => mean_ms * (-(1.0 - share).ln()).min(20.0),
        };
        Duration::from_secs_f64(milliseconds / 1e3)
    }

    /// Whether the backend fails for the request with this number.
    #[must_use]
    pub fn fails(&self, request: u64) -> bool {
        self.error_rate > 0.0 && draw(self.seed, request, 2) < self.error_rate
    }
}

/// An even draw from [0, 1), a function of its arguments (splitmix64).
fn draw(seed: u64, request: u64, purpose: u64) -> f64 {
    let mut z =
        seed ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // The upper 53 bits fill a double exactly.
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
