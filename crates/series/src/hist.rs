//! One histogram.

use std::fmt;

use protocol::v1;

use crate::counts::{Listed, Table};
use crate::hdr::{HIGHEST_NS, HIGHEST_US, index_of, value_at};
use crate::v2::{self, DecodeError};

/// Percentiles are read to this many parts of a percent.
const PERCENT_PARTS: u128 = 1_000_000;

/// An HDR histogram: 3 significant digits, values from 0 to 1 h, larger ones recorded as 1 h and counted.
///
/// The first value that is recorded or added allocates a table (184 KB for microseconds, 256 KB for nanoseconds). One read
/// from a message has none: it lists the values that occur (8 bytes each) until something is added to it, so that reading
/// and adding it takes time by what it holds and not by what it could.
#[derive(Clone)]
pub struct Hist {
    top: u64,
    clamped: u64,
    counts: Counts,
}

#[derive(Clone)]
enum Counts {
    None,
    Listed(Listed),
    Table(Table),
}

/// The 1-based rank of percentile `q` among `n` values: `ceil(q / 100 × n)`, at least 1, at most `n`.
///
/// `q` is read to a millionth of a percent and the rest is integer arithmetic, so that 99.9 % of 1 000 is
/// rank 999 and not, by a rounding error, 1 000. Below 0 and NaN count as 0, above 100 as 100.
#[must_use]
pub fn rank(q: f64, n: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100 million")]
    let parts = (q.clamp(0.0, 100.0) * PERCENT_PARTS as f64).round() as u128;
    let rank = (parts * u128::from(n)).div_ceil(100 * PERCENT_PARTS);
    u64::try_from(rank).unwrap_or(u64::MAX).clamp(1, n.max(1))
}

impl Hist {
    /// For microseconds: 1 µs to 1 h. Also for values times 1 000 (`Observation`).
    #[must_use]
    pub const fn micros() -> Self {
        Self { top: HIGHEST_US, clamped: 0, counts: Counts::None }
    }

    /// For nanoseconds: 1 ns to 1 h.
    #[must_use]
    pub const fn nanos() -> Self {
        Self { top: HIGHEST_NS, clamped: 0, counts: Counts::None }
    }

    /// Records one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value `n` times. Above 1 h it is recorded as 1 h and counted in [`Self::clamped`].
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        if value > self.top {
            self.clamped = self.clamped.saturating_add(n);
        }
        let index = index_of(value.min(self.top));
        self.table().add(index, n);
    }

    /// Adds all values of another histogram: exact, whatever the order of additions. Values of a histogram
    /// of the other range (nanoseconds into microseconds) are taken as numbers.
    pub fn add(&mut self, other: &Self) {
        self.clamped = self.clamped.saturating_add(other.clamped);
        if self.top != other.top {
            other.counts().for_each(|(index, n)| self.record_n(value_at(index), n));
            return;
        }
        match &other.counts {
            // Without values it makes no table here.
            _ if other.is_empty() => {}
            Counts::None => {}
            Counts::Listed(listed) => {
                let table = self.table();
                listed.counts().for_each(|(index, n)| table.add(index, n));
            }
            Counts::Table(source) => self.table().add_table(source),
        }
    }

    /// Takes the place of all of `other`'s values in an empty histogram without a copy, else adds them.
    pub fn absorb(&mut self, other: Self) {
        if matches!(self.counts, Counts::None) && self.top == other.top && self.clamped == 0 {
            *self = other;
        } else {
            self.add(&other);
        }
    }

    /// Percentile `q` (0 to 100): the smallest recorded value with at least `ceil(q / 100 × n)` values at or
    /// below it, as the highest value that the histogram does not tell apart from it (within 0.1 %, exact
    /// below 2 048). `None` without values.
    #[must_use]
    pub fn percentile(&self, q: f64) -> Option<u64> {
        self.at_rank(rank(q, self.len()))
    }

    /// The value at a 1-based rank among the sorted values; `None` for rank 0 or beyond the last.
    #[must_use]
    pub fn at_rank(&self, rank: u64) -> Option<u64> {
        (1..=self.len()).contains(&rank).then(|| self.at_ranks([rank])[0])
    }

    /// Several percentiles in one pass over the counts; `qs` must ascend. Zeros without values.
    #[must_use]
    pub fn percentiles(&self, qs: &[f64]) -> Vec<u64> {
        self.at_ranks(qs.iter().map(|&q| rank(q, self.len())))
    }

    /// The values at ascending ranks; 0 without values.
    fn at_ranks(&self, ranks: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut counts = self.counts();
        let (mut value, mut below) = (0, 0_u64);
        let mut at = |rank| {
            while below < rank
                && let Some((index, n)) = counts.next()
            {
                value = highest(index).min(self.top);
                below = below.saturating_add(n);
            }
            value
        };
        ranks.into_iter().map(&mut at).collect()
    }

    /// How many values are at most each of `bounds` (ascending), within the histogram's resolution and in one pass: what
    /// cumulative buckets show.
    #[must_use]
    pub fn cumulative(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len()];
        let (mut at, mut below) = (0, 0_u64);
        for (index, n) in self.counts() {
            while at < bounds.len() && bounds[at] < value_at(index) {
                counts[at] = below;
                at += 1;
            }
            below = below.saturating_add(n);
        }
        counts[at..].fill(below);
        counts
    }

    /// The largest value; `None` without values.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.counts().next_back().map(|(index, _)| highest(index).min(self.top))
    }

    /// The smallest value; `None` without values.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.counts().next().map(|(index, _)| value_at(index))
    }

    /// The mean, within 0.1 %; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let len = self.len() as f64;
        let middle = |index| value_at(index).midpoint(value_at(index + 1)) as f64;
        (len > 0.0).then(|| self.counts().map(|(index, n)| middle(index) * n as f64).sum::<f64>() / len)
    }

    /// How many values were recorded.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.counts {
            Counts::None => 0,
            Counts::Listed(listed) => listed.len(),
            Counts::Table(table) => table.len(),
        }
    }

    /// No value was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the values were above 1 h.
    #[must_use]
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Forgets all values and keeps the table, for the next interval.
    pub fn reset(&mut self) {
        self.clamped = 0;
        match &mut self.counts {
            Counts::Table(table) => table.reset(),
            other => *other = Counts::None,
        }
    }

    /// As a message: V2 with DEFLATE, 0.1 to 2 KB; no bytes without values.
    #[must_use]
    pub fn encode(&self) -> v1::Histogram {
        let v2_deflate = if self.is_empty() { Vec::new() } else { v2::encode(self.top, self.counts()) };
        v1::Histogram { v2_deflate, clamped: self.clamped }
    }

    /// Reads a message; the range is in its bytes. No bytes give an empty histogram of microseconds.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are damaged or of another range or precision.
    pub fn decode(message: &v1::Histogram) -> Result<Self, DecodeError> {
        if message.v2_deflate.is_empty() {
            return Ok(Self { clamped: message.clamped, ..Self::micros() });
        }
        let (listed, top) = v2::decode(&message.v2_deflate)?;
        let counts = if listed.len() > 0 { Counts::Listed(listed) } else { Counts::None };
        Ok(Self { top, clamped: message.clamped, counts })
    }

    /// Index ([`crate::hdr`]) and count of each count that is not zero, ascending.
    fn counts(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> {
        let (listed, table) = match &self.counts {
            Counts::None => (None, None),
            Counts::Listed(listed) => (Some(listed.counts()), None),
            Counts::Table(table) => (None, Some(table.counts())),
        };
        listed.into_iter().flatten().chain(table.into_iter().flatten())
    }

    /// A table of all values, made now if there is none.
    fn table(&mut self) -> &mut Table {
        if !matches!(self.counts, Counts::Table(_)) {
            let mut table = Table::new(self.top);
            self.counts().for_each(|(index, n)| table.add(index, n));
            self.counts = Counts::Table(table);
        }
        match &mut self.counts {
            Counts::Table(table) => table,
            _ => unreachable!("it was just made"),
        }
    }
}

/// The highest value that is counted at an index.
const fn highest(index: u32) -> u64 {
    value_at(index + 1) - 1
}

impl PartialEq for Hist {
    fn eq(&self, other: &Self) -> bool {
        self.clamped == other.clamped
            && (self.top == other.top || self.is_empty())
            && self.counts().eq(other.counts())
    }
}

impl fmt::Debug for Hist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hist")
            .field("len", &self.len())
            .field("clamped", &self.clamped)
            .field("min", &self.min())
            .field("p50", &self.percentile(50.0))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}
