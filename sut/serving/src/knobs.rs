//! What the knobs of systems under test are made of: latencies, stalls, computing, memory, and seeded draws.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

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

/// The largest wait that a knob may ask for, milliseconds: longer ones are mistakes.
pub const MAX_MS: f64 = 600_000.0;

/// What is wrong with a knob that is a time in milliseconds.
#[must_use]
pub fn out_of_range(key: &str, milliseconds: f64) -> Option<String> {
    let sensible = (0.0..=MAX_MS).contains(&milliseconds);
    (!sensible).then(|| format!("{key}: {milliseconds} is not between 0 and {MAX_MS} milliseconds"))
}

impl Latency {
    /// What is wrong with these values, as those of the knob `latency`; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        match *self {
            Self::None => Vec::new(),
            Self::Fixed { ms } => out_of_range("latency.ms", ms).into_iter().collect(),
            Self::Exponential { mean_ms } => out_of_range("latency.mean_ms", mean_ms).into_iter().collect(),
            Self::Uniform { min_ms, max_ms } => {
                let order = format!("latency.min_ms: {min_ms} is above latency.max_ms ({max_ms})");
                let ends = [out_of_range("latency.min_ms", min_ms), out_of_range("latency.max_ms", max_ms)];
                ends.into_iter().chain([(min_ms > max_ms).then_some(order)]).flatten().collect()
            }
        }
    }

    /// The time at an even draw from [0, 1).
    #[must_use]
    pub fn time(&self, share: f64) -> Duration {
        let milliseconds = match *self {
            Self::None => 0.0,
            Self::Fixed { ms } => ms,
            Self::Uniform { min_ms, max_ms } => min_ms + (max_ms - min_ms) * share,
            Self::Exponential { mean_ms } => mean_ms * (-(1.0 - share).ln()).min(20.0),
        };
        Duration::from_secs_f64(milliseconds / 1e3)
    }
}

impl Stall {
    /// Time until its end, if it holds at `now_ns`; both times are of one clock, in nanoseconds.
    #[must_use]
    pub fn remaining(&self, set_ns: u64, now_ns: u64) -> Option<Duration> {
        let begin = set_ns.saturating_add(self.after_ms.saturating_mul(1_000_000));
        let end = begin.saturating_add(self.for_ms.saturating_mul(1_000_000));
        (begin <= now_ns && now_ns < end).then(|| Duration::from_nanos(end - now_ns))
    }
}

/// Computes for so many microseconds.
pub fn burn(microseconds: u64) {
    if microseconds == 0 {
        return;
    }
    let begun = Instant::now();
    let time = Duration::from_micros(microseconds);
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Memory that is in use for nothing.
#[derive(Debug, Default)]
pub struct Ballast(Mutex<Vec<u8>>);

impl Ballast {
    /// Holds so many bytes, in the place of those that were held.
    pub fn hold(&self, bytes: usize) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() != bytes {
            // Those before are given back first. Not zeros: pages that were never written are not in memory.
            *held = Vec::new();
            *held = vec![1; bytes];
        }
    }
}

/// An even draw from [0, 1), a function of its arguments (splitmix64).
#[must_use]
pub fn draw(seed: u64, request: u64, purpose: u64) -> f64 {
    let mut z =
        seed ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // The upper 53 bits fill a double exactly.
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_holds_inside_its_window_only() {
        let stall = Stall { after_ms: 10, for_ms: 5 };
        assert_eq!(stall.remaining(1_000_000, 10_999_999), None);
        assert_eq!(stall.remaining(1_000_000, 11_000_000), Some(Duration::from_millis(5)));
        assert_eq!(stall.remaining(1_000_000, 15_999_999), Some(Duration::from_nanos(1)));
        assert_eq!(stall.remaining(1_000_000, 16_000_000), None);
    }
}
