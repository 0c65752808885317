//! Reference system under test: a circle of experts, each of which speaks the API of one vendor of language models.
//!
//! What an expert answers, how long it takes and whether it fails is a function of (seed, question, expert) and of its model:
//! so a vote of experts has a right answer that is known beforehand ([`plan`]). Nothing understands the question. When each
//! piece of an answer was handed to the connection is logged ([`write_log`]) on the clock that a load generator on the same
//! machine reads, so that measured times to the first token and between tokens can be checked. [`orchestrator`] asks them all the
//! same question and counts their votes.
#![forbid(unsafe_code)]

pub mod fleet;
pub mod model;
pub mod orchestrator;
pub mod plan;
pub mod server;
pub mod shape;
pub mod write_log;

mod admin;
mod answer;
mod app;
mod clock;
mod metrics;
mod serve;

pub use model::{Circle, Model};
pub use server::{Options, Server, ServerError};
pub use serving::Running;
