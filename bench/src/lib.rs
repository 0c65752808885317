//! What `cargo xtask bench` measures with. In the library, the two ends of the scale for load generators (`bench load`):
//!
//! * [`server`]: a target that is never the bottleneck: one thread, a fixed answer, nothing logged.
//! * [`closed`]: the raw limit of a generator on this machine: it writes one fixed request and reads one answer per
//!   connection, looks at nothing and measures nothing but its own cost.
//! * [`paced`]: the same on an absolute schedule: how late a loop that does nothing else sends.
//!
//! Beside them two programs that run parts of Gauntlet by themselves: `load-thread` (`bench hot-path`, `bench threads`) and
//! `guest-cost` (`bench guest`).
#![forbid(unsafe_code)]

pub mod closed;
pub mod connections;
pub mod paced;
pub mod resources;
pub mod server;

#[cfg(test)]
mod tests;
