//! What this worker is good for against others: as its settings say, or as it measures before it is ready.

use std::str::FromStr;
use std::time::Duration;

use super::Options;
use super::prepare::announced_threads;
use crate::calibration;

/// How long the calibration works: long beside what disturbs single rounds, short beside a start.
const CALIBRATION: Duration = Duration::from_millis(50);

/// A weight that was set: the worker gets a share of the load in proportion to it. 1 is one load thread of the slowest
/// worker that measures. From 0.01 to 10 000, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(f64);

impl Weight {
    const LEAST: f64 = 0.01;
    const MOST: f64 = 10_000.0;

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: f64 = text.parse().map_err(|_| "expected a number such as 1 or 2.5".to_owned())?;
        if !(Self::LEAST..=Self::MOST).contains(&number) {
            return Err(format!("expected from {} to {}", Self::LEAST, Self::MOST));
        }
        Ok(Self((number * 100.0).round() / 100.0))
    }
}

/// What heartbeats tell of it: 0 = nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Strength {
    pub(super) weight: f64,
    pub(super) thread_speed: f64,
}

/// Measures, unless a weight was set or there is nobody to be compared with.
pub(super) async fn strength(options: &Options) -> Strength {
    let Some(apart) = options.apart else { return Strength::default() };
    if let Some(weight) = apart.weight {
        return Strength { weight: weight.get(), thread_speed: 0.0 };
    }
    let threads = announced_threads(options);
    let measured = tokio::task::spawn_blocking(move || calibration::thread_speed(threads, CALIBRATION)).await;
    match measured.map_err(std::io::Error::other).flatten() {
        Ok(thread_speed) => {
            tracing::info!(threads, thread_speed, "calibrated: rounds a second of one load thread");
            Strength { weight: 0.0, thread_speed }
        }
        Err(error) => {
            tracing::warn!(%error, "the calibration failed: this worker counts by its load threads alone");
            Strength::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_in_hundredths_and_within_bounds() {
        let read = |text: &str| text.parse::<Weight>().map(Weight::get);
        assert_eq!([read("3"), read("0.014")], [Ok(3.0), Ok(0.01)]);
        for wrong in ["0", "-1", "10001", "NaN", "inf", "three"] {
            assert!(read(wrong).unwrap_err().starts_with("expected "), "{wrong}");
        }
    }
}
