//! The defaults of requirements R1 (phases), R1.1 (objectives), R1.4 (chaos) and R3.1 (tiers).

use std::time::Duration;

use crate::model::{LogLevel, PhaseName, Range, Tier};

/// What a phase is when the plan says nothing about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Length before `time-scale`.
    pub duration: Duration,
    /// Load.
    pub load: PresetLoad,
    /// Transports held open; for a walk, at its ceiling.
    pub connections: u32,
    /// Expected CPU of the target.
    pub cpu: Option<Range>,
    /// Expected memory of the target.
    pub memory: Option<Range>,
    /// Share of traces kept.
    pub trace_sampling: f64,
    /// Log level.
    pub log_level: LogLevel,
}

/// Load of a preset, requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PresetLoad {
    /// None at all.
    None,
    /// Constant.
    Rate(f64),
    /// From the first to the second over the whole phase.
    Ramp(f64, f64),
    /// A seeded random walk.
    Walk {
        /// Lowest rate.
        floor: f64,
        /// Highest rate.
        ceiling: f64,
        /// Length of a step.
        step: Duration,
    },
}

/// In the chaos phase there is one connection for so many requests per second.
pub const RATE_PER_WALK_CONNECTION: f64 = 5.0;
/// `max-waiting` holds this many seconds of the rate.
pub const MAX_WAITING_SECONDS: f64 = 10.0;
/// However small the time-scale, the chaos phase does not become shorter than this by it (requirement R1.3).
pub const SHORTEST_CHAOS: Duration = Duration::from_secs(30);
/// Size of a `parallel-burst` that names none.
pub const BURST_SIZE: u32 = 10;

/// The preset of a phase.
#[must_use]
pub fn phase(name: PhaseName, tier: Option<Tier>) -> Preset {
    use LogLevel::{Debug, Info, Trace};
    let walk = PresetLoad::Walk { floor: 0.0, ceiling: 100_000.0, step: Duration::from_secs(10) };
    let mut preset = match name {
        PhaseName::Idle => row(5, PresetLoad::None, 0, Some((0, 5)), Some((0, 10)), 0.1, Info),
        PhaseName::Baseline => {
            row(15, PresetLoad::Rate(100.0), 50, Some((10, 20)), Some((20, 30)), 0.2, Info)
        }
        PhaseName::Light => {
            row(20, PresetLoad::Rate(1_000.0), 500, Some((30, 40)), Some((40, 50)), 0.5, Debug)
        }
        PhaseName::Medium => {
            row(30, PresetLoad::Rate(5_000.0), 2_500, Some((50, 60)), Some((60, 70)), 1.0, Debug)
        }
        PhaseName::Heavy => {
            row(30, PresetLoad::Rate(10_000.0), 5_000, Some((70, 80)), Some((75, 85)), 1.0, Trace)
        }
        PhaseName::Extreme => {
            row(20, PresetLoad::Rate(50_000.0), 10_000, Some((85, 95)), Some((85, 95)), 1.0, Trace)
        }
        PhaseName::Chaos => row(20, walk, 20_000, None, None, 1.0, Trace),
    };
    match (tier, name) {
        (Some(Tier::Base | Tier::Stress), PhaseName::Baseline) => preset.load = PresetLoad::Ramp(10.0, 100.0),
        (Some(Tier::Chaos), PhaseName::Chaos) => {
            preset.load = PresetLoad::Walk { floor: 0.0, ceiling: 5_000.0, step: Duration::from_secs(10) };
            preset.connections = 1_000;
        }
        (Some(Tier::Ultimate), PhaseName::Extreme) => preset.load = PresetLoad::Rate(100_000.0),
        _ => {}
    }
    preset
}

fn row(
    minutes: u64,
    load: PresetLoad,
    connections: u32,
    cpu: Option<(u8, u8)>,
    memory: Option<(u8, u8)>,
    trace_sampling: f64,
    log_level: LogLevel,
) -> Preset {
    let range = |(min, max): (u8, u8)| Range { min: f64::from(min) / 100.0, max: f64::from(max) / 100.0 };
    Preset {
        duration: Duration::from_secs(minutes * 60),
        load,
        connections,
        cpu: cpu.map(range),
        memory: memory.map(range),
        trace_sampling,
        log_level,
    }
}

/// The phases that a tier runs, before those that the plan names are added (requirement R3.1).
#[must_use]
pub const fn tier_phases(tier: Option<Tier>) -> &'static [PhaseName] {
    use PhaseName::{Baseline, Chaos, Heavy, Idle, Light, Medium};
    match tier {
        Some(Tier::Base) => &[Idle, Baseline],
        Some(Tier::Stress) => &[Idle, Baseline, Light, Medium, Heavy],
        Some(Tier::Chaos) => &[Idle, Baseline, Light, Medium, Chaos],
        Some(Tier::Ultimate) | None => &PhaseName::ALL,
    }
}

/// The parameters of a phase's three objectives with their defaults (requirement R1.1).
///
/// | phase | key | meaning | default |
/// |---|---|---|---|
/// | idle | `samples` | times that each metric was sampled at least; scaled with `time-scale` | 30 |
/// | idle | `probe-intervals` | age of the last probe at most, in probe intervals | 2 |
/// | baseline | `checks` | share of checks that passed at least | 1.0 |
/// | baseline | `error-rate` | share of operations that failed below this | 0.01 |
/// | light | `scaling` | throughput per instance may change by this share at most | 0.20 |
/// | light | `cache-hit-ratio` | hits / (hits + misses) at least | 0.80 |
/// | medium | `balance` | busiest / least busy instance at most | 1.25 |
/// | medium | `scaleout-p95` | p95 may change by this share at most after scale-out | 0.20 |
/// | heavy | `knee-goodput` | a level of load is over the knee when goodput is below this share of the wanted rate | 0.95 |
/// | heavy | `knee-latency` | … or p95 is above this multiple of the baseline's | 3.0 |
/// | heavy | `breakers` | circuit breakers that opened and closed at least | 1 |
/// | heavy | `goodput` | share of the knee's goodput at least | 0.80 |
/// | extreme | `breaking` | share of errors from which a level counts as broken | 0.5 |
/// | extreme, chaos | `recovery-seconds` | a target is healthy again within this, detection and rollback together | 150 |
/// | extreme | `accuracy` | our count of requests may differ from the target's own by this share at most | 0.01 |
/// | chaos | `steady-goodput` | steady state: share of the wanted rate at least | 0.95 |
/// | chaos | `steady-errors` | steady state: share of errors above the baseline's at most | 0.01 |
#[must_use]
pub const fn objectives(name: PhaseName) -> &'static [(&'static str, f64)] {
    match name {
        PhaseName::Idle => &[("samples", 30.0), ("probe-intervals", 2.0)],
        PhaseName::Baseline => &[("checks", 1.0), ("error-rate", 0.01)],
        PhaseName::Light => &[("scaling", 0.20), ("cache-hit-ratio", 0.80)],
        PhaseName::Medium => &[("balance", 1.25), ("scaleout-p95", 0.20)],
        PhaseName::Heavy => {
            &[("knee-goodput", 0.95), ("knee-latency", 3.0), ("breakers", 1.0), ("goodput", 0.80)]
        }
        PhaseName::Extreme => &[("breaking", 0.5), ("recovery-seconds", 150.0), ("accuracy", 0.01)],
        PhaseName::Chaos => &[("steady-goodput", 0.95), ("steady-errors", 0.01), ("recovery-seconds", 150.0)],
    }
}
