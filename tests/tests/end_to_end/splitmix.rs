//! The draws of a run, written anew from what the documentation of crate `draws` says of them, and by none of the code that
//! a run draws with.

/// What SplitMix64 adds from one state to the next.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What draws are for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Scenario = 2,
    Walk = 3,
    Row = 4,
}

/// All draws of one purpose in one phase.
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64, phase: u64, purpose: Purpose) -> Self {
        let of_phase = (phase << 8) | purpose as u64;
        Self(mix(mix(mix(seed ^ 0x6a09_e667_f3bc_c908) ^ of_phase)))
    }

    /// The `n`-th draw, 64 bits.
    pub(crate) fn at(&self, n: u64) -> u64 {
        mix(self.0.wrapping_add((n + 1).wrapping_mul(STEP)))
    }

    /// The same over 0, at most 1.
    pub(crate) fn unit(&self, n: u64) -> f64 {
        ((self.at(n) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// A draw as a whole number below `bound`.
pub(crate) fn below(bound: u64, draw: u64) -> u64 {
    u64::try_from((u128::from(draw) * u128::from(bound)) >> 64).unwrap()
}
