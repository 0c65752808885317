//! How fast connections are made in the background, and when an endpoint that refused is tried again.

/// So many may be begun at once; also what a loop that was away for long may catch up with.
const BURST: u64 = 64;

/// Until more than one is allowed again it is not worth while to wake up, nanoseconds.
const NAP: u64 = 1_000_000;

/// The pause after a first failure to connect, and the longest one; each is twice as long as the one before, nanoseconds.
const FIRST_PAUSE: u64 = 250_000_000;
const LONGEST_PAUSE: u64 = 4_000_000_000;

/// Lets so many begin a second, and [`BURST`] at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectPace {
    /// Nanoseconds from one to the next.
    gap: u64,
    /// When the next would begin, were they begun evenly.
    even: u64,
}

impl ConnectPace {
    /// `rate`: a second; 0 counts as 1.
    pub(super) fn new(rate: u32) -> Self {
        Self { gap: 1_000_000_000 / u64::from(rate.max(1)), even: 0 }
    }

    /// When the next may begin; `None` = now.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        let at = self.even.saturating_sub((BURST - 1) * self.gap);
        (at > now).then(|| at.max(now + NAP))
    }

    /// One begins.
    pub(super) fn take(&mut self, now: u64) {
        self.even = self.even.max(now) + self.gap;
    }
}

/// When an endpoint to which no connection could be made is tried again in the background.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    at: u64,
    pause: u64,
}

impl Retry {
    /// Not before this; 0 = there was no failure.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// An attempt failed. Of many that were under way together the first counts.
    pub(super) fn failed(&mut self, now: u64) {
        if now >= self.at {
            self.pause = (2 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
        self.at = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many begin in a stretch, looked at each 10 ms.
    fn begun(pace: &mut ConnectPace, from: u64, to: u64) -> u64 {
        let mut count = 0;
        for now in (from..to).step_by(10_000_000) {
            while pace.next(now).is_none() {
                pace.take(now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn so_many_begin_a_second() {
        let mut pace = ConnectPace::new(5_000);
        let first = begun(&mut pace, 10 * SECOND, 11 * SECOND);
        assert!((4_990..=5_070).contains(&first), "{first}");
        let second = begun(&mut pace, 11 * SECOND, 12 * SECOND);
        assert!((4_990..=5_010).contains(&second), "{second}");
    }

    #[test]
    fn a_loop_that_was_away_does_not_catch_up() {
        let mut pace = ConnectPace::new(1_000);
        assert_eq!(begun(&mut pace, SECOND, SECOND + 1), BURST);
        assert_eq!(begun(&mut pace, 9 * SECOND, 9 * SECOND + 1), BURST);
        let next = pace.next(9 * SECOND).unwrap();
        assert_eq!((next, pace.next(next)), (9 * SECOND + NAP, None));
    }

    #[test]
    fn pauses_grow_once_for_each_round_and_have_an_end() {
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        let mut now = SECOND;
        for _ in 0..7 {
            retry.failed(now);
            retry.failed(now + 1);
            pauses.push((retry.at() - now - 1) / 1_000_000);
            now = retry.at();
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 4_000, 4_000]);
    }
}
