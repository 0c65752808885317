//! What systems under test run on, and how to act on it.
//!
//! * [`Platform`] is the seam: instances are started, stopped, killed, paused and looked at through it, whatever they are.
//! * [`processes`] is the driver for processes of this machine. What it knows is in files: another process that opens the
//!   same directory goes on with the same instances.
//! * [`identity`] knows a process beyond its pid, so that no signal reaches a stranger.
//! * [`freeze`] stops a family of processes as a whole.
//! * [`usage`] reads CPU time and memory of processes and of the machine.
//! * [`limits`] reads and raises the limit on open files.
//! * [`proc_fs`] reads what the kernel tells of processes.
#![forbid(unsafe_code)]

mod driver;
mod error;
pub mod freeze;
pub mod identity;
mod instance;
pub mod limits;
pub mod proc_fs;
pub mod processes;
mod ready;
pub mod usage;

pub use driver::{Event, EventKind, EventSource, Platform};
pub use error::PlatformError;
pub use instance::{Asked, Clock, Instance, InstanceId, InstanceState, Started, Stopped};

/// What our own probes call themselves, so that targets and reports can tell them from load.
pub const PROBE_USER_AGENT: &str = concat!("gauntlet-probe/", env!("CARGO_PKG_VERSION"));
