//! The plan: its model, presets, validation, printing and JSON Schema.
//!
//! [`parse`] turns TOML into a [`Plan`] in which every default is filled in, or says all that is wrong with it.
//! [`Plan::to_toml`] is its inverse. [`Plan::scaled`] gives the phases as they run.
#![forbid(unsafe_code)]

mod bundle;
pub mod chaos;
mod defaults;
pub mod model;
mod overrides;
mod parse;
pub mod presets;
mod print;
mod problem;
mod proxy;
mod reader;
mod scale;
mod schema;
mod spec;
mod template;
pub mod threshold;
mod tree;
pub mod units;

pub use bundle::{BundleFile, is_for_tls};
pub use model::Plan;
pub use overrides::Overrides;
pub use parse::{load, parse, parse_fault, parse_with};
pub use problem::{Problem, Problems};
pub use proxy::Proxy;
pub use schema::schema;
pub use template::init_template;

#[cfg(test)]
mod tests;
