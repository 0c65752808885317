//! Circuit breaker in front of the simulated backend (defaults of requirement R7.6).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When the breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it; 0 = never.
    pub failures: u32,
    /// How long it stays open before it lets probes through.
    pub open_for: Duration,
    /// Successes in a row, half open, that close it; also how many probes are in progress at most.
    pub probes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30), probes: 3 }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until_ns: u64 },
    HalfOpen { in_progress: u32, successes: u32 },
}

/// Opens after failures in a row, closes after successful probes. The caller gives the time.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: Mutex<State>,
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

/// Leave to make one call. Dropped without a result (the client has gone), it gives the probe's place back.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
    reported: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: Mutex::new(State::Closed { failures: 0 }),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Leave for a call, or how long until the next try makes sense.
    ///
    /// # Errors
    /// The remaining time while it is open; zero while enough probes are in progress.
    pub fn admit(&self, now_ns: u64) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        let refused = match *state {
            State::Closed { .. } => return Ok(Permit { breaker: self, probe: false, reported: false }),
            State::Open { until_ns } if now_ns < until_ns => Duration::from_nanos(until_ns - now_ns),
            State::Open { .. } => {
                *state = State::HalfOpen { in_progress: 1, successes: 0 };
                return Ok(Permit { breaker: self, probe: true, reported: false });
            }
            State::HalfOpen { in_progress, successes } if in_progress + successes < self.settings.probes => {
                *state = State::HalfOpen { in_progress: in_progress + 1, successes };
                return Ok(Permit { breaker: self, probe: true, reported: false });
            }
            State::HalfOpen { .. } => Duration::ZERO,
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How often it has closed again.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Calls refused while it was open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// 0 closed, 1 open, 2 half open.
    pub fn state(&self) -> u8 {
        match *self.lock() {
            State::Closed { .. } => 0,
            State::Open { .. } => 1,
            State::HalfOpen { .. } => 2,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, probe: bool, ok: bool, now_ns: u64) {
        if self.settings.failures == 0 {
            return;
        }
        let mut state = self.lock();
        let open = State::Open { until_ns: now_ns.saturating_add(nanos(self.settings.open_for)) };
        match *state {
            State::Closed { failures } if !probe => {
                let failures = if ok { 0 } else { failures + 1 };
                *state = if failures < self.settings.failures {
                    State::Closed { failures }
                } else {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    open
                };
            }
            State::HalfOpen { in_progress, successes } if probe => {
                *state = if !ok {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    open
                } else if successes + 1 >= self.settings.probes {
                    self.closed.fetch_add(1, Ordering::Relaxed);
                    State::Closed { failures: 0 }
                } else {
                    State::HalfOpen { in_progress: in_progress.saturating_sub(1), successes: successes + 1 }
                };
            }
            // The answer of a call from before the last change of state says nothing about this one.
            _ => {}
        }
    }
}

impl Permit<'_> {
    /// Reports how the call went.
    pub fn done(mut self, ok: bool, now_ns: u64) {
        self.reported = true;
        self.breaker.report(self.probe, ok, now_ns);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.reported || !self.probe {
            return;
        }
        let mut state = self.breaker.lock();
        if let State::HalfOpen { in_progress, successes } = *state {
            *state = State::HalfOpen { in_progress: in_progress.saturating_sub(1), successes };
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
