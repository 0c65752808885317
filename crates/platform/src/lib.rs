//! Drivers that start, stop and observe the systems under test: here, processes of this machine.
//!
//! * [`identity`] knows a process beyond its pid, so that no signal reaches a stranger.
//! * [`process`] starts a process of the plan, waits until it is ready, and ends it with all that it started.
//! * [`usage`] reads CPU time and memory of processes and of the machine.
//! * [`limits`] reads and raises the limit on open files.
//! * [`proc_fs`] reads what the kernel tells of processes.
#![forbid(unsafe_code)]

pub mod identity;
pub mod limits;
pub mod proc_fs;
pub mod process;
mod ready;
pub mod usage;

/// What our own probes call themselves, so that targets and reports can tell them from load.
pub const PROBE_USER_AGENT: &str = concat!("gauntlet-probe/", env!("CARGO_PKG_VERSION"));
