//! The wall clock, injected: the system's, or one that follows tokio's (which tests pause and advance).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where wall-clock stamps come from. Deadlines and lengths are always measured on tokio's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    anchor: Option<(i64, Instant)>,
}

impl Clock {
    /// The system's wall clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { anchor: None }
    }

    /// A clock that reads `unix_ns` now and from then on moves as tokio's clock does.
    #[must_use]
    pub fn anchored(unix_ns: i64) -> Self {
        Self { anchor: Some((unix_ns, Instant::now())) }
    }

    /// Unix nanoseconds.
    #[must_use]
    pub fn unix_ns(&self) -> i64 {
        match self.anchor {
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, signed_ns),
            Some((unix_ns, since)) => unix_ns.saturating_add(signed_ns(since.elapsed())),
        }
    }
}

/// A length in nanoseconds as stamps count them; 292 years at most.
pub(crate) fn signed_ns(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

/// A length in nanoseconds as messages count them; 584 years at most.
pub(crate) fn ns(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// A length in whole milliseconds.
pub(crate) fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
