//! What is known of runs: sums, seconds, gaps. Pure: no bus, no store, no clock.

mod aggregate;
mod batch;
mod lags;
mod phase;
mod progress;
mod row;
mod run;
mod sum;

pub(crate) use aggregate::Filter;
pub(crate) use batch::{Decoded, SeriesKey, row_of};
pub(crate) use phase::Phase;
pub(crate) use row::SECOND_NS;
pub(crate) use run::{Answer, Run};

#[cfg(test)]
mod tests;
