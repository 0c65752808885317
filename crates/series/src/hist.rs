//! One histogram.

use std::fmt;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use protocol::v1;

/// Significant decimal digits: a value is kept within 0.1 % of itself, and exactly below 2 048.
const DIGITS: u8 = 3;
/// 1 h in microseconds.
const TOP_MICROS: u64 = 3_600_000_000;
/// 1 h in nanoseconds.
const TOP_NANOS: u64 = 3_600_000_000_000;
/// Head of the V2 format with DEFLATE, as all `HdrHistogram` libraries write it.
const COMPRESSED_COOKIE: u32 = 0x1c84_9314;
/// Bytes before the counts in the V2 format.
const PLAIN_HEAD: usize = 40;
/// No histogram of ours is larger before compression: 33 792 counts of at most 9 bytes.
const MAX_PLAIN: u64 = 320 << 10;
/// Percentiles are read to this many parts of a percent.
const PERCENT_PARTS: u128 = 1_000_000;

/// An HDR histogram: 3 significant digits, values from 0 to 1 h, larger ones recorded as 1 h and counted.
///
/// The table (184 KB for microseconds, 256 KB for nanoseconds) is allocated by the first value.
#[derive(Clone)]
pub struct Hist {
    top: u64,
    clamped: u64,
    table: Option<Box<Histogram<u64>>>,
}

/// Bytes that are no histogram of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the V2 format of the `HdrHistogram` libraries, or damaged.
    #[error("not a V2 histogram: {0}")]
    Format(String),
    /// A histogram of another range or precision.
    #[error(
        "histogram over 1 to {high} with {digits} digits: expected 1 to {TOP_MICROS} or 1 to {TOP_NANOS} with {DIGITS}"
    )]
    Range {
        /// Upper end found.
        high: u64,
        /// Significant digits found.
        digits: u8,
    },
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
        Self { top: TOP_MICROS, clamped: 0, table: None }
    }

    /// For nanoseconds: 1 ns to 1 h.
    #[must_use]
    pub const fn nanos() -> Self {
        Self { top: TOP_NANOS, clamped: 0, table: None }
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
        let value = value.min(self.top);
        if let Some(table) = self.table() {
            table.saturating_record_n(value, n);
        }
    }

    /// Adds all values of another histogram: exact, whatever the order of additions. Values of a histogram
    /// of the other range (nanoseconds into microseconds) are taken as numbers.
    pub fn add(&mut self, other: &Self) {
        self.clamped = self.clamped.saturating_add(other.clamped);
        let Some(source) = other.recorded() else { return };
        if self.top == other.top
            && let Some(table) = self.table()
            // Equal ranges always fit: the error of `add` is about larger values only.
            && table.add(source).is_ok()
        {
            return;
        }
        for value in source.iter_recorded() {
            self.record_n(value.value_iterated_to(), value.count_at_value());
        }
    }

    /// Takes the place of all of `other`'s values in an empty histogram without a copy, else adds them.
    pub fn absorb(&mut self, other: Self) {
        if self.table.is_none() && self.top == other.top && self.clamped == 0 {
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
        let table = self.table.as_ref()?;
        if rank == 0 || rank > table.len() {
            return None;
        }
        Some(table.value_at_quantile(quantile_of(rank, table.len())).min(self.top))
    }

    /// Several percentiles in one pass over the table; `qs` must ascend. Zeros without values.
    #[must_use]
    pub fn percentiles(&self, qs: &[f64]) -> Vec<u64> {
        let Some(table) = &self.table else { return vec![0; qs.len()] };
        let n = table.len();
        table
            .value_at_quantiles(qs.iter().map(|&q| quantile_of(rank(q, n), n)))
            .map(|value| value.min(self.top))
            .collect()
    }

    /// How many values are at most `value`, within the histogram's resolution.
    #[must_use]
    pub fn count_at_most(&self, value: u64) -> u64 {
        self.table.as_ref().map_or(0, |table| table.count_between(0, value))
    }

    /// How many values are at most each of `bounds` (ascending), in one pass: what cumulative buckets show.
    #[must_use]
    pub fn cumulative(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len()];
        let Some(table) = &self.table else { return counts };
        let (mut at, mut below) = (0, 0_u64);
        for value in table.iter_recorded() {
            while at < bounds.len() && bounds[at] < table.lowest_equivalent(value.value_iterated_to()) {
                counts[at] = below;
                at += 1;
            }
            below += value.count_at_value();
        }
        counts[at..].fill(below);
        counts
    }

    /// The largest value; `None` without values.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.recorded().map(|table| table.max().min(self.top))
    }

    /// The smallest value; `None` without values.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.recorded().map(Histogram::min)
    }

    /// The mean, within 0.1 %; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.recorded().map(Histogram::mean)
    }

    /// How many values were recorded.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.table.as_ref().map_or(0, |table| table.len())
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
        if let Some(table) = &mut self.table {
            table.reset();
        }
    }

    /// As a message: V2 with DEFLATE, 0.1 to 2 KB; no bytes without values.
    #[must_use]
    pub fn encode(&self) -> v1::Histogram {
        let mut message = v1::Histogram { v2_deflate: Vec::new(), clamped: self.clamped };
        if let Some(table) = self.recorded() {
            // Writing to memory fails only for tables beyond the address space, and ours are under 300 KB.
            let _ = V2DeflateSerializer::new().serialize(table, &mut message.v2_deflate);
        }
        message
    }

    /// Reads a message; the range is in its bytes. No bytes give an empty histogram of microseconds.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are damaged or of another range or precision.
    pub fn decode(message: &v1::Histogram) -> Result<Self, DecodeError> {
        if message.v2_deflate.is_empty() {
            return Ok(Self { clamped: message.clamped, ..Self::micros() });
        }
        let plain = inflate(&message.v2_deflate)?;
        let table: Histogram<u64> = Deserializer::new()
            .deserialize(&mut plain.as_slice())
            .map_err(|error| DecodeError::Format(error.to_string()))?;
        let (high, digits) = (table.high(), table.sigfig());
        if digits != DIGITS || table.low() != 1 || ![TOP_MICROS, TOP_NANOS].contains(&high) {
            return Err(DecodeError::Range { high, digits });
        }
        let table = (!table.is_empty()).then(|| Box::new(table));
        Ok(Self { top: high, clamped: message.clamped, table })
    }

    /// The table, if it holds a value.
    fn recorded(&self) -> Option<&Histogram<u64>> {
        self.table.as_deref().filter(|table| !table.is_empty())
    }

    fn table(&mut self) -> Option<&mut Histogram<u64>> {
        if self.table.is_none() {
            // The bounds are constants of this file and valid.
            self.table = Histogram::new_with_bounds(1, self.top, DIGITS).ok().map(Box::new);
        }
        self.table.as_deref_mut()
    }
}

/// The V2 bytes in a V2 + DEFLATE envelope. The library would take a damaged length or checksum for granted
/// and allocate up to 4 GiB for it; here both are verified first.
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let format = |what: &str| DecodeError::Format(what.to_owned());
    let [c0, c1, c2, c3, l0, l1, l2, l3, body @ ..] = bytes else {
        return Err(format("shorter than its head"));
    };
    if u32::from_be_bytes([*c0, *c1, *c2, *c3]) != COMPRESSED_COOKIE {
        return Err(format("another cookie than that of V2 with DEFLATE"));
    }
    if u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize != body.len() {
        return Err(format("not as long as its head says"));
    }
    let mut plain = Vec::new();
    let mut decoder = ZlibDecoder::new(body).take(MAX_PLAIN + 1);
    decoder.read_to_end(&mut plain).map_err(|error| DecodeError::Format(error.to_string()))?;
    if plain.len() as u64 > MAX_PLAIN {
        return Err(format("larger than any histogram of ours"));
    }
    // Cookie, then the length of the counts, which follow a head of 40 bytes.
    let counts = plain.get(4..8).and_then(|length| <[u8; 4]>::try_from(length).ok()).map(u32::from_be_bytes);
    if counts.map(|counts| counts as usize + PLAIN_HEAD) != Some(plain.len()) {
        return Err(format("counts not as long as their head says"));
    }
    Ok(plain)
}

/// The middle between two ranks as a share of `n`: the library rounds `share × n` up, and half a rank is far
/// more than the error of the multiplication (for fewer than 2^50 values).
fn quantile_of(rank: u64, n: u64) -> f64 {
    (rank as f64 - 0.5) / n as f64
}

impl PartialEq for Hist {
    fn eq(&self, other: &Self) -> bool {
        if self.is_empty() && other.is_empty() {
            return self.clamped == other.clamped;
        }
        self.top == other.top && self.clamped == other.clamped && self.table == other.table
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
