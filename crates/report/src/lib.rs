//! A run's results: `summary.json`, `junit.xml` and `report.html`; and the page of a search for the knee ([`knee`]).
//!
//! Everything here is a function of the run's history, its plan and its merged series ([`RunData`]): no clock, no
//! network, no state. [`summary`] computes the figures once; the JUnit file, the HTML page and the terminal's
//! closing table are views of it, so that they cannot disagree.
#![forbid(unsafe_code)]

mod charts;
pub mod faults;
pub mod figures;
mod html;
mod junit;
pub mod knee;
pub mod lag;
mod phases;
mod run_dir;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod workers;

pub use run_dir::{WriteError, write_all};
pub use summary::Summary;

use plan::Plan;
use protocol::event::Entry;
use protocol::v1;

/// What a report is made from.
#[derive(Clone, Debug)]
pub struct RunData {
    /// The run's id, as text.
    pub run: String,
    /// The plan as run, overrides applied.
    pub plan: Plan,
    /// The whole history, in order.
    pub history: Vec<Entry>,
    /// The merged series of all phases.
    pub series: v1::RunSeries,
}
