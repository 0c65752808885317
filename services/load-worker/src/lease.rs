//! Until when a worker may send (requirement R4.6).
//!
//! A worker that is cut off from the bus cannot hear that its arrivals were given to others, so it has to know by itself
//! when that may have happened: its lease runs from a message that is known to have arrived. Whoever takes over waits for
//! longer than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A lease, written by who hears of the bus and read by load threads without a lock. Clones share it.
#[derive(Clone, Debug)]
pub struct Lease {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: Instant,
    /// Nanoseconds from `base`; `u64::MAX` = for ever.
    until: AtomicU64,
    /// Where it ended when it was last found to have ended; 0 = never.
    lapsed: AtomicU64,
}

/// What a load thread reads, nanoseconds from [`Lease::base`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Until when it may send.
    pub until: u64,
    /// When the lease last ran out before it was renewed; 0 = never.
    pub lapsed: u64,
}

impl Lease {
    /// One that never ends: for a worker in one process with its scheduler.
    #[must_use]
    pub fn for_ever() -> Self {
        Self::until(u64::MAX)
    }

    /// One that ends after `term` unless renewed.
    #[must_use]
    pub fn for_now(term: Duration) -> Self {
        Self::until(nanos(term))
    }

    fn until(until: u64) -> Self {
        let inner = Inner { base: Instant::now(), until: AtomicU64::new(until), lapsed: AtomicU64::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// The instant that [`Term`] counts from.
    #[must_use]
    pub fn base(&self) -> Instant {
        self.inner.base
    }

    /// Renews it: a message that was sent at `sent` has arrived, so it ends `term` after that. For one writer. Nothing
    /// is made good that has run out: a reader that was away meanwhile still learns of it.
    pub fn renew(&self, sent: Instant, term: Duration, now: Instant) {
        let of = |instant: Instant| nanos(instant.saturating_duration_since(self.inner.base));
        let old = self.inner.until.load(Ordering::Relaxed);
        if of(now) > old {
            self.inner.lapsed.store(old, Ordering::Release);
        }
        // A reader that sees the new end sees the lapse, too.
        self.inner.until.store(of(sent).saturating_add(nanos(term)).max(old), Ordering::Release);
    }

    /// What it is now.
    #[inline]
    #[must_use]
    pub fn term(&self) -> Term {
        let until = self.inner.until.load(Ordering::Acquire);
        Term { until, lapsed: self.inner.lapsed.load(Ordering::Acquire) }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(2);

    #[test]
    fn it_runs_from_when_the_message_was_sent() {
        let lease = Lease::for_now(TERM);
        let at = |ms: u64| lease.base() + Duration::from_millis(ms);
        lease.renew(at(500), TERM, at(700));
        assert_eq!(lease.term(), Term { until: 2_500_000_000, lapsed: 0 });
        lease.renew(at(400), TERM, at(800));
        assert_eq!(lease.term().until, 2_500_000_000, "an answer that was overtaken shortens nothing");
    }

    #[test]
    fn what_ran_out_stays_run_out_though_it_was_renewed() {
        let lease = Lease::for_now(TERM);
        let at = |ms: u64| lease.base() + Duration::from_millis(ms);
        lease.renew(at(2_400), TERM, at(2_500));
        assert_eq!(lease.term(), Term { until: 4_400_000_000, lapsed: 2_000_000_000 });
        lease.renew(at(3_000), TERM, at(3_100));
        assert_eq!(lease.term(), Term { until: 5_000_000_000, lapsed: 2_000_000_000 });
    }

    #[test]
    fn one_without_end_does_not_end() {
        assert_eq!(Lease::for_ever().term(), Term { until: u64::MAX, lapsed: 0 });
    }
}
