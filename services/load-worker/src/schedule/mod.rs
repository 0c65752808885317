//! When arrival k comes and whose it is: pure functions of (seed, phase, k) and the wanted rate (requirement R9.5).
//!
//! Arrivals live in unit-rate space: arrival k stands at position n(k), where positions have a mean distance of 1
//! (`positions`). The rate over time is a list of linear pieces (`profile`); its integral Λ(t) says how many
//! arrivals the rate has asked for until t, and arrival k comes when Λ(t) = n(k). A change of the rate replaces the
//! pieces from its offset on; positions never change, so nothing is lost or sent twice.
//!
//! Every thread knows the whole sequence and yields only its own part ([`Share`]). Nothing here depends on batches,
//! threads, workers or wall time.

mod draw;
mod positions;
mod profile;
mod share;
mod timeline;

pub use draw::{Stream, draw, unit};
pub use share::Share;
pub use timeline::{Arrival, Timeline};

#[cfg(test)]
mod tests;
