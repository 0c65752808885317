//! How long to wait before trying again: exponential, with jitter, so that many who failed together do not come back together.

use core::time::Duration;

/// How a wait is drawn below its ceiling, which is `base` doubled with each retry, and `cap` at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Evenly from nothing to the ceiling.
    Full,
    /// Half of the ceiling, and evenly up to as much again.
    Equal,
    /// Evenly from `base` to three times the wait before (at first `base`), and `cap` at most: it has no ceiling of its own.
    Decorrelated,
}

/// When and how often to try again. The default is 3 retries with full jitter, from 500 ms up to 8 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Ceiling of the first wait.
    pub base: Duration,
    /// Ceiling of all waits.
    pub cap: Duration,
    /// How waits are drawn.
    pub jitter: Jitter,
    /// Retries after the first attempt: one fewer than attempts.
    pub retries: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
            jitter: Jitter::Full,
            retries: 3,
        }
    }
}

/// The waits of one operation.
#[derive(Clone, Debug)]
pub struct Backoff {
    settings: Settings,
    retried: u32,
    previous: Duration,
}

impl Backoff {
    /// Before the first retry.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, retried: 0, previous: settings.base }
    }

    /// How long to wait before the next retry; nothing = there is none.
    ///
    /// `retry_after` is what the callee asked for. It is a floor, and the drawn wait comes on top: all that were told the same
    /// would else come at the same instant. It may exceed `cap`; whether so long a wait is worth it is the caller's decision,
    /// who knows what time is left.
    #[must_use]
    pub fn next(&mut self, retry_after: Option<Duration>, draw: u64) -> Option<Duration> {
        if self.retried >= self.settings.retries {
            return None;
        }
        let Settings { base, cap, jitter, .. } = self.settings;
        let doubled = 1_u32.checked_shl(self.retried).and_then(|times| base.checked_mul(times));
        let ceiling = doubled.unwrap_or(cap).min(cap);
        let wait = match jitter {
            Jitter::Full => between(Duration::ZERO, ceiling, draw),
            Jitter::Equal => between(ceiling / 2, ceiling, draw),
            Jitter::Decorrelated => between(base, self.previous.saturating_mul(3), draw).min(cap),
        };
        self.retried += 1;
        self.previous = wait;
        Some(wait.saturating_add(retry_after.unwrap_or_default()))
    }

    /// Retries so far.
    #[must_use]
    pub fn retried(&self) -> u32 {
        self.retried
    }
}

/// Evenly from one wait to another, in nanoseconds; the lower one if they are the wrong way round.
fn between(least: Duration, most: Duration, draw: u64) -> Duration {
    // 584 years: a longer spread is cut there.
    let spread = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
    least.saturating_add(Duration::from_nanos(draws::up_to(spread, draw)))
}

#[cfg(test)]
mod tests;
