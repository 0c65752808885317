//! Seeded draws that depend on nothing but what they are drawn for.

/// A small generator of random numbers (splitmix64 over a mixed key): fast, 8 bytes, and a pure function of what it
/// was made for. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The draws of one arrival. Different `stream`s of one arrival are independent of each other: give each purpose
    /// (which step, which item, think time) its own, so that a new draw for one does not shift the others.
    #[must_use]
    pub fn for_arrival(seed: u64, arrival: u64, stream: u64) -> Self {
        Self { state: mix(mix(mix(seed) ^ arrival).wrapping_add(stream.wrapping_mul(GOLDEN))) }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 to `bound` − 1; 0 when `bound` is 0. Its bias is below `bound` / 2⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included; `low` when `high` is lower.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low) {
            u64::MAX => self.next_u64(),
            span => low + self.below(span + 1),
        }
    }

    /// A number from 0 (included) to 1 (excluded).
    pub fn unit(&mut self) -> f64 {
        // The 53 high bits: every one of them is exact in an f64.
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True with this probability, 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index into `weights`, drawn in their proportion; 0 when they are all 0 or there are none.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut drawn = self.below(total);
        for (index, &weight) in weights.iter().enumerate() {
            match drawn.checked_sub(u64::from(weight)) {
                Some(rest) => drawn = rest,
                None => return index,
            }
        }
        0
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64: every bit of the input moves half of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_a_function_of_seed_arrival_and_stream() {
        let draw = |seed, arrival, stream| Rng::for_arrival(seed, arrival, stream).next_u64();
        assert_eq!(draw(7, 1, 0), draw(7, 1, 0));
        let draws = [draw(7, 1, 0), draw(8, 1, 0), draw(7, 2, 0), draw(7, 1, 1), draw(0, 0, 0)];
        for (index, one) in draws.iter().enumerate() {
            assert!(!draws[..index].contains(one), "two of {draws:?} are the same");
        }
    }

    #[test]
    fn the_sequence_never_changes() {
        // Plans are repeated by seed across versions: a change here is a break.
        let mut rng = Rng::for_arrival(7, 1 << 40, 3);
        assert_eq!([rng.next_u64(), rng.next_u64()], PINNED);
    }
    const PINNED: [u64; 2] = [4_652_463_532_805_859_408, 12_085_991_940_102_395_234];

    #[test]
    fn draws_are_even() {
        let mut counts = [0_u32; 10];
        for arrival in 0..100_000 {
            counts[usize::try_from(Rng::for_arrival(1, arrival, 0).below(10)).unwrap()] += 1;
        }
        for count in counts {
            assert!((9_600..10_400).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::for_arrival(1, 1, 1);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.between(5, 5), 5);
        assert_eq!(rng.between(5, 4), 5);
        for _ in 0..1000 {
            assert!((3..=4).contains(&rng.between(3, 4)));
            assert!((0.0..1.0).contains(&rng.unit()));
            rng.between(0, u64::MAX);
        }
        assert!(rng.chance(1.0));
        assert!(!rng.chance(0.0));
    }

    #[test]
    fn weights_are_proportions() {
        let mut counts = [0_u32; 3];
        for arrival in 0..40_000 {
            counts[Rng::for_arrival(2, arrival, 0).weighted(&[3, 0, 1])] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((29_400..30_600).contains(&counts[0]), "{counts:?}");
        assert_eq!(Rng::for_arrival(2, 0, 0).weighted(&[]), 0);
        assert_eq!(Rng::for_arrival(2, 0, 0).weighted(&[0, 0]), 0);
    }
}
