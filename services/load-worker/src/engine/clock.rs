//! The thread's clock, and the timer that wakes it with less than a millisecond of delay.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::io::monotonic;

/// Nanoseconds of the monotonic clock, from a point that lies before everything a run knows of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    /// The system's reading of the same clock at the epoch; below 0, wrapped, on a host that has just started.
    base: u64,
    /// What it shows instead, where a test sets it.
    #[cfg(test)]
    by_hand: Option<&'static AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let (now, base) = (Instant::now(), monotonic::nanos());
        // A phase may have begun before this thread did.
        let before = Duration::from_secs(3600);
        let earlier = |epoch| (epoch, base.wrapping_sub(nanos(before)));
        let (epoch, base) = now.checked_sub(before).map_or((now, base), earlier);
        Self {
            epoch,
            base,
            #[cfg(test)]
            by_hand: None,
        }
    }

    /// One that is set by hand, nanoseconds from `epoch`.
    #[cfg(test)]
    pub(crate) const fn by_hand(epoch: Instant, time: &'static AtomicU64) -> Self {
        Self { epoch, base: 0, by_hand: Some(time) }
    }

    pub(crate) fn now(self) -> u64 {
        #[cfg(test)]
        if let Some(time) = self.by_hand {
            return time.load(Ordering::Relaxed);
        }
        monotonic::nanos().wrapping_sub(self.base)
    }

    pub(crate) fn at(self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.epoch))
    }
}

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A timerfd in the poller: a poll's own timeout is rounded up to milliseconds, which would be the send lag of
/// every single arrival.
#[derive(Debug)]
pub(crate) struct WakeTimer {
    fd: OwnedFd,
    /// What it is set to, so that it is not set to the same again.
    armed: u64,
}

impl WakeTimer {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, armed: 0 })
    }

    /// Wakes the poller at `at`, which lies after `now`.
    pub(crate) fn arm(&mut self, now: u64, at: u64) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let delay = Duration::from_nanos(at.saturating_sub(now).max(1));
        let value = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(delay.subsec_nanos()),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &value)?;
        self.armed = at;
        Ok(())
    }
}
