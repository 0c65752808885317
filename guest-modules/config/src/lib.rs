//! What the configurations of our guests have in common: tables that are read key by key with all problems at once,
//! durations and single values as plans write them, and texts with placeholders.
#![forbid(unsafe_code)]

mod feed;
mod headers;
mod keys;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod values;

pub use feed::feed;
pub use headers::{headers, scalars};
pub use keys::{Keys, Problems, join, whole};
pub use template::{Compiler, Escape, Feeds, Sink, Template, Values, decimal, json_escaped};
pub use values::{duration, duration_text, is_token, micros, scalar, status_text, statuses, think};
