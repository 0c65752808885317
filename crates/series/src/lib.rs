//! Histograms and counts: exact merging, percentiles and what thresholds read from them.
//!
//! * [`Hist`] is an HDR histogram with 3 significant digits that clamps and counts what exceeds its range; [`hdr`] is where it
//!   counts a value.
//! * [`Merged`] adds up any number of [`protocol::v1::Series`]; merging is exact: the merge of the parts is
//!   the histogram of all values, so percentiles are never averaged.
//! * [`evaluate`] reads the value of a threshold from an aggregate, [`latency_percentile`] counts lost
//!   operations as infinitely slow.
#![forbid(unsafe_code)]

mod counts;
mod evaluate;
pub mod hdr;
mod hist;
mod merged;
mod v2;

pub use evaluate::{error_share, evaluate, holds, latency_percentile, seconds};
pub use hist::{Hist, rank};
pub use merged::{CheckCounts, Counts, Merged, MergedDecodeError};
pub use v2::DecodeError;

#[cfg(test)]
mod tests;
