//! The cluster as its users meet it: over HTTP, in this process and as processes of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod admin;
mod client;
mod copies;
mod processes;
mod protocol;
mod tools;
mod traces;
