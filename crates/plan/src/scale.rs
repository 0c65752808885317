//! The two scales (requirement R1.3).
//!
//! `time-scale` shrinks the lengths of phases and ramps and the number of samples that idle asks for; never
//! timeouts, probe intervals, threshold windows and delays, the walk's step or the longest hold. `load-scale`
//! shrinks rates, connections, users and the room for waiting arrivals; what was at least 1 stays at least 1.
//! The chaos phase is not scaled below 30 s.

use std::time::Duration;

use crate::model::{LoadModel, Phase, PhaseName, Plan};
use crate::presets::SHORTEST_CHAOS;

impl Plan {
    /// The phases as they run: both scales applied.
    #[must_use]
    pub fn scaled(&self) -> Vec<Phase> {
        self.phases.iter().map(|phase| scaled(phase, self.time_scale, self.load_scale)).collect()
    }
}

fn scaled(phase: &Phase, time: f64, load: f64) -> Phase {
    let mut phase = phase.clone();
    let unscaled = phase.duration;
    phase.duration = length(unscaled, time);
    if phase.name == PhaseName::Chaos {
        phase.duration = phase.duration.max(unscaled.min(SHORTEST_CHAOS));
    }
    match &mut phase.model {
        LoadModel::None => {}
        LoadModel::Open { start_rate, rate, ramp, .. } => {
            *start_rate = rate_of(*start_rate, load);
            *rate = rate_of(*rate, load);
            *ramp = length(*ramp, time).min(phase.duration);
        }
        LoadModel::Walk { floor, ceiling, .. } => {
            *floor = rate_of(*floor, load);
            *ceiling = rate_of(*ceiling, load);
        }
        LoadModel::Closed { start_users, users, ramp, .. } => {
            *start_users = count(*start_users, load);
            *users = count(*users, load);
            *ramp = length(*ramp, time).min(phase.duration);
        }
    }
    phase.connections = count(phase.connections, load);
    phase.max_users = count(phase.max_users, load);
    phase.max_waiting = wide_count(phase.max_waiting, load);
    if let Some(samples) = phase.objectives.get_mut("samples") {
        *samples = (*samples * time).round().max(samples.min(1.0));
    }
    phase
}

/// At least a millisecond, so that no phase vanishes.
fn length(duration: Duration, factor: f64) -> Duration {
    if duration.is_zero() || factor == 1.0 {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor)
        .map_or(duration, |scaled| scaled.max(Duration::from_millis(1)))
}

/// Rounded to a millionth, so that 100 × 0.07 is 7 and the number of arrivals is what one reckons by hand.
fn rate_of(rate: f64, factor: f64) -> f64 {
    if rate <= 0.0 || factor == 1.0 {
        return rate;
    }
    ((rate * factor * 1e6).round() / 1e6).max(rate.min(1.0))
}

fn count(value: u32, factor: f64) -> u32 {
    u32::try_from(wide_count(u64::from(value), factor)).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a plan are at most 1e9 and factors at most 1000: far below 2^53, and not negative"
)]
fn wide_count(value: u64, factor: f64) -> u64 {
    if value == 0 || factor == 1.0 {
        return value;
    }
    ((value as f64 * factor).round() as u64).max(1)
}
