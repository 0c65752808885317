//! The service with real processes, a real proxy and a scripted scheduler.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
