//! The state that all requests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use resilience::breaker::Outcome;
use serving::knobs::{Ballast, burn};
use serving::traces::Traces;
use serving::versions::Versions;

use crate::access_log::AccessLog;
use crate::breaker;
use crate::clock;
use crate::database;
use crate::knobs::Knobs;
use crate::metrics::Counters;
use crate::store::Store;

/// Knobs and when they were set.
pub(crate) struct Tuning {
    pub(crate) knobs: Knobs,
    set_ns: u64,
}

pub(crate) struct App {
    pub(crate) store: Store,
    /// Of the simulated backend.
    pub(crate) breaker: breaker::Shared,
    pub(crate) counters: Counters,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) admin_token: Option<String>,
    pub(crate) traces: Traces,
    pub(crate) started_unix_ns: u64,
    tuning: RwLock<Arc<Tuning>>,
    versions: Mutex<Versions<Knobs>>,
    /// What the memory knob holds.
    ballast: Ballast,
    numbers: AtomicU64,
}

/// Why a request got no answer from the backend.
pub(crate) enum BackendError {
    /// The error knob.
    Failed,
    /// The breaker is open, for so long.
    Refused(Duration),
    /// What the database did.
    Database(database::Error),
}

impl From<database::Error> for BackendError {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::Open(wait) => Self::Refused(wait),
            error => Self::Database(error),
        }
    }
}

impl App {
    pub(crate) fn new(
        store: Store,
        breaker: breaker::Settings,
        access_log: Option<AccessLog>,
        admin_token: Option<String>,
        knobs: Knobs,
        traces: Traces,
    ) -> Self {
        let app = Self {
            store,
            breaker: breaker::Shared::new(breaker),
            counters: Counters::default(),
            access_log,
            admin_token,
            traces,
            started_unix_ns: clock::unix_ns(),
            versions: Mutex::new(Versions::new(knobs.clone())),
            ballast: Ballast::default(),
            tuning: RwLock::new(Arc::new(Tuning { knobs: Knobs::default(), set_ns: clock::monotonic_ns() })),
            numbers: AtomicU64::new(0),
        };
        app.tune(knobs);
        app
    }

    pub(crate) fn tuning(&self) -> Arc<Tuning> {
        Arc::clone(&self.tuning.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces all knobs; a stall's time counts from now.
    pub(crate) fn tune(&self, knobs: Knobs) {
        self.ballast.hold(knobs.memory_mib << 20);
        let tuning = Arc::new(Tuning { knobs, set_ns: clock::monotonic_ns() });
        *self.tuning.write().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    pub(crate) fn versions(&self) -> MutexGuard<'_, Versions<Knobs>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the simulated backend: through the breaker, with latency, CPU cost and errors as tuned.
    pub(crate) async fn backend(&self) -> Result<(), BackendError> {
        let call = self.breaker.admit().map_err(BackendError::Refused)?;
        let tuning = self.tuning();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let time = tuning.knobs.backend_time(number);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        burn(tuning.knobs.cpu_burn_us);
        let ok = !tuning.knobs.fails(number);
        call.ended(if ok { Outcome::Success } else { Outcome::Failure });
        if ok { Ok(()) } else { Err(BackendError::Failed) }
    }

    /// The further cost of an item that was not in the cache.
    pub(crate) async fn miss(&self) {
        let milliseconds = self.tuning().knobs.miss_ms;
        if milliseconds > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(milliseconds / 1e3)).await;
        }
    }

    /// What each query takes more, on the database's server.
    pub(crate) fn query_delay(&self) -> Duration {
        Duration::from_secs_f64(self.tuning().knobs.query_ms / 1e3)
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
        self.knobs.stall?.remaining(self.set_ns, now_ns)
    }
}
