//! Sending spans to a collector: OTLP, protobuf over HTTP, from a thread of its own.
//!
//! The queue is bounded: while the collector is away or slow, spans are lost and counted, and nobody waits. A trace is kept
//! or not where it begins, by [`Ratio`]; whoever takes part in it later follows that. What is worth a span is the affair of
//! those who make them: Gauntlet's services (`service::traces`) and the systems under test (`serving::traces`).
#![forbid(unsafe_code)]

mod exporter;
mod settings;

pub use exporter::{Counts, Exporter, NotStarted};
pub use settings::{CollectorUrl, Options, Ratio};
