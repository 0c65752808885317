//! What the systems under test share: who may turn their knobs, versions of those, a shared breaker, traces, how a process announces its port and hears
//! that it shall stop, and a run on a thread of its own for tests.
#![forbid(unsafe_code)]

pub mod admin;
pub mod breaker;
pub mod knobs;
pub mod process;
pub mod traces;
pub mod versions;

mod running;

pub use running::{Running, Target};
