//! What can be chosen about the service.

use bus::SchedulerClock;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How the service is set up.
#[derive(Debug, Default)]
pub struct Options {
    /// How the scheduler's clock is known here: stamps are its.
    pub clock: SchedulerClock,
    /// Is told when commands are served.
    pub ready: Option<oneshot::Sender<()>>,
}

/// A moment: to be told of, by the scheduler's clock, and to be measured from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) unix_ns: i64,
    pub(crate) monotonic: Instant,
}

impl Moment {
    /// Now.
    pub(crate) fn now(clock: &SchedulerClock) -> Self {
        Self { unix_ns: clock.scheduler_unix_ns(), monotonic: Instant::now() }
    }

    /// Milliseconds from an earlier moment; 0 from a later one.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        ms(self.monotonic.saturating_duration_since(earlier.monotonic).as_nanos())
    }
}

/// Whole milliseconds of so many nanoseconds.
pub(crate) fn ms(ns: u128) -> u64 {
    u64::try_from(ns / 1_000_000).unwrap_or(u64::MAX)
}
