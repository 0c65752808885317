//! What time it is for the scheduler (requirement R9.6): its clock against this host's, and instants of its clock on ours.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::v1;
use service::Shutdown;

use crate::{Address, Bus};

/// Questions of which the one with the shortest way is believed.
const PINGS: u32 = 8;
/// How long an answer may take to be of use.
const ANSWER: Duration = Duration::from_secs(1);

/// The scheduler's clock minus this host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Nanoseconds to add to this host's wall clock.
    pub ns: i64,
    /// By how much that may be wrong: half of the shortest way there and back.
    pub error_ns: u64,
}

/// This host's wall clock and what is known of the scheduler's. Clones share it. The default shows this host's time and has
/// measured nothing.
#[derive(Clone, Debug, Default)]
pub struct SchedulerClock {
    shift_ns: i64,
    offset: Arc<Mutex<Option<Offset>>>,
}

impl SchedulerClock {
    /// A clock that shows `shift_ns` too much: what a wrong clock does is tried with it.
    #[must_use]
    pub fn shifted(shift_ns: i64) -> Self {
        Self { shift_ns, offset: Arc::default() }
    }

    /// This host's wall clock, Unix nanoseconds.
    #[must_use]
    pub fn unix_ns(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).saturating_add(self.shift_ns)
    }

    /// The scheduler's wall clock, Unix nanoseconds; this host's as long as nothing was measured.
    #[must_use]
    pub fn scheduler_unix_ns(&self) -> i64 {
        self.unix_ns().saturating_add(self.offset().map_or(0, |offset| offset.ns))
    }

    /// What was measured last.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instant of the scheduler's clock on this host's monotonic one, mapped once: later jumps of the wall clock move
    /// nothing.
    #[must_use]
    pub fn monotonic(&self, scheduler_unix_ns: i64) -> Instant {
        monotonic(scheduler_unix_ns, self.scheduler_unix_ns(), Instant::now())
    }

    /// Measures once: of several questions, the one that was answered soonest.
    pub async fn measure(&self, bus: &Bus) {
        let mut best: Option<Offset> = None;
        for _ in 0..PINGS {
            let (sent, sent_unix) = (Instant::now(), self.unix_ns());
            let answer = bus.command(&Address::Service, &v1::QueryClock {}, ANSWER).await;
            let Ok(answer) = answer else { break };
            let way = i64::try_from(sent.elapsed().as_nanos()).unwrap_or(i64::MAX);
            let found = offset(sent_unix, way, answer.unix_ns);
            if best.is_none_or(|best| found.error_ns < best.error_ns) {
                best = Some(found);
            }
        }
        if let Some(best) = best {
            *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = Some(best);
        }
    }

    /// Measures again and again until the shutdown.
    pub async fn keep(self, bus: Bus, every: Duration, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.measure(&bus) => {}
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

/// Asked at `sent_unix` and answered after `way`: the answer was given half-way, more or less half the way.
fn offset(sent_unix: i64, way: i64, answered_unix: i64) -> Offset {
    let half_way = sent_unix.saturating_add(way / 2);
    Offset { ns: answered_unix.saturating_sub(half_way), error_ns: way.unsigned_abs().div_ceil(2) }
}

fn monotonic(unix: i64, wall_now: i64, now: Instant) -> Instant {
    let ahead = unix.saturating_sub(wall_now);
    let distance = Duration::from_nanos(ahead.unsigned_abs());
    if ahead >= 0 { now + distance } else { now.checked_sub(distance).unwrap_or(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_instants_are_mapped_by_their_distance() {
        let now = Instant::now();
        assert_eq!(monotonic(5_000_000, 0, now), now + Duration::from_millis(5));
        assert_eq!(monotonic(0, 5_000_000, now), now.checked_sub(Duration::from_millis(5)).unwrap());
    }

    #[test]
    fn the_offset_lies_within_its_error() {
        // This host is half a second ahead; the question took 3 ms there and 1 ms back.
        let found = offset(10_500_000_000, 4_000_000, 10_003_000_000);
        assert_eq!(found, Offset { ns: -499_000_000, error_ns: 2_000_000 });
        assert!((found.ns - -500_000_000).unsigned_abs() <= found.error_ns);
    }
}
