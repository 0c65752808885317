//! Catching up with the schedule after the load thread was away, without a burst.
//!
//! A thread whose turn comes late (the host gave its core to others, a guest's call took long, the phase was begun after
//! its t0) finds arrivals overdue. All of them at once would be a burst that nobody asked for, and what the target
//! makes of it would be the generator's doing. So of more than 20 ms of the schedule the first 20 ms are taken, and the
//! schedule runs on from there at twice its pace until it has reached the clock: the target sees at most twice the rate that
//! was planned for that stretch, in the planned order and shape. Arrivals keep their intended times, so what they are held back
//! for counts as latency and as send lag. Until they are taken they are neither scheduled nor waiting, as everything that is
//! still to come.
//!
//! An arrival that found no user or connection free was taken in its time and waits for the target; that is another matter, and
//! it begins as soon as something is free.
//!
//! A thread that is away again, and is further behind than ever since it began to catch up, goes on one times faster: at a fixed
//! pace one that is away for more than half of the time would never arrive, though it might well have sent everything.

/// So much of the schedule is taken in one turn at most, nanoseconds: turns of a busy host are some milliseconds apart, and
/// within that nobody is held back.
const AT_ONCE: u64 = 20_000_000;

/// The pace of catching up, in multiples of the schedule's own.
const PACE: u64 = 2;

/// How far the schedule may be taken. Times are the thread's clock's, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CatchUp {
    /// In multiples of the schedule's own; 0 = there is nothing to catch up with.
    pace: u64,
    /// Up to here the schedule could be taken …
    reached: u64,
    /// … at this time.
    since: u64,
    /// How late the latest arrival was that was found since catching up began.
    latest: u64,
}

impl CatchUp {
    /// Up to which time of the schedule arrivals may be taken; `oldest` is the intended time of the next one.
    #[inline]
    pub(super) fn until(&mut self, oldest: u64, now: u64) -> u64 {
        if self.pace == 0 && now <= oldest.saturating_add(AT_ONCE) { now } else { self.held(oldest, now) }
    }

    #[cold]
    fn held(&mut self, oldest: u64, now: u64) -> u64 {
        let late = now.saturating_sub(oldest);
        let paced = if self.pace == 0 {
            *self = Self { pace: PACE, latest: late, ..*self };
            now
        } else {
            self.reached.saturating_add(self.pace.saturating_mul(now.saturating_sub(self.since)))
        };
        if late > self.latest {
            self.latest = late;
            self.pace = self.pace.saturating_add(1);
        }
        let most = oldest.saturating_add(self.pace.saturating_mul(AT_ONCE / PACE));
        self.reached = paced.min(most).min(now);
        self.since = now;
        if self.reached == now {
            self.pace = 0;
        }
        self.reached
    }

    /// When an arrival with this intended time may be taken.
    #[inline]
    pub(super) fn due(&self, intended: u64) -> u64 {
        if self.pace == 0 {
            return intended;
        }
        let paced = self.since.saturating_add(intended.saturating_sub(self.reached).div_ceil(self.pace));
        paced.max(intended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Arrivals `gap` apart until `end`: when each was taken. `turn` says when the thread has its next turn, from now and from
    /// when the next arrival is due.
    fn taken(gap: u64, end: u64, mut turn: impl FnMut(u64, u64) -> u64) -> Vec<u64> {
        let (mut catch_up, mut now, mut stamps) = (CatchUp::default(), 0, Vec::new());
        let intended = |n: usize| n as u64 * gap;
        while intended(stamps.len()) < end {
            let until = catch_up.until(intended(stamps.len()), now);
            assert!(until <= now);
            while intended(stamps.len()) <= until {
                stamps.push(now);
            }
            let next = turn(now, catch_up.due(intended(stamps.len())));
            assert!(next > now, "{next} is not after {now}");
            now = next;
        }
        stamps
    }

    /// The most arrivals that were taken within a stretch.
    fn most_within(stamps: &[u64], stretch: u64) -> u64 {
        let within = |(n, from): (usize, &u64)| stamps[n..].partition_point(|at| *at < from + stretch);
        stamps.iter().enumerate().map(within).max().unwrap() as u64
    }

    /// A turn when something is due, or after 10 ms; none between `from` and `to`.
    fn away(from: u64, to: u64) -> impl FnMut(u64, u64) -> u64 {
        move |now, due| {
            let next = due.clamp(now + MS / 10, now + 10 * MS);
            if (from..to).contains(&next) { to } else { next }
        }
    }

    #[test]
    fn a_turn_that_is_late_by_no_more_than_20_ms_takes_all() {
        let stamps = taken(MS, 1_000 * MS, |now, _| now + 20 * MS);
        let late = |(n, at): (usize, &u64)| at - n as u64 * MS;
        assert!(stamps.iter().enumerate().map(late).max().unwrap() < 20 * MS);
    }

    #[test]
    fn what_is_overdue_by_more_is_taken_at_twice_its_pace() {
        let stamps = taken(MS, 2_000 * MS, away(500 * MS, 900 * MS));
        assert_eq!(stamps.iter().filter(|at| **at == 900 * MS).count(), 21, "at once");
        for stretch in [10, 50, 200] {
            assert!(most_within(&stamps, stretch * MS) <= 2 * stretch + 21, "{stretch} ms");
        }
        // 400 ms behind, 20 ms taken at once: 380 ms later it is on time.
        assert_eq!((stamps[1_270], stamps[1_280], stamps[1_281]), (1_275 * MS, 1_280 * MS, 1_281 * MS));
        assert!(stamps.is_sorted());
    }

    #[test]
    fn rare_arrivals_keep_half_their_distance() {
        let stamps = taken(100 * MS, 3_000 * MS, away(950 * MS, 1_650 * MS));
        // The first two stand nearer to each other: 20 ms between them are taken at once.
        let expected = [900, 1_650, 1_690, 1_740, 1_790, 1_840, 1_890, 1_940];
        assert_eq!(stamps[9..17].iter().map(|at| at / MS).collect::<Vec<_>>(), expected);
        assert!((23..30).all(|n| stamps[n] / MS == n as u64 * 100));
    }

    #[test]
    fn a_second_absence_is_no_burst_either() {
        let mut second = away(1_000 * MS, 1_300 * MS);
        let mut first = away(500 * MS, 900 * MS);
        let stamps =
            taken(MS, 3_000 * MS, |now, due| if now < 900 * MS { first(now, due) } else { second(now, due) });
        // Further behind than before: three times the pace, and half as much again at once.
        assert!(most_within(&stamps, 50 * MS) <= 3 * 50 + 31);
        assert!(most_within(&stamps, 50 * MS) > 2 * 50 + 21);
        assert_eq!(stamps[2_500], 2_500 * MS);
    }

    #[test]
    fn who_is_away_most_of_the_time_keeps_the_rate() {
        for (away, here) in [(70, 30), (90, 10), (30, 0), (60, 0)] {
            let (away, here, mut left) = (away * MS, here * MS, here * MS);
            let stamps = taken(MS, 10_000 * MS, |now, _| {
                if left < MS {
                    left = here;
                    return now + away;
                }
                left -= MS;
                now + MS
            });
            let late = stamps.iter().enumerate().map(|(n, at)| at - n as u64 * MS).max().unwrap();
            assert!(late < 5 * (away + here), "away {away}, here {here}: late by {late}");
        }
    }

    #[test]
    fn a_share_that_begins_long_after_the_phase_is_on_time() {
        let mut catch_up = CatchUp::default();
        assert_eq!(catch_up.until(600_000 * MS, 300_000 * MS), 300_000 * MS);
        assert_eq!(catch_up.due(600_000 * MS), 600_000 * MS);
        // Catching up with the last arrival before a long pause ends with that pause.
        assert_eq!(catch_up.until(1_000 * MS, 1_500 * MS), 1_020 * MS);
        assert_eq!(catch_up.until(90_000 * MS, 90_005 * MS), 90_005 * MS);
        assert_eq!(catch_up.due(90_006 * MS), 90_006 * MS);
    }
}
