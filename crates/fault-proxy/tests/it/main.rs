//! The program as a process of its own, on real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod client;
mod cost;
mod drain;
mod draws;
mod driven;
mod failover;
mod http;
mod lease;
mod many;
mod process;
mod program;
mod timing;
mod toxics;
mod upstream;
