//! The counts of a histogram as a list: what a message holds, without a table around it.

use crate::hdr;
use crate::hist::{DIGITS, DecodeError};

/// Head of the V2 format without compression, as all `HdrHistogram` libraries write it.
const COOKIE: u32 = 0x1c84_9313;
/// Bytes before the counts: cookie, length of the counts, normalizing offset, digits (4 each), lowest and highest value,
/// ratio of integers to doubles (8 each).
const HEAD: usize = 40;

/// Bits of a count; above them stands the index in the histogram's table, which is below 2^16.
const COUNT_BITS: u32 = 48;

/// The counts of a histogram of 3 digits that are not zero, by ascending index ([`hdr`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Index and count in one number: half the memory, and for a thousand batches a second that is what they cost.
    counts: Vec<u64>,
    len: u64,
}

impl Listed {
    /// Reads the V2 format, and the highest value that it was made for.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are damaged or of another range or precision.
    pub(crate) fn decode(plain: &[u8]) -> Result<(Self, u64), DecodeError> {
        let format = |what: &str| DecodeError::Format(what.to_owned());
        let Some((head, counts)) = plain.split_first_chunk::<HEAD>() else {
            return Err(format("shorter than its head"));
        };
        let [cookie, length, offset, digits] = [0, 4, 8, 12].map(|at| number::<4>(head, at));
        let [low, high, ratio] = [16, 24, 32].map(|at| number::<8>(head, at));
        if cookie != u64::from(COOKIE) {
            return Err(format("another cookie than that of V2"));
        }
        if length != counts.len() as u64 {
            return Err(format("counts not as long as their head says"));
        }
        if offset != 0 || ratio != 1.0_f64.to_bits() {
            return Err(format("shifted or scaled"));
        }
        if digits != u64::from(DIGITS) || low != 1 || ![hdr::HIGHEST_US, hdr::HIGHEST_NS].contains(&high) {
            return Err(DecodeError::Range { low, high, digits });
        }
        // A value takes two bytes at least: its count, and the zeros before it unless it is next to another.
        let mut listed = Self { counts: Vec::with_capacity(counts.len() / 2), len: 0 };
        let (mut rest, mut index, end) = (counts, 0_u64, u64::from(hdr::counts_for(high)));
        while !rest.is_empty() {
            let number = varint(&mut rest).ok_or_else(|| format("the last count is cut"))?;
            // Zig-zag: odd numbers are negative and say how many counts of zero are skipped.
            let (half, skips) = (number >> 1, number & 1 == 1);
            if skips {
                index = index.saturating_add(half.saturating_add(1));
                continue;
            }
            if half > 0 {
                if index >= end {
                    return Err(format("more counts than the range has"));
                }
                if half >> COUNT_BITS > 0 {
                    return Err(format("a count of over 2^48"));
                }
                listed.counts.push(index << COUNT_BITS | half);
                listed.len = listed.len.saturating_add(half);
            }
            index = index.saturating_add(1);
        }
        Ok((listed, high))
    }

    /// How many values were recorded.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Index and count of each count that is not zero, ascending.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.iter().map(|&both| ((both >> COUNT_BITS) as u32, both & ((1 << COUNT_BITS) - 1)))
    }

    /// The index of the value at a 1-based rank among all; `None` for 0 or beyond the last.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<u32> {
        if rank == 0 {
            return None;
        }
        let mut below = 0_u64;
        self.counts().find_map(|(index, n)| {
            below = below.saturating_add(n);
            (below >= rank).then_some(index)
        })
    }
}

/// A big-endian number of `N` bytes.
fn number<const N: usize>(head: &[u8; HEAD], at: usize) -> u64 {
    head[at..at + N].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Takes a number of 7 bits a byte off the front, the lowest first; a ninth byte has 8. `None` when it is cut.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..56).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    Some(number | u64::from(*bytes.split_off_first()?) << 56)
}
