//! What a run counts, from a load thread's hot path to durable batches.
//!
//! Each load thread has two halves in the worker's spool file ([`crate::io::spool`]). It counts into the open one
//! ([`Recorder`]); when control asks for a flip, the thread opens the other at its next turn and the first is quiet.
//! Control reads the quiet halves of all threads ([`Interval`]), publishes them as batches keyed (worker, incarnation,
//! sequence), and only when these are durable clears the halves. The sequence stands in the half before anything is
//! counted in it, so a worker killed at any moment leaves a spool from which every interval can be published under
//! the key that it has or would have had ([`orphans`]): each takes effect once.
//!
//! When the record log is full, control does not ask for the next flip: the open half goes on counting, which merges
//! intervals exactly and costs the load thread nothing.

mod interval;
mod layout;
mod orphan;
mod recorder;
mod run_spool;

pub use interval::Interval;
pub use layout::{Layout, ScenarioLayout, SeriesKey};
pub use orphan::{Orphan, OrphanError, orphans};
pub use recorder::{Recorder, Timing};
pub use run_spool::{Owner, RunSpool};

#[cfg(test)]
mod tests;
