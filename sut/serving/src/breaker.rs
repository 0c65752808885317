//! The breaker of `resilience`, shared by all requests of a process and on its clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use resilience::breaker::Settings;
use resilience::breaker::{Breaker, Counts, Outcome, Permit, Rejected, State};
use tokio::time::Instant;

/// A breaker that many ask at once.
#[derive(Debug)]
pub struct Shared {
    breaker: Mutex<Breaker>,
    settings: Settings,
    origin: Instant,
}

/// Leave for one attempt. Dropped without an outcome (it was given up, or its client has gone), it counts as cancelled.
#[derive(Debug)]
pub struct Admission<'a> {
    breaker: &'a Shared,
    permit: Option<Permit>,
}

impl Shared {
    /// A closed one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { breaker: Mutex::new(Breaker::new(settings)), settings, origin: Instant::now() }
    }

    /// Leave for an attempt now.
    ///
    /// # Errors
    /// How long until the next try makes sense, while it is open; zero while probes are in progress.
    pub fn admit(&self) -> Result<Admission<'_>, Duration> {
        match self.lock().admit(self.now()) {
            Ok(permit) => Ok(Admission { breaker: self, permit: Some(permit) }),
            Err(Rejected::Open { retry_in }) => Err(retry_in),
            Err(Rejected::Probing) => Err(Duration::ZERO),
        }
    }

    /// What it was made with.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// What it has counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// Whether it lets nothing through.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().state() == State::Open
    }

    /// 0 closed, 1 open, 2 half open, as metrics have it.
    #[must_use]
    pub fn state(&self) -> u8 {
        match self.lock().state() {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// Says what came of the attempt.
    pub fn ended(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            let now = self.breaker.now();
            self.breaker.lock().record(permit, outcome, now);
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.record(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_calls_give_their_places_back_and_are_no_failures() {
        let settings = Settings { open_for: Duration::ZERO, ..Settings::default() };
        let breaker = Shared::new(settings);
        for _ in 0..10 {
            drop(breaker.admit().unwrap());
        }
        assert_eq!(breaker.state(), 0);
        (0..5).for_each(|_| breaker.admit().unwrap().ended(Outcome::Failure));
        assert!(breaker.is_open());
        let probes: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        assert_eq!(breaker.admit().unwrap_err(), Duration::ZERO);
        drop(probes);
        (0..3).for_each(|_| breaker.admit().unwrap().ended(Outcome::Success));
        assert_eq!((breaker.state(), breaker.counts().closed), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_its_time_and_attempts_that_are_given_up_are_no_failures() {
        let breaker = Shared::new(Settings::default());
        for _ in 0..10 {
            drop(breaker.admit().unwrap());
        }
        assert_eq!(breaker.state(), 0);
        (0..5).for_each(|_| breaker.admit().unwrap().ended(Outcome::Failure));
        assert!(breaker.admit().is_err());
        tokio::time::advance(Duration::from_secs(30)).await;
        let probes: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        assert!(breaker.admit().is_err(), "three probes at a time");
        drop(probes);
        (0..3).for_each(|_| breaker.admit().unwrap().ended(Outcome::Success));
        assert_eq!((breaker.state(), breaker.counts().closed), (0, 1));
    }
}
