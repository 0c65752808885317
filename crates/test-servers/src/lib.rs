//! Real servers for tests, on free loopback ports. None outlives the test's process, however that ends.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "they are for tests, which fail by panicking")]

pub mod collector;
pub mod logged;
pub mod nats;
pub mod ports;
pub mod postgres;
pub mod tls;
