//! The state that all requests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::breaker::Breaker;
use crate::clock;
use crate::items::Items;
use crate::knobs::Knobs;
use crate::metrics::Counters;

/// Knobs and when they were set.
pub(crate) struct Tuning {
    pub(crate) knobs: Knobs,
    set_ns: u64,
}

pub(crate) struct App {
    pub(crate) items: Items,
    pub(crate) breaker: Breaker,
    pub(crate) counters: Counters,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) admin_token: Option<String>,
    pub(crate) started_unix_ns: u64,
    tuning: RwLock<Arc<Tuning>>,
    numbers: AtomicU64,
}

/// Why a request got no answer from the backend.
pub(crate) enum BackendError {
    /// The error knob.
    Failed,
    /// The breaker is open, for so long.
    Refused(Duration),
}

impl App {
    pub(crate) fn new(
        items: Items,
        breaker: Breaker,
        access_log: Option<AccessLog>,
        admin_token: Option<String>,
        knobs: Knobs,
    ) -> Self {
        Self {
            items,
            breaker,
            counters: Counters::default(),
            access_log,
            admin_token,
            started_unix_ns: clock::unix_ns(),
            tuning: RwLock::new(Arc::new(Tuning { knobs, set_ns: clock::monotonic_ns() })),
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn tuning(&self) -> Arc<Tuning> {
        Arc::clone(&self.tuning.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces all knobs; a stall's time counts from now.
    pub(crate) fn tune(&self, knobs: Knobs) {
        let tuning = Arc::new(Tuning { knobs, set_ns: clock::monotonic_ns() });
        *self.tuning.write().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    /// One call of the simulated backend: through the breaker, with latency, CPU cost and errors as tuned.
    pub(crate) async fn backend(&self) -> Result<(), BackendError> {
        let permit = self.breaker.admit(clock::monotonic_ns()).map_err(BackendError::Refused)?;
        let tuning = self.tuning();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let time = tuning.knobs.backend_time(number);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        burn(tuning.knobs.cpu_burn_us);
        let ok = !tuning.knobs.fails(number);
        permit.done(ok, clock::monotonic_ns());
        if ok { Ok(()) } else { Err(BackendError::Failed) }
    }

    /// The further cost of an item that was not in the cache.
    pub(crate) async fn miss(&self) {
        let milliseconds = self.tuning().knobs.miss_ms;
        if milliseconds > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(milliseconds / 1e3)).await;
        }
    }

    /// Holds an answer back while a stall lasts.
    pub(crate) async fn stall(&self) {
        // Knobs may change meanwhile: a new stall holds the answer on, a withdrawn one lets it go at its old end.
        while let Some(wait) = self.tuning().stalled_for(clock::monotonic_ns()) {
            tokio::time::sleep(wait).await;
        }
    }
}

impl Tuning {
    /// Time until the end of the stall, if there is one now.
    fn stalled_for(&self, now_ns: u64) -> Option<Duration> {
        let stall = self.knobs.stall?;
        let begin = self.set_ns.saturating_add(stall.after_ms.saturating_mul(1_000_000));
        let end = begin.saturating_add(stall.for_ms.saturating_mul(1_000_000));
        (begin <= now_ns && now_ns < end).then(|| Duration::from_nanos(end - now_ns))
    }
}

/// Computes for so many microseconds.
fn burn(microseconds: u64) {
    if microseconds == 0 {
        return;
    }
    let end = clock::monotonic_ns() + microseconds * 1_000;
    while clock::monotonic_ns() < end {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::Stall;

    #[test]
    fn a_stall_holds_inside_its_window_only() {
        let stall = Some(Stall { after_ms: 10, for_ms: 5 });
        let tuning = Tuning { knobs: Knobs { stall, ..Knobs::default() }, set_ns: 1_000_000 };
        assert_eq!(tuning.stalled_for(10_999_999), None);
        assert_eq!(tuning.stalled_for(11_000_000), Some(Duration::from_millis(5)));
        assert_eq!(tuning.stalled_for(15_999_999), Some(Duration::from_nanos(1)));
        assert_eq!(tuning.stalled_for(16_000_000), None);
    }
}
