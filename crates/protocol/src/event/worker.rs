//! What the history says of load-workers.

use serde::{Deserialize, Serialize};

/// A life of a load-worker, from a preparation to its end: its samples are recorded under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Its incarnation's id.
    pub incarnation: String,
    /// Load threads.
    pub load_threads: u32,
    /// Its weight against other workers, where its settings say one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Rounds a second of one load thread in its calibration, where it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_speed: Option<f64>,
}

/// A load-worker's part of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadShare {
    /// Its id.
    pub worker: String,
    /// What it counts against the others: 1 = one load thread of the slowest that measured.
    pub weight: f64,
    /// Of `of` arrivals that follow each other so many are its own.
    pub stripes: u32,
    /// Into how many parts the load is divided.
    pub of: u32,
}

/// A worker's clock against the scheduler's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// By how much it is ahead, nanoseconds; negative = behind.
    pub ahead_ns: i64,
    /// By how much that may be wrong, either way, nanoseconds.
    pub error_ns: u64,
}
