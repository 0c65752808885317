//! Seeded draws that need no state: the n-th draw of a stream can be had without those before it.

pub(super) use draws::at;
use draws::mix;

/// What a draw is for. Append only: the numbers are part of what a seed reproduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Gaps between arrivals.
    Gap = 1,
    /// Scenario of an arrival.
    Scenario = 2,
    /// Steps of the chaos phase's walk.
    Walk = 3,
    /// Feeder rows in random order.
    Row = 4,
    /// Seeds of guests.
    Guest = 5,
    /// Endpoints of requests.
    Endpoint = 6,
}

/// The `n`-th draw of a stream of a phase: 64 uniform bits (SplitMix64 with a key).
#[inline]
#[must_use]
pub const fn draw(seed: u64, phase: u32, stream: Stream, n: u64) -> u64 {
    at(key(seed, phase, stream), n)
}

/// The part of [`draw`] that is the same for all of a stream; [`at`] is the rest of it.
pub(super) const fn key(seed: u64, phase: u32, stream: Stream) -> u64 {
    let a = mix(seed ^ 0x6a09_e667_f3bc_c908);
    let b = mix(a ^ ((phase as u64) << 8 | stream as u64));
    mix(b)
}

/// 64 bits as a number over 0, at most 1.
#[inline]
#[must_use]
pub fn unit(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}
