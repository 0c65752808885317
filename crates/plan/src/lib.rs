//! The plan: its model, presets, validation, printing and JSON Schema.
#![forbid(unsafe_code)]

pub mod model;
pub mod threshold;

pub use model::Plan;
