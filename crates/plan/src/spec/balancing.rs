//! Keys of a target with several endpoints.

use super::Kind::{Duration, Integer, Share, Text};
use super::{Key, MANY, key};

/// What `balance` of a target may be; in the order of [`crate::parse`]'s policies.
pub(crate) const BALANCES: &[&str] = &["round-robin", "random", "least-connections", "power-of-two"];

pub(crate) const HEALTH_CHECK: &[Key] = &[
    key(
        "path",
        Text,
        "Path that is asked for with GET (HTTP/1.1) and has to be answered with 2xx or 3xx. Default: a TCP connection is enough.",
    ),
    key("interval", Duration, "From one check to the next, real time. Default 10s."),
    key("timeout", Duration, "How long a check may take. Default 5s."),
    key("unhealthy-threshold", Integer(1, MANY), "Failures in a row that take an endpoint out. Default 3."),
    key("healthy-threshold", Integer(1, MANY), "Successes in a row that bring it back. Default 2."),
];

pub(crate) const OUTLIER_DETECTION: &[Key] = &[
    key(
        "consecutive-failures",
        Integer(1, MANY),
        "Failures in a row on a load thread (no connection, reset, timeout, not HTTP, 5xx) that eject. Default 5.",
    ),
    key(
        "base-ejection",
        Duration,
        "Length of the first ejection, real time; the n-th in succession lasts n times as long. Default 30s.",
    ),
    key(
        "max-ejected",
        Share,
        "Share of the endpoints that may be ejected at a time, rounded down. Default 50%.",
    ),
];
