//! The mcp guest: users who open sessions of the Model Context Protocol, call tools, and verify what comes back.
//!
//! Its configuration is described in `README.md` and, for machines, in `config.schema.json`. Each revision of the
//! protocol has its [rules](revision::Rules), each of the three transports a dialect of its own.
#![forbid(unsafe_code)]

mod answers;
mod config;
mod dialect;
mod exchange;
mod failure;
mod generator;
mod message;
mod program;
mod result;
mod revision;
mod scenario;
mod tools;
mod turn;
mod user;

pub use scenario::Mcp;

// Its expansion holds generated code, which the lint on unsafe code must not see natively.
gauntlet_sdk::export!(Mcp);

#[cfg(test)]
mod tests;
