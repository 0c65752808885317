//! The state that all questions share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serving::knobs::{Ballast, Latency};
use serving::traces::Traces;
use serving::versions::Versions;
use tokio::time::Instant;

use super::circle::Circle;
use super::member::Member;
use super::metrics::{Counters, Decision};
use super::settings::Settings;

pub(super) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// How long a connection to an expert is kept without a request.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct App {
    pub(super) admin_token: Option<String>,
    pub(super) client: HttpClient,
    pub(super) counters: Counters,
    pub(super) traces: Traces,
    max_tokens: u32,
    seed: u64,
    circle: RwLock<Arc<Circle>>,
    /// Why questions cannot be asked yet; absent = they can.
    not_ready: Mutex<Option<String>>,
    versions: Mutex<Versions<Settings>>,
    numbers: AtomicU64,
    in_progress: AtomicUsize,
    /// What the memory knob holds.
    ballast: Ballast,
}

/// A question until it is answered: dropped before, who asked has gone.
pub(super) struct Query<'a> {
    app: &'a App,
    pub(super) number: u64,
    begin: Instant,
    decision: Decision,
}

impl App {
    pub(super) fn new(
        circle: Circle,
        max_tokens: u32,
        seed: u64,
        admin_token: Option<String>,
        traces: Traces,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        let settings = circle.settings.clone();
        let app = Self {
            admin_token,
            client: client.build(connector),
            counters: Counters::default(),
            traces,
            max_tokens,
            seed,
            circle: RwLock::new(Arc::new(circle)),
            not_ready: Mutex::new(None),
            versions: Mutex::new(Versions::new(settings.clone())),
            numbers: AtomicU64::new(0),
            in_progress: AtomicUsize::new(0),
            ballast: Ballast::default(),
        };
        app.ballast.hold(settings.knobs.memory_mb * 1_000_000);
        app
    }

    pub(super) fn circle(&self) -> Arc<Circle> {
        Arc::clone(&self.circle.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn versions(&self) -> MutexGuard<'_, Versions<Settings>> {
        lock(&self.versions)
    }

    /// Replaces the settings; questions in progress keep theirs.
    ///
    /// # Errors
    /// See [`Circle::new`].
    pub(super) fn tune(&self, settings: Settings) -> Result<(), String> {
        let memory_mb = settings.knobs.memory_mb;
        self.change(|before| (before.members(), settings))?;
        self.ballast.hold(memory_mb * 1_000_000);
        Ok(())
    }

    /// Replaces the members.
    ///
    /// # Errors
    /// See [`Circle::new`].
    pub(super) fn seat(&self, members: Vec<Member>) -> Result<(), String> {
        if self.circle().members() == members {
            return Ok(());
        }
        self.change(|before| (members, before.settings.clone()))
    }

    fn change(&self, with: impl FnOnce(&Circle) -> (Vec<Member>, Settings)) -> Result<(), String> {
        // Under one lock, so that of two changes at a time neither is lost.
        let mut circle = self.circle.write().unwrap_or_else(PoisonError::into_inner);
        let (members, settings) = with(&circle);
        *circle = Arc::new(Circle::new(members, settings, self.max_tokens, Some(&circle))?);
        Ok(())
    }

    /// Why questions cannot be asked yet.
    pub(super) fn not_ready(&self) -> Option<String> {
        lock(&self.not_ready).clone()
    }

    pub(super) fn set_ready(&self, not_ready: Option<String>) {
        *lock(&self.not_ready) = not_ready;
    }

    /// Lets a question in; none when there are as many as may be.
    pub(super) fn admit(&self, questions: usize) -> Option<Query<'_>> {
        let begin = Instant::now();
        let room = |in_progress: usize| (in_progress < questions).then_some(in_progress + 1);
        if self.in_progress.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            self.counters.decided(Decision::Refused, begin.elapsed());
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Some(Query { app: self, number, begin, decision: Decision::Cancelled })
    }

    pub(super) fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Purposes of a question's draws.
const LATENCY: u64 = 0;
const FAILURE: u64 = 1;
const PAUSES: u64 = 2;

impl Query<'_> {
    /// What the latency knob makes it wait.
    pub(super) fn latency(&self, knob: Latency) -> Duration {
        knob.time(share(self.draw(LATENCY)))
    }

    /// Whether the error knob makes it fail.
    pub(super) fn fails(&self, rate: f64) -> bool {
        share(self.draw(FAILURE)) < rate
    }

    /// Of the draws of its pauses.
    pub(super) fn key(&self) -> u64 {
        self.draw(PAUSES)
    }

    /// Says what came of it.
    pub(super) fn decided(mut self, decision: Decision) {
        self.decision = decision;
    }

    fn draw(&self, purpose: u64) -> u64 {
        draws::at(draws::at(self.app.seed, self.number), purpose)
    }
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        self.app.in_progress.fetch_sub(1, Ordering::Relaxed);
        self.app.counters.decided(self.decision, self.begin.elapsed());
    }
}

/// A draw as a share from [0, 1): its upper 53 bits fill a double exactly.
fn share(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}
