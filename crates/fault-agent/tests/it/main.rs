//! Real agents, guardians and hogs on real processes.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod actions;
mod checker;
mod client;
mod controller;
mod crash_matrix;
mod deaths;
mod leases;
mod leftovers;
mod refusals;
mod session;
mod wire;
