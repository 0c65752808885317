//! Reference system under test: an HTTP service with knobs for latency, errors and stalls.
//!
//! It answers item requests from a cache in front of a store, in memory, in PostgreSQL with replicas or in SQLite, behind a
//! simulated backend with a circuit breaker. It counts and, if asked, logs every request with the clock that a load generator on the same
//! machine reads, so that measured numbers can be checked against what the target itself saw. Requests whose
//! `User-Agent` starts with `gauntlet-probe/` are served, but counted apart and never logged.
#![forbid(unsafe_code)]

pub mod access_log;
pub use serving::breaker;
pub mod check;
pub mod clock;
pub mod database;
pub mod knobs;
pub mod server;

mod admin;
mod app;
mod cache;
mod items;
mod metrics;
mod observe;
mod routes;
mod store;

pub use knobs::Knobs;
pub use resilience;
pub use server::{Options, Running, Server, ServerError};
