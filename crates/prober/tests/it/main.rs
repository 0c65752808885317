//! What probes see of real servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod tls;
