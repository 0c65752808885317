//! Which of a target's endpoints a request goes to.

use std::time::Duration;

use serde::Serialize;

/// How requests are divided among the endpoints of a target that has several. With one there is nothing to divide, and
/// all of this is at its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Balancing {
    /// The policy.
    pub policy: Balance,
    /// Each worker asks each endpoint whether it is healthy, and load thereafter goes to those that are. `None`: nobody
    /// asks.
    pub health_check: Option<HealthCheck>,
    /// Load keeps away for a time from an endpoint that failed it. `None`: it does not.
    pub outlier_detection: Option<OutlierDetection>,
}

/// A policy of choosing an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other, on each load thread.
    #[default]
    RoundRobin,
    /// Drawn for each request from seed, arrival and the request's number in its turn.
    Random,
    /// The one with the fewest connections (in HTTP/2: streams) in use by this load thread; of several, the next in turn.
    LeastConnections,
    /// Two are drawn as for [`Balance::Random`], and of them the one with fewer connections in use is taken.
    PowerOfTwo,
}

/// Active health checks: one endpoint after the other is asked, on a connection of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HealthCheck {
    /// Path that is asked for with GET, which has to be answered with 2xx or 3xx; `None` = it is enough that a TCP connection
    /// is accepted.
    pub path: Option<String>,
    /// From the begin of one check to the begin of the next; over 0.
    pub interval: Duration,
    /// How long one may take; over 0.
    pub timeout: Duration,
    /// So many failures in a row take an endpoint out, at least 1.
    pub unhealthy_threshold: u32,
    /// So many successes in a row bring it back, at least 1.
    pub healthy_threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
        }
    }
}

/// Outlier detection: a load thread ejects an endpoint that fails its own requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutlierDetection {
    /// So many failures in a row (no connection, reset, timeout, not HTTP, a status of 500 or more) eject, at least 1.
    pub consecutive_failures: u32,
    /// How long the first ejection lasts; the n-th one in succession lasts n times as long. Over 0.
    pub base_ejection: Duration,
    /// The share of a target's endpoints that may be ejected at a time, 0 to 1; rounded down.
    pub max_ejected: f64,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self { consecutive_failures: 5, base_ejection: Duration::from_secs(30), max_ejected: 0.5 }
    }
}
