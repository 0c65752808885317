//! What can be chosen about the service.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::time::Instant;

/// How the service is set up.
#[derive(Debug, Default)]
pub struct Options {
    /// Is told when commands are served.
    pub ready: Option<oneshot::Sender<()>>,
    /// Where stamps come from.
    pub clock: Clock,
}

/// The wall clock that stamps are read from.
#[derive(Clone, Debug, Default)]
pub struct Clock;

impl Clock {
    pub(crate) fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { unix_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), monotonic: Instant::now() }
    }
}

/// A moment: to be told of, and to be measured from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) unix_ns: i64,
    pub(crate) monotonic: Instant,
}

impl Moment {
    /// Milliseconds from an earlier moment; 0 from a later one.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        ms(self.monotonic.saturating_duration_since(earlier.monotonic).as_nanos())
    }
}

/// Whole milliseconds of so many nanoseconds.
pub(crate) fn ms(ns: u128) -> u64 {
    u64::try_from(ns / 1_000_000).unwrap_or(u64::MAX)
}
