//! One part of an interval, with its histograms read.

use protocol::v1;
use series::{Hist, Merged};
use store::RecordKey;

use super::row::SECOND_NS;

/// What a series is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) scenario: u32,
    pub(crate) step: u32,
    pub(crate) target: u32,
}

impl SeriesKey {
    pub(crate) const fn of(series: &v1::Series) -> Self {
        Self { scenario: series.scenario, step: series.step, target: series.target }
    }
}

/// A batch that can be added without error.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) key: RecordKey,
    pub(crate) batch: v1::SampleBatch,
    /// In the order of `batch.series`.
    pub(crate) sums: Vec<Merged>,
    /// Send lags in the order of `batch.threads`.
    pub(crate) lags: Vec<Hist>,
}

impl Decoded {
    /// Reads all histograms of a batch.
    ///
    /// # Errors
    /// What cannot be read, for the list of gaps.
    pub(crate) fn new(key: RecordKey, batch: v1::SampleBatch) -> Result<Self, String> {
        let sums = batch.series.iter().map(Merged::from_proto).collect::<Result<_, _>>();
        let sums = sums.map_err(|error| chain(&error))?;
        let lags =
            batch.threads.iter().map(|thread| lag(thread.send_lag.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { key, batch, sums, lags })
    }

    /// Whether it speaks for the whole interval: what is not in a series stands in the first part alone.
    pub(crate) const fn is_head(&self) -> bool {
        self.batch.part == 0
    }

    /// The row of the phase that it belongs to: the second in which the middle of its first second lies, for
    /// the ends of intervals tremble by what the threads were late.
    pub(crate) fn row(&self) -> u64 {
        row_of(&self.batch)
    }

    /// End of the interval.
    pub(crate) const fn end_ns(&self) -> u64 {
        self.batch.start_offset_ns.saturating_add(self.batch.interval_ns)
    }
}

/// See [`Decoded::row`].
pub(crate) fn row_of(batch: &v1::SampleBatch) -> u64 {
    let half = batch.interval_ns.min(SECOND_NS) / 2;
    batch.start_offset_ns.saturating_add(half) / SECOND_NS
}

/// The send lag of a thread or of several, in nanoseconds.
pub(crate) fn lag(histogram: Option<&v1::Histogram>) -> Result<Hist, String> {
    match histogram.filter(|histogram| !histogram.v2_deflate.is_empty()) {
        Some(histogram) => Hist::decode(histogram).map_err(|error| format!("send lag: {error}")),
        None => Ok(Hist::nanos()),
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
