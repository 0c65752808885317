//! The target as its users meet it: over HTTP, in this process and as one of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod database;
mod process;
mod service;
mod traces;
