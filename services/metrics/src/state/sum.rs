//! A sum that gives back its tables when nothing is added any more.

use protocol::v1;
use series::Merged;

use super::batch::SeriesKey;

/// The whole-phase sum of one series: in memory while the phase runs (up to 1 MB), as a message of a few
/// kilobytes afterwards.
#[derive(Debug)]
pub(crate) enum Sum {
    Open(Box<Merged>),
    Closed(Box<v1::Series>),
}

impl Default for Sum {
    fn default() -> Self {
        Self::Open(Box::default())
    }
}

impl Sum {
    /// Adds; opens the sum again if needed.
    pub(crate) fn add(&mut self, part: &Merged) {
        if let Self::Closed(series) = self {
            // We encoded it ourselves.
            *self = Self::Open(Box::new(Merged::from_proto(series).unwrap_or_default()));
        }
        if let Self::Open(sum) = self {
            sum.add(part);
        }
    }

    /// Gives the tables back.
    pub(crate) fn close(&mut self, key: SeriesKey) {
        if let Self::Open(sum) = self {
            *self = Self::Closed(Box::new(sum.to_proto(key.scenario, key.step, key.target)));
        }
    }

    /// Adds this sum to another.
    pub(crate) fn add_to(&self, total: &mut Merged) {
        match self {
            Self::Open(sum) => total.add(sum),
            Self::Closed(series) => _ = total.add_proto(series),
        }
    }

    /// As a message.
    pub(crate) fn to_proto(&self, key: SeriesKey) -> v1::Series {
        match self {
            Self::Open(sum) => sum.to_proto(key.scenario, key.step, key.target),
            Self::Closed(series) => series.as_ref().clone(),
        }
    }

    /// Arrivals dropped for it.
    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Self::Open(sum) => sum.counts.dropped,
            Self::Closed(series) => series.dropped,
        }
    }
}
