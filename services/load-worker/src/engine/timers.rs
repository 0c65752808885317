//! What is to happen when. A timer whose object is gone finds nothing under its key; such timers are swept out when they
//! are half of what is there, for one slow answer at the front would keep those of all answers after it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Delays that have a queue of their own; more go to the heap.
const QUEUES: usize = 16;

/// A queue shorter than this is not swept.
const SWEEP: usize = 4_096;

/// Timers over `T`, in nanoseconds of the thread's clock.
///
/// Deadlines mostly have one of few lengths, so that those of one length come due in the order in which they were
/// set: a queue each, instead of a heap whose size is rate × timeout.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<(u64, T)>>,
    queues: Vec<Queue<T>>,
}

/// Timers of one delay, in the order in which they come due.
#[derive(Debug)]
struct Queue<T> {
    delay: u64,
    timers: VecDeque<(u64, T)>,
    /// Swept when it is so long.
    sweep_at: usize,
}

impl<T: Ord + Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), queues: Vec::new() }
    }

    /// At a point in time.
    pub(crate) fn at(&mut self, at: u64, what: T) {
        self.heap.push(Reverse((at, what)));
    }

    /// So long after now.
    pub(crate) fn after(&mut self, now: u64, delay: u64, what: T) {
        let at = now.saturating_add(delay);
        let slot = self.queues.iter().position(|queue| queue.delay == delay);
        let slot = slot.or_else(|| {
            (self.queues.len() < QUEUES).then(|| {
                self.queues.push(Queue { delay, timers: VecDeque::new(), sweep_at: SWEEP });
                self.queues.len() - 1
            })
        });
        match slot.map(|slot| &mut self.queues[slot].timers) {
            // The clock does not go back, but a caller may use an older reading of it.
            Some(queue) if queue.back().is_none_or(|(last, _)| *last <= at) => queue.push_back((at, what)),
            _ => self.at(at, what),
        }
    }

    /// When the next comes due; `stale` says of one that its object is gone, so that it need not wake anybody.
    pub(crate) fn next(&mut self, mut stale: impl FnMut(T) -> bool) -> Option<u64> {
        while self.heap.peek().is_some_and(|Reverse((_, what))| stale(*what)) {
            self.heap.pop();
        }
        let mut next = self.heap.peek().map(|Reverse((at, _))| *at);
        for Queue { timers, sweep_at, .. } in &mut self.queues {
            while timers.front().is_some_and(|(_, what)| stale(*what)) {
                timers.pop_front();
            }
            if timers.len() >= *sweep_at {
                timers.retain(|(_, what)| !stale(*what));
                // Not again before there is as much anew: a sweep costs each timer once.
                *sweep_at = SWEEP.max(2 * timers.len());
            }
            if let Some((at, _)) = timers.front() {
                next = Some(next.map_or(*at, |next| next.min(*at)));
            }
        }
        next
    }

    /// Takes one that is due, the earliest of the heap first.
    pub(crate) fn due(&mut self, now: u64) -> Option<T> {
        if self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.heap.pop().map(|Reverse((_, what))| what);
        }
        self.queues
            .iter_mut()
            .find(|queue| queue.timers.front().is_some_and(|(at, _)| *at <= now))
            .and_then(|queue| queue.timers.pop_front())
            .map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_due_once_and_not_early() {
        let mut timers = Timers::new();
        for i in 0..200_u64 {
            timers.after(i, 10 * (i % 40), i);
            timers.at(1000 - i, 1000 + i);
        }
        timers.after(50, 10, 7777);
        let mut seen = Vec::new();
        for now in 0..2000 {
            while let Some(what) = timers.due(now) {
                let at = match what {
                    7777 => 60,
                    1000.. => 1000 - (what - 1000),
                    _ => what + 10 * (what % 40),
                };
                assert_eq!(at, now, "timer {what}");
                seen.push(what);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).chain(1000..1200).chain([7777]).collect::<Vec<_>>());
        assert_eq!(timers.next(|_| false), None);
    }

    #[test]
    fn stale_ones_do_not_wake() {
        let mut timers = Timers::new();
        timers.after(0, 5, 1);
        timers.after(0, 5, 2);
        timers.at(3, 3);
        assert_eq!(timers.next(|what| what != 2), Some(5));
        assert_eq!(timers.due(4), None);
        assert_eq!(timers.due(5), Some(2));
    }

    #[test]
    fn stale_ones_behind_one_that_is_not_take_bounded_room() {
        let mut timers = Timers::new();
        for now in 0..1_000_000_u64 {
            // The first answer never comes; each other is there before the next request is sent.
            timers.after(now, 30_000_000, now);
            assert_eq!(timers.next(|what| what != 0 && what != now), Some(30_000_000));
            assert!(timers.queues[0].timers.len() <= SWEEP, "{} at {now}", timers.queues[0].timers.len());
        }
        // Those that are not stale stay, however many.
        for now in 0..3 * SWEEP as u64 {
            timers.after(now + 1_000_000, 40_000_000, now);
        }
        assert_eq!(timers.next(|_| false), Some(30_000_000));
        assert_eq!(timers.queues[1].timers.len(), 3 * SWEEP);
    }
}
