//! The expert guest: language models over four APIs, streamed or not, alone or in a circle that votes.
//!
//! Its configuration is described in `README.md` and, for machines, in `config.schema.json`.
#![forbid(unsafe_code)]

mod call;
mod circle;
mod config;
mod history;
mod program;
mod prompt;
mod scenario;
mod single;

pub use scenario::Experts;

// Its expansion holds generated code, which the lint on unsafe code must not see natively.
gauntlet_sdk::export!(Experts);

#[cfg(test)]
mod tests;
