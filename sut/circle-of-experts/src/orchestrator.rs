//! The orchestrator: asks every expert of a circle the same question and counts their answers as votes.
//!
//! Any number of replicas may run: one keeps nothing that another one needs. What they decide is a function of the answers
//! ([`consensus`]); what stands between an orchestrator and its experts is `resilience`: attempts with backoff and a budget, a
//! breaker and a bulkhead for each expert, each replica's own.

pub mod member;
pub mod settings;

mod app;
mod call;
mod circle;
mod expert;
mod metrics;
mod query;
mod routes;
mod server;

pub use member::{Kind, Member};
pub use server::{Error, Options, Orchestrator};
pub use settings::Settings;
