//! The index arithmetic of HDR histograms with 3 significant digits and a lowest value of 1, over flat arrays.
//!
//! The `hdrhistogram` crate keeps its counts in a table on the heap; a load-worker's spool needs them in a file, and what is
//! read from a message is a list without the table. The arithmetic is the crate's own (a property test compares them), so
//! that either, read back, is the same histogram.

/// Values below this have a count each: 2 048 = the power of two over 2 × 10³.
const SUB_BUCKETS: u64 = 2_048;
const SUB_BUCKET_HALF: u64 = SUB_BUCKETS / 2;
const SUB_BUCKET_HALF_MAGNITUDE: u32 = 10;
/// `63 − log2(SUB_BUCKETS)`, plus one.
const LEADING_ZERO_BASE: u32 = 64 - 11;

/// Where a value is counted.
#[inline]
#[must_use]
pub const fn index_of(value: u64) -> u32 {
    let bucket = LEADING_ZERO_BASE - (value | (SUB_BUCKETS - 1)).leading_zeros();
    // At most 2 047, and the whole index under 55 × 1 024.
    #[expect(clippy::cast_possible_truncation, reason = "the shift leaves at most 11 bits")]
    let sub = (value >> bucket) as u32;
    ((bucket + 1) << SUB_BUCKET_HALF_MAGNITUDE) + sub - SUB_BUCKET_HALF as u32
}

/// The lowest value that is counted at an index: those up to below the next index's are counted there, too.
#[must_use]
pub const fn value_at(index: u32) -> u64 {
    let bucket = index >> SUB_BUCKET_HALF_MAGNITUDE;
    let sub = index as u64 & (SUB_BUCKET_HALF - 1);
    if bucket == 0 { sub } else { (sub + SUB_BUCKET_HALF) << (bucket - 1) }
}

/// How many counts an array needs for values up to `highest`.
#[must_use]
pub const fn counts_for(highest: u64) -> u32 {
    let mut buckets = 1;
    let mut smallest_untrackable = SUB_BUCKETS;
    while smallest_untrackable <= highest {
        smallest_untrackable <<= 1;
        buckets += 1;
    }
    (buckets + 1) * SUB_BUCKET_HALF as u32
}

/// Highest latency, microseconds: 1 h (requirement R9.1).
pub const HIGHEST_US: u64 = 3_600_000_000;
/// Highest send lag, nanoseconds: 1 h.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::*;

    const COUNTS_US: u32 = counts_for(HIGHEST_US);
    const COUNTS_NS: u32 = counts_for(HIGHEST_NS);

    /// The crate shows its arithmetic through the value that a recorded one is equivalent to.
    fn lowest_equivalent(highest: u64, value: u64) -> u64 {
        Histogram::<u64>::new_with_bounds(1, highest, 3).unwrap().lowest_equivalent(value)
    }

    #[test]
    fn arrays_are_as_long_as_the_crates() {
        let us = Histogram::<u64>::new_with_bounds(1, HIGHEST_US, 3).unwrap();
        let ns = Histogram::<u64>::new_with_bounds(1, HIGHEST_NS, 3).unwrap();
        assert_eq!((COUNTS_US as usize, COUNTS_NS as usize), (us.distinct_values(), ns.distinct_values()));
        assert!(index_of(HIGHEST_US) < COUNTS_US);
        assert!(index_of(HIGHEST_NS) < COUNTS_NS);
    }

    proptest! {
        #[test]
        fn index_is_the_crates(shift in 0_u32..42, bits in any::<u64>()) {
            let value = (bits >> (63 - shift)).clamp(1, HIGHEST_NS);
            let index = index_of(value);
            prop_assert!(index < COUNTS_NS);
            prop_assert_eq!(value_at(index), lowest_equivalent(HIGHEST_NS, value));
            prop_assert_eq!(index_of(value_at(index)), index);
        }
    }
}
