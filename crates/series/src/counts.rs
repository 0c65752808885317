//! Two ways to keep the counts of a histogram: a list of those that are not zero, and a table of all. Which value stands at
//! which index says [`crate::hdr`].

use std::ops::Range;

use crate::hdr;

/// Bits of a count in a list; above them stands its index, which is below 2^16.
const COUNT_BITS: u32 = 48;
/// The highest count in a list, and so the highest that is written: 281 million millions, which nothing reaches.
pub(crate) const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The counts that are not zero, by ascending index.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Index and count in one number: half the memory, and of lists a thousand batches a second are made.
    counts: Vec<u64>,
    len: u64,
}

impl Listed {
    pub(crate) fn with_capacity(counts: usize) -> Self {
        Self { counts: Vec::with_capacity(counts), len: 0 }
    }

    /// Appends a count; indices ascend. `None` when it is over [`MAX_COUNT`].
    pub(crate) fn push(&mut self, index: u16, n: u64) -> Option<()> {
        if n > MAX_COUNT {
            return None;
        }
        self.counts.push(u64::from(index) << COUNT_BITS | n);
        self.len = self.len.saturating_add(n);
        Some(())
    }

    /// How many values were recorded.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Index and count of each, ascending.
    pub(crate) fn counts(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> {
        self.counts.iter().map(|&both| ((both >> COUNT_BITS) as u32, both & MAX_COUNT))
    }
}

/// All counts of a range.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    counts: Vec<u64>,
    len: u64,
    /// Outside of these all counts are zero.
    first: usize,
    end: usize,
}

impl Table {
    /// For values up to `top`: 184 KB for an hour in microseconds, 256 KB for one in nanoseconds.
    pub(crate) fn new(top: u64) -> Self {
        Self { counts: vec![0; hdr::counts_for(top) as usize], len: 0, first: usize::MAX, end: 0 }
    }

    /// Adds to a count; the index is one of a value in the range.
    pub(crate) fn add(&mut self, index: u32, n: u64) {
        let at = index as usize;
        self.counts[at] = self.counts[at].saturating_add(n);
        self.len = self.len.saturating_add(n);
        self.first = self.first.min(at);
        self.end = self.end.max(at + 1);
    }

    /// Adds all counts of a table of the same range.
    pub(crate) fn add_table(&mut self, other: &Self) {
        let used = other.used();
        for (sum, n) in self.counts[used.clone()].iter_mut().zip(&other.counts[used]) {
            *sum = sum.saturating_add(*n);
        }
        self.len = self.len.saturating_add(other.len);
        self.first = self.first.min(other.first);
        self.end = self.end.max(other.end);
    }

    /// How many values were recorded.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Index and count of each count that is not zero, ascending.
    pub(crate) fn counts(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> {
        let used = self.used();
        let counts = used.clone().zip(&self.counts[used]);
        // There are at most 33 792.
        counts.filter(|(_, n)| **n > 0).map(|(at, n)| (at as u32, *n))
    }

    /// Forgets all values.
    pub(crate) fn reset(&mut self) {
        let used = self.used();
        self.counts[used].fill(0);
        (self.len, self.first, self.end) = (0, usize::MAX, 0);
    }

    /// Where counts may be other than zero; empty without values.
    fn used(&self) -> Range<usize> {
        self.first.min(self.end)..self.end
    }
}
