//! Seeded draws that need no state: SplitMix64 as a function of a key and a number, so that the n-th draw can be had
//! without those before it, in any order and on any machine.
//!
//! A key is itself drawn from what the draw is about: `at(at(seed, 0) ^ text(name), n)`.
//!
//! # What a seed makes of a plan
//!
//! When load is sent, and what, follows from the plan's seed by these rules, which are written down so that anybody can
//! compute them with a program of their own. `p` is the phase's index in the run and `k` the arrival's number in the phase,
//! both from 0. Each purpose `s` has its key
//!
//! ```text
//! key = mix(mix(mix(seed ^ 0x6a09e667f3bcc908) ^ (p << 8 | s)))
//! ```
//!
//! and its `n`-th draw is `at(key, n)`; as a fraction over 0 and up to 1, `u(n) = ((at(key, n) >> 11) + 1) / 2^53`.
//!
//! | s | purpose | rule |
//! |---|---|---|
//! | 1 | gaps between arrivals | `poisson`: gap k is −ln u(k), in units of the mean gap |
//! | 2 | scenario | of arrival k: the first whose weights, summed up to it and divided by their sum, reach u(k) |
//! | 3 | the chaos phase's walk | the rate of each of its steps: `plan::model::LoadModel::Walk` |
//! | 4 | feeder rows in random order | of arrival k: `at(key, k) × rows / 2^64`, rounded down, from 0 |
//!
//! Arrival k comes when the integral of the rate has reached its position: k where arrivals are even, else the sum of the gaps
//! up to its own. What guests draw for an arrival is their own affair and stands in their READMEs.
#![forbid(unsafe_code)]

/// What SplitMix64 adds from one state to the next: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The `n`-th draw of a key: 64 uniform bits, the same as the `n`-th output (from 0) of SplitMix64 with this seed.
#[inline]
#[must_use]
pub const fn at(key: u64, n: u64) -> u64 {
    mix(key.wrapping_add(n.wrapping_add(1).wrapping_mul(STEP)))
}

/// The finaliser of SplitMix64: every bit of the input moves half of the output; 0 stays 0.
#[inline]
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A text as part of a key: its FNV-1a hash, mixed.
#[must_use]
pub fn text(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    at(hash, 0)
}

/// A draw as one of the whole numbers from 0 to `most`, evenly.
#[must_use]
pub const fn up_to(most: u64, draw: u64) -> u64 {
    ((draw as u128 * (most as u128 + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_splitmix64() {
        let found = [at(0, 0), at(0, 1), at(0, 2)];
        assert_eq!(found, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn texts_differ() {
        assert_ne!(text("shop"), text("stop"));
        assert_ne!(text(""), text("\0"));
    }

    #[test]
    fn whole_numbers_are_even_and_within() {
        let mut counts = [0_u32; 10];
        for n in 0..10_000 {
            counts[usize::try_from(up_to(9, at(7, n))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!((up_to(0, u64::MAX), up_to(u64::MAX, u64::MAX)), (0, u64::MAX));
    }
}
