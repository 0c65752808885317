//! The http guest: weighted steps, feeders, checks, extraction, think time and cookies.
//!
//! Its configuration is described in `README.md` and, for machines, in `config.schema.json`. All of it is compiled
//! when a run is prepared: a request is then a walk over segments that copies bytes.
#![forbid(unsafe_code)]

mod config;
mod cookies;
mod extract;
mod json_path;
mod program;
mod scenario;

pub use scenario::Http;

// Its expansion holds generated code, which the lint on unsafe code must not see natively.
gauntlet_sdk::export!(Http);

#[cfg(test)]
mod tests;
