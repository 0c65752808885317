//! The state that all requests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serving::knobs::Ballast;
use serving::traces::Traces;
use serving::versions::Versions;

use crate::clock;
use crate::metrics::Counters;
use crate::model::Circle;
use crate::write_log::{Line, What, WriteLog};

pub(crate) struct App {
    pub(crate) api_key: Option<String>,
    pub(crate) admin_token: Option<String>,
    pub(crate) log: Option<WriteLog>,
    pub(crate) traces: Traces,
    pub(crate) experts: Vec<Expert>,
    circle: RwLock<Arc<Circle>>,
    versions: Mutex<Versions<Circle>>,
    /// What the memory knob holds.
    ballast: Ballast,
    numbers: AtomicU64,
}

/// What an expert remembers.
#[derive(Default)]
pub(crate) struct Expert {
    pub(crate) counters: Counters,
    /// A second of the clock, and the requests in it.
    second: Mutex<(u64, u32)>,
}

/// One request, for the log.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) expert: u32,
    pub(crate) arrival: Option<u64>,
}

impl App {
    pub(crate) fn new(
        experts: u32,
        circle: Circle,
        api_key: Option<String>,
        admin_token: Option<String>,
        log: Option<WriteLog>,
        traces: Traces,
    ) -> Self {
        let app = Self {
            api_key,
            admin_token,
            log,
            traces,
            experts: (0..experts).map(|_| Expert::default()).collect(),
            circle: RwLock::default(),
            versions: Mutex::new(Versions::new(circle.clone())),
            ballast: Ballast::default(),
            numbers: AtomicU64::new(0),
        };
        app.set_circle(circle);
        app
    }

    /// How many experts there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.experts.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn circle(&self) -> Arc<Circle> {
        Arc::clone(&self.circle.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn versions(&self) -> MutexGuard<'_, Versions<Circle>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the circle; requests in progress keep theirs.
    pub(crate) fn set_circle(&self, circle: Circle) {
        self.ballast.hold(circle.memory_mb * 1_000_000);
        *self.circle.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(circle);
    }

    pub(crate) fn request(&self, expert: u32, arrival: Option<u64>) -> Request {
        Request { number: self.numbers.fetch_add(1, Ordering::Relaxed), expert, arrival }
    }

    /// Logs that something of this request's answer is handed to the connection now.
    pub(crate) fn note(&self, request: Request, what: What) {
        if let Some(log) = &self.log {
            let Request { number, expert, arrival } = request;
            log.write(&Line { mono_ns: clock::monotonic_ns(), request: number, expert, arrival, what });
        }
    }
}

impl Expert {
    /// Whether one more request in this second is within a limit; 0 = any number.
    pub(crate) fn is_within(&self, per_second: u32) -> bool {
        let now = clock::monotonic_ns() / 1_000_000_000;
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.0 != now {
            *second = (now, 0);
        }
        second.1 = second.1.saturating_add(1);
        per_second == 0 || second.1 <= per_second
    }
}
