//! Real servers for tests, on free loopback ports. None outlives the test's process, however that ends.
#![forbid(unsafe_code)]

pub mod nats;
pub mod ports;
pub mod postgres;
