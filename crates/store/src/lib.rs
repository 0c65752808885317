//! Durable state: runs, history, records and samples.
