//! The platform on real processes.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says why it is skipped"
)]

mod another;
mod clock;
mod ending;
mod identity;
mod lab;
mod looking;
mod pausing;
mod ready;
mod refusals;
mod sharing;
mod starting;
mod support;
