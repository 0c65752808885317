//! What a load thread calls on its hot path: a few plain stores into its half of the spool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};

use protocol::failure::FailureClass;
use protocol::v1;
use series::hdr;

use super::layout::{CLASSES, HalfAt, HistAt, STATUSES, SeriesAt, count, last, word};
use crate::io::spool::Spool;

/// States of a half.
pub(super) mod state {
    /// All zero.
    pub(in crate::record) const FREE: u64 = 0;
    /// Its thread counts into it.
    pub(in crate::record) const OPEN: u64 = 1;
    /// Complete, to be published.
    pub(in crate::record) const QUIET: u64 = 2;
}

/// How control asks a load thread for a flip, and hears that it was made.
#[derive(Debug, Default)]
pub(super) struct FlipCell {
    /// Flips asked for so far.
    pub(super) asked: AtomicU64,
    /// Flips made so far.
    pub(super) made: AtomicU64,
    /// The recorder is gone: its half will not change any more.
    pub(super) closed: AtomicBool,
}

/// The times of an answered operation, microseconds (requirement R9.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the intended send to the last byte.
    pub latency_us: u64,
    /// From the actual send to the last byte.
    pub service_us: u64,
    /// From the intended send to when a user and a connection were free.
    pub queue_us: u64,
    /// From the actual send to the first byte; 0 = not known, not recorded.
    pub first_byte_us: u64,
}

/// Counts and times of one load thread. Every method is a few loads and stores: no lock, no allocation, no call to
/// the system. `series` is the index that [`crate::spec::PhaseScenario::series`] gives; an unknown one is not counted.
///
/// R9.3 closes if each arrival gets exactly one of `dropped` and `started` (or is in the gauge `waiting`), and each
/// started one exactly one of `answered`, `failed` and `cancelled` (or is in the gauge `in_flight`).
#[derive(Debug)]
pub struct Recorder {
    spool: Arc<Spool>,
    cell: Arc<FlipCell>,
    at: Arc<HalfAt>,
    /// Begins of the two halves, in words of the file.
    halves: [usize; 2],
    /// Begin of the open half.
    open: usize,
    /// Between phases there is no offset to note.
    running: bool,
    totals: v1::ArrivalCounts,
}

impl Recorder {
    pub(super) fn new(spool: Arc<Spool>, cell: Arc<FlipCell>, at: Arc<HalfAt>, halves: [usize; 2]) -> Self {
        let (open, totals) = (halves[0], v1::ArrivalCounts::default());
        let recorder = Self { spool, cell, at, halves, open, running: false, totals };
        recorder.set(word::SEQUENCE, 1);
        recorder.set(word::LAST, last::BETWEEN);
        recorder.set(word::STATE, state::OPEN);
        recorder
    }

    /// A phase begins on this thread; nothing of another is in progress. `now_offset_ns` is mostly 0.
    pub fn begin_phase(&mut self, phase: u32, now_offset_ns: u64) {
        self.totals = v1::ArrivalCounts::default();
        self.running = true;
        self.waiting(0);
        self.in_flight(0);
        self.set(word::WAITING_BEFORE, 0);
        self.set(word::IN_FLIGHT_BEFORE, 0);
        self.users_active(0);
        self.set(word::PHASE, u64::from(phase));
        self.set(word::START, now_offset_ns);
        self.set(word::END, now_offset_ns);
        self.set(word::LAST, last::RUNNING);
    }

    /// The phase is over on this thread: nothing of it is in progress; what still waits is in the gauge and stays there.
    pub fn end_phase(&mut self, now_offset_ns: u64) {
        self.running = false;
        self.set(word::END, now_offset_ns);
        self.set(word::LAST, last::OVER);
    }

    /// What was counted since the phase began, apart from the spool; gauges as they are now.
    #[must_use]
    pub fn totals(&self) -> v1::ArrivalCounts {
        v1::ArrivalCounts {
            waiting: self.get(word::WAITING),
            in_flight: self.get(word::IN_FLIGHT),
            ..self.totals
        }
    }

    /// Once per turn of the loop: notes the time and, if control asked, changes to the other half.
    #[inline]
    pub fn flip_if_asked(&mut self, now_offset_ns: u64) {
        if self.running {
            self.set(word::END, now_offset_ns);
        }
        let asked = self.cell.asked.load(Ordering::Acquire);
        if asked != self.cell.made.load(Ordering::Relaxed) {
            self.flip(now_offset_ns, asked);
        }
    }

    #[cold]
    fn flip(&mut self, now_offset_ns: u64, asked: u64) {
        let old = self.open;
        let new = if old == self.halves[0] { self.halves[1] } else { self.halves[0] };
        let words = self.spool.words();
        let copy = |w: usize| {
            if let (Some(from), Some(to)) = (words.get(old + w), words.get(new + w)) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        };
        // What is a state rather than a count goes on in the new half.
        [word::PHASE, word::CONNECTIONS].into_iter().for_each(copy);
        if self.running {
            [word::WAITING, word::IN_FLIGHT, word::USERS_ACTIVE].into_iter().for_each(copy);
            let (waiting, in_flight) = (self.get(word::WAITING), self.get(word::IN_FLIGHT));
            self.store(new + word::WAITING_BEFORE, waiting, Ordering::Relaxed);
            self.store(new + word::IN_FLIGHT_BEFORE, in_flight, Ordering::Relaxed);
        }
        let sequence = self.get(word::SEQUENCE) + 1;
        let over = if self.get(word::LAST) == last::RUNNING { last::RUNNING } else { last::BETWEEN };
        self.open = new;
        self.set(word::SEQUENCE, sequence);
        self.set(word::LAST, over);
        self.set(word::START, now_offset_ns);
        self.set(word::END, now_offset_ns);
        // Opened before the old one is quiet: whoever finds the spool after a SIGKILL in between finds both.
        self.store(new + word::STATE, state::OPEN, Ordering::Release);
        self.store(old + word::STATE, state::QUIET, Ordering::Release);
        self.cell.made.store(asked, Ordering::Release);
    }

    /// `n` arrivals came due.
    #[inline]
    pub fn scheduled(&mut self, n: u64) {
        self.totals.scheduled += n;
        self.add(word::SCHEDULED, n);
    }

    /// An arrival was given up before it was started; `by_generator`: because the generator itself was late.
    #[inline]
    pub fn dropped(&mut self, scenario: u32, by_generator: bool) {
        self.totals.dropped += 1;
        self.add(word::DROPPED, 1);
        if by_generator {
            self.totals.dropped_by_generator += 1;
            self.add(word::DROPPED_BY_GENERATOR, 1);
        }
        let first = self.at.first_series.get(scenario as usize).and_then(|s| self.at.series.get(*s as usize));
        if let Some(counters) = first.map(|s| s.counters) {
            self.add(counters + count::DROPPED, 1);
        }
    }

    /// Arrivals that wait for a user or a connection now.
    #[inline]
    pub fn waiting(&mut self, n: u64) {
        self.set(word::WAITING, n);
    }

    /// Operations in progress now.
    #[inline]
    pub fn in_flight(&mut self, n: u64) {
        self.set(word::IN_FLIGHT, n);
    }

    /// Users with an operation in progress now.
    #[inline]
    pub fn users_active(&mut self, n: u32) {
        self.set(word::USERS_ACTIVE, u64::from(n));
    }

    /// Transports open now.
    #[inline]
    pub fn connections(&mut self, n: u32) {
        self.set(word::CONNECTIONS, u64::from(n));
    }

    /// A connection was made, or could not be.
    #[inline]
    pub fn connect(&mut self, ok: bool) {
        self.add(if ok { word::CONNECTS } else { word::CONNECT_FAILURES }, 1);
    }

    /// An operation began.
    #[inline]
    pub fn started(&mut self, series: u32) {
        self.totals.started += 1;
        self.count(series, count::STARTED, 1);
    }

    /// A request was written; `retry`: it is not its operation's first attempt.
    #[inline]
    pub fn request_sent(&mut self, series: u32, bytes: u64, retry: bool) {
        self.count(series, count::REQUESTS, 1);
        self.count(series, count::BYTES_SENT, bytes);
        if retry {
            self.count(series, count::RETRIES, 1);
        }
    }

    /// An operation ended with an answer; `good`: it broke no check. `bytes` were received.
    #[inline]
    pub fn answered(&mut self, series: u32, timing: &Timing, status: u32, bytes: u64, good: bool) {
        self.totals.answered += 1;
        let Some(at) = self.series(series) else { return };
        let SeriesAt { counters, statuses, latency, service, queue, first_byte, .. } = *at;
        self.add(counters + count::ANSWERED, 1);
        self.add(counters + count::BYTES_RECEIVED, bytes);
        self.add(counters + count::GOOD, u64::from(good));
        self.add(counters + count::BAD, u64::from(!good || status >= 400));
        self.add_count(statuses * 2 + status.min(STATUSES - 1) as usize);
        self.hist(latency, timing.latency_us);
        self.hist(service, timing.service_us);
        self.hist(queue, timing.queue_us);
        if timing.first_byte_us > 0 {
            self.hist(first_byte, timing.first_byte_us);
        }
    }

    /// An operation ended without an answer.
    #[inline]
    pub fn failed(&mut self, series: u32, class: FailureClass) {
        self.totals.failed += 1;
        let Some(at) = self.series(series) else { return };
        let SeriesAt { counters, classes, .. } = *at;
        self.add(counters + count::FAILED, 1);
        self.add(classes + (class as u32).min(CLASSES - 1) as usize, 1);
    }

    /// An operation was given up: the phase ended, its guest asked for it or trapped.
    #[inline]
    pub fn cancelled(&mut self, series: u32) {
        self.totals.cancelled += 1;
        self.count(series, count::CANCELLED, 1);
    }

    /// A check was made; `check` counts among the run's checks of the scenario.
    #[inline]
    pub fn check(&mut self, series: u32, check: u32, pass: bool) {
        let Some(at) = self.series(series) else { return };
        if check < at.check_count {
            self.add(at.checks + 2 * check as usize + usize::from(!pass), 1);
        }
    }

    /// A guest's own metric; negative values and NaN count as 0.
    #[inline]
    pub fn observe(&mut self, series: u32, metric: u32, value: f64) {
        let Some(hist) = self.series(series).and_then(|s| s.metrics.get(metric as usize)).copied() else {
            return;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, as wanted"
        )]
        self.hist(hist, (value * 1_000.0).round() as u64);
    }

    /// From when an operation could have been sent to its first write, nanoseconds.
    #[inline]
    pub fn send_lag(&mut self, ns: u64) {
        self.hist(self.at.send_lag, ns);
    }

    /// A call into a guest, and how long it took.
    #[inline]
    pub fn guest_call(&mut self, ns: u64) {
        self.add(word::GUEST_CALLS, 1);
        self.add(word::GUEST_NS, ns);
    }

    /// A guest trapped or broke a limit.
    #[inline]
    pub fn trap(&mut self) {
        self.add(word::TRAPS, 1);
    }

    /// Of `total_ns` that passed, the thread computed `busy_ns` rather than waited.
    #[inline]
    pub fn busy(&mut self, busy_ns: u64, total_ns: u64) {
        self.add(word::BUSY_NS, busy_ns);
        self.add(word::TOTAL_NS, total_ns);
    }

    #[inline]
    fn series(&self, series: u32) -> Option<&SeriesAt> {
        self.at.series.get(series as usize)
    }

    #[inline]
    fn count(&self, series: u32, which: usize, n: u64) {
        if let Some(counters) = self.series(series).map(|s| s.counters) {
            self.add(counters + which, n);
        }
    }

    #[inline]
    fn hist(&self, hist: HistAt, value: u64) {
        let clamped = value.min(hist.highest);
        if clamped != value {
            self.add(hist.at + HistAt::CLAMPED, 1);
        }
        let index = hdr::index_of(clamped);
        // The bounds first: whoever reads the spool after a SIGKILL finds every count within them.
        let lowest = hist.at + HistAt::LOWEST_PLUS_1;
        let seen = self.get(lowest);
        if seen == 0 || u64::from(index) + 1 < seen {
            self.set(lowest, u64::from(index) + 1);
        }
        let highest_at = hist.at + HistAt::HIGHEST;
        if u64::from(index) > self.get(highest_at) {
            self.set(highest_at, u64::from(index));
        }
        compiler_fence(Ordering::Release);
        self.add_count((hist.at + HistAt::HEAD) * 2 + index as usize);
    }

    /// One writer: a load and a store do, without a locked instruction.
    #[inline]
    fn add(&self, offset: usize, n: u64) {
        if let Some(w) = self.spool.words().get(self.open + offset) {
            w.store(w.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    #[inline]
    fn add_count(&self, offset: usize) {
        if let Some(c) = self.spool.counts().get(self.open * 2 + offset) {
            c.store(c.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    #[inline]
    fn set(&self, offset: usize, value: u64) {
        self.store(self.open + offset, value, Ordering::Relaxed);
    }

    #[inline]
    fn get(&self, offset: usize) -> u64 {
        self.spool.words().get(self.open + offset).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    #[inline]
    fn store(&self, at: usize, value: u64, order: Ordering) {
        if let Some(w) = self.spool.words().get(at) {
            w.store(value, order);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.cell.closed.store(true, Ordering::Release);
    }
}
