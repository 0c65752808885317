//! Chaos on real processes: the agent, the proxy, targets; a bus and a store in this process; the scheduler is who sends the
//! commands.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod by_hand;
mod commands;
mod deaths;
mod lab;
mod network;
mod processes;
mod scheduler_lost;
mod seeds;
mod starvation;
mod stopping;
mod target;
