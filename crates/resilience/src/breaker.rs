//! A circuit breaker: closed it counts failures, open it refuses, half open it lets a few calls probe.
//!
//! ```text
//!            failures in a row, or their share of a window
//!   closed ─────────────────────────────────────────────▶ open
//!     ▲                                                    │ ▲
//!     │ `probes` successes                `open_for` passed │ │ one failure
//!     └──────────────────── half open ◀─────────────────────┘ │
//!                               └─────────────────────────────┘
//! ```
//!
//! Each arrow begins a new *generation*, and a call's outcome counts only in the generation that admitted it: what was sent to
//! a callee before it broke says nothing of it now.

mod window;

use core::time::Duration;

use window::Window;

/// When a breaker opens and how it closes. The default opens at 5 failures in a row, for 30 s, with 3 probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it; 0 = it does not open by them.
    pub failures: u32,
    /// The share of failures that opens it; absent = it does not open by a share.
    pub rate: Option<Rate>,
    /// How long it stays open before it lets probes through.
    pub open_for: Duration,
    /// Half open, the calls in progress at most and the successes that close it; 0 is taken as 1.
    pub probes: u32,
}

/// A share of failures, over calls that ended of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Failures in a hundred calls, from which on it opens.
    pub percent: u32,
    /// How far back calls count. It moves on by tenths: a call counts for nine tenths of it at least, for all of it at most.
    pub window: Duration,
    /// Calls in the window below which the share says nothing.
    pub minimum_calls: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, rate: None, open_for: Duration::from_secs(30), probes: 3 }
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The callee did what it is for.
    Success,
    /// The callee failed.
    Failure,
    /// It says nothing about the callee: the caller gave it up, or was itself at fault, or was told to come later.
    Cancelled,
}

/// What a breaker does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It admits every call.
    Closed,
    /// It refuses every call. Also after its time has passed, until the next call is admitted.
    Open,
    /// It admits probes.
    HalfOpen,
}

/// Why a call was not admitted. It was not made, and is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The breaker is open.
    #[error("the circuit breaker is open for {retry_in:?} more")]
    Open {
        /// How long it stays so.
        retry_in: Duration,
    },
    /// The breaker is half open, and as many probes as it admits are in progress or have succeeded.
    #[error("the circuit breaker is half open and its probes are in progress")]
    Probing,
}

/// Leave for one call. Whoever has it says by [`Breaker::record`] what came of it, also when the call was given up: a probe
/// that nobody tells of holds its place for good.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the outcome of the call has to be recorded"]
pub struct Permit {
    generation: u64,
}

/// What a breaker did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times it opened, from closed or half open.
    pub opened: u64,
    /// Times it closed again.
    pub closed: u64,
    /// Calls not admitted.
    pub rejected: u64,
    /// Outcomes that came too late to count: of calls that an earlier generation admitted.
    pub late: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    state: Inner,
    generation: u64,
    window: Window,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen { in_progress: u32, successes: u32 },
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { probes: settings.probes.max(1), ..settings };
        let window = Window::new(settings.rate.map_or(Duration::ZERO, |rate| rate.window));
        Self {
            settings,
            state: Inner::Closed { failures: 0 },
            generation: 0,
            window,
            counts: Counts::default(),
        }
    }

    /// Asks to make a call now.
    ///
    /// # Errors
    /// When it is not to be made; such a call is no failure, and needs no outcome.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, Rejected> {
        if let Inner::Open { until } = self.state {
            if now < until {
                self.counts.rejected += 1;
                return Err(Rejected::Open { retry_in: until - now });
            }
            self.enter(Inner::HalfOpen { in_progress: 0, successes: 0 });
        }
        if let Inner::HalfOpen { in_progress, successes } = &mut self.state {
            // With those that have succeeded, so that no more probes are made than are needed.
            if *in_progress + *successes >= self.settings.probes {
                self.counts.rejected += 1;
                return Err(Rejected::Probing);
            }
            *in_progress += 1;
        }
        Ok(Permit { generation: self.generation })
    }

    /// Takes the outcome of a call that this breaker admitted.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is for one call and is spent by its outcome")]
    pub fn record(&mut self, permit: Permit, outcome: Outcome, now: Duration) {
        if permit.generation != self.generation {
            self.counts.late += 1;
            return;
        }
        match self.state {
            Inner::Closed { failures } => self.record_closed(failures, outcome, now),
            Inner::HalfOpen { in_progress, successes } => {
                let in_progress = in_progress.saturating_sub(1);
                match outcome {
                    Outcome::Failure => self.open(now),
                    Outcome::Success if successes + 1 >= self.settings.probes => {
                        self.counts.closed += 1;
                        self.window.clear();
                        self.enter(Inner::Closed { failures: 0 });
                    }
                    Outcome::Success => {
                        self.state = Inner::HalfOpen { in_progress, successes: successes + 1 };
                    }
                    Outcome::Cancelled => self.state = Inner::HalfOpen { in_progress, successes },
                }
            }
            // An open breaker has admitted nothing: the permit is another breaker's.
            Inner::Open { .. } => self.counts.late += 1,
        }
    }

    /// What it does at present.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state {
            Inner::Closed { .. } => State::Closed,
            Inner::Open { .. } => State::Open,
            Inner::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What it did since it was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn record_closed(&mut self, failures: u32, outcome: Outcome, now: Duration) {
        let failures = match outcome {
            Outcome::Cancelled => return,
            Outcome::Success => 0,
            Outcome::Failure => failures.saturating_add(1),
        };
        self.state = Inner::Closed { failures };
        let in_a_row = self.settings.failures > 0 && failures >= self.settings.failures;
        let by_share = self.settings.rate.is_some_and(|rate| {
            let (calls, failed) = self.window.add(now, outcome == Outcome::Failure);
            calls >= u64::from(rate.minimum_calls) && failed * 100 >= calls * u64::from(rate.percent)
        });
        // A success opens nothing, also where it is the call that makes the share one of enough calls.
        if outcome == Outcome::Failure && (in_a_row || by_share) {
            self.open(now);
        }
    }

    fn open(&mut self, now: Duration) {
        self.counts.opened += 1;
        self.enter(Inner::Open { until: now.saturating_add(self.settings.open_for) });
    }

    fn enter(&mut self, state: Inner) {
        self.generation += 1;
        self.state = state;
    }
}

#[cfg(test)]
mod tests;
