//! Halves of the spool read back: the samples of one interval, all threads together.

use std::sync::atomic::Ordering;

use prost::Message as _;
use protocol::failure::FailureClass;
use protocol::v1;
use series::{CheckCounts, Counts, Hist, Merged, hdr};

use super::layout::{CLASSES, HalfAt, HistAt, Layout, STATUSES, SeriesAt, SeriesKey, count, last, word};
use super::recorder::state;
use crate::io::spool::Spool;

/// A batch is cut so that no part's series are over this many bytes: a message stays under 256 KiB with its head.
const PART_BYTES: usize = 192 * 1024;

/// What all threads counted in one interval.
#[derive(Debug)]
pub struct Interval {
    /// Sequence of the batch, the same on all threads.
    pub sequence: u64,
    /// Index of the phase.
    pub phase: u32,
    /// The phase is over on every thread that was read.
    pub last: bool,
    /// Arrivals and operations; gauges are those at the interval's end.
    pub arrivals: v1::ArrivalCounts,
    /// Users with an operation in progress at the interval's end.
    pub users_active: u32,
    /// It was opened after the end of a phase on every thread that was read, and belongs to none.
    pub(super) between: bool,
    starts: u128,
    ends: u128,
    series: Vec<Merged>,
    threads: Vec<v1::ThreadStats>,
}

impl Interval {
    pub(super) fn new(sequence: u64, layout: &Layout) -> Self {
        Self {
            sequence,
            phase: 0,
            last: true,
            arrivals: v1::ArrivalCounts::default(),
            users_active: 0,
            between: true,
            starts: 0,
            ends: 0,
            series: (0..layout.len()).map(|_| Merged::new()).collect(),
            threads: Vec::new(),
        }
    }

    /// Begin of the interval: the mean over its threads, which do not flip at one instant; nanoseconds from t0.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        mean(self.starts, self.threads.len())
    }

    /// End of the interval, the same way.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        mean(self.ends, self.threads.len())
    }

    /// Whether it was counted between phases, when there is nothing to count.
    #[must_use]
    pub const fn belongs_to_no_phase(&self) -> bool {
        self.between
    }

    /// Adds a thread's half.
    pub(super) fn add(&mut self, thread: u32, half: &Half<'_>) {
        let get = |w| half.get(w);
        self.phase = narrow(get(word::PHASE));
        self.last &= get(word::LAST) != last::RUNNING;
        self.between &= get(word::LAST) == last::BETWEEN;
        self.starts += u128::from(get(word::START));
        self.ends += u128::from(get(word::END).max(get(word::START)));
        let a = &mut self.arrivals;
        a.scheduled += get(word::SCHEDULED);
        a.dropped += get(word::DROPPED);
        a.dropped_by_generator += get(word::DROPPED_BY_GENERATOR);
        let mut counted = Counts::default();
        for (merged, at) in self.series.iter_mut().zip(&half.at.series) {
            counted.add(&half.read_series(at, merged));
        }
        a.started += counted.started;
        a.answered += counted.answered;
        a.failed += counted.failed;
        a.cancelled += counted.cancelled;
        let left = if get(word::STATE) == state::OPEN { half.left_behind(&counted) } else { half.gauges() };
        a.waiting += left.waiting;
        a.in_flight += left.in_flight;
        self.users_active += left.users;
        let mut lag = Hist::nanos();
        half.read_hist(half.at.send_lag, &mut lag);
        let total = get(word::TOTAL_NS);
        self.threads.push(v1::ThreadStats {
            thread,
            busy: if total == 0 { 0.0 } else { (get(word::BUSY_NS) as f64 / total as f64).min(1.0) },
            send_lag: Some(lag.encode()),
            connections_open: left.connections,
            connects: get(word::CONNECTS),
            connect_failures: get(word::CONNECT_FAILURES),
            guest_calls: get(word::GUEST_CALLS),
            guest_ns: get(word::GUEST_NS),
            guest_traps: get(word::TRAPS),
        });
    }

    /// The interval as messages of bounded size, each with what `head` says and the interval does not know, in order of their parts from 0. The division depends on the samples
    /// alone, so that a second reader of the same spool makes the same parts.
    #[must_use]
    pub fn into_batches(self, layout: &Layout, head: &v1::SampleBatch) -> Vec<v1::SampleBatch> {
        let (start, end) = (self.start_ns(), self.end_ns());
        let mut parts: Vec<Vec<v1::Series>> = vec![Vec::new()];
        let mut bytes = 0;
        for (merged, (key, _)) in self.series.iter().zip(layout.iter()) {
            if *merged == Merged::new() {
                continue;
            }
            let SeriesKey { scenario, step, target } = key;
            let message = merged.to_proto(scenario, step, target);
            let size = message.encoded_len();
            if bytes + size > PART_BYTES && bytes > 0 {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            if let Some(part) = parts.last_mut() {
                part.push(message);
            }
        }
        let count = parts.len() as u32;
        let mut first = Some((self.threads, self.arrivals, self.users_active));
        parts
            .into_iter()
            .zip(0..)
            .map(|(series, part)| {
                // What is no series stands in the first part alone, so that a sum over parts counts it once.
                let (threads, arrivals, users_active) = first.take().unwrap_or_default();
                v1::SampleBatch {
                    phase: self.phase,
                    start_offset_ns: start,
                    interval_ns: end.saturating_sub(start),
                    series,
                    threads,
                    arrivals: Some(arrivals),
                    users_active,
                    wanted_rate: if part == 0 { head.wanted_rate } else { 0.0 },
                    part,
                    parts: count,
                    last: self.last || head.last,
                    ..head.clone()
                }
            })
            .collect()
    }
}

fn mean(sum: u128, of: usize) -> u64 {
    u64::try_from(sum / of.max(1) as u128).unwrap_or(u64::MAX)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// One half of one thread, as a reader sees it.
pub(super) struct Half<'a> {
    pub(super) spool: &'a Spool,
    pub(super) at: &'a HalfAt,
    /// Begin in words of the file.
    pub(super) begin: usize,
}

/// What is in progress on a thread at an interval's end.
struct Gauges {
    waiting: u64,
    in_flight: u64,
    users: u32,
    connections: u32,
}

impl Half<'_> {
    /// As the thread noted it last.
    fn gauges(&self) -> Gauges {
        Gauges {
            waiting: self.get(word::WAITING),
            in_flight: self.get(word::IN_FLIGHT),
            users: narrow(self.get(word::USERS_ACTIVE)),
            connections: narrow(self.get(word::CONNECTIONS)),
        }
    }

    /// What the thread of a killed worker was at, by what it counted: it may have died between a count and the gauge that
    /// follows it. Its users and connections are gone.
    fn left_behind(&self, counted: &Counts) -> Gauges {
        let due = self.get(word::WAITING_BEFORE) + self.get(word::SCHEDULED);
        let begun = self.get(word::IN_FLIGHT_BEFORE) + counted.started;
        Gauges {
            waiting: due.saturating_sub(self.get(word::DROPPED) + counted.started),
            in_flight: begun.saturating_sub(counted.answered + counted.failed + counted.cancelled),
            users: 0,
            connections: 0,
        }
    }

    pub(super) fn get(&self, offset: usize) -> u64 {
        self.spool.words().get(self.begin + offset).map_or(0, |w| w.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, offset: usize, value: u64) {
        if let Some(w) = self.spool.words().get(self.begin + offset) {
            w.store(value, Ordering::Release);
        }
    }

    fn counts(&self, word: usize, counts: std::ops::Range<usize>) -> &[std::sync::atomic::AtomicU32] {
        let first = (self.begin + word) * 2;
        self.spool.counts().get(first + counts.start..first + counts.end).unwrap_or(&[])
    }

    fn read_series(&self, at: &SeriesAt, into: &mut Merged) -> Counts {
        let get = |w| self.get(at.counters + w);
        let counts = Counts {
            started: get(count::STARTED),
            answered: get(count::ANSWERED),
            failed: get(count::FAILED),
            cancelled: get(count::CANCELLED),
            good: get(count::GOOD),
            bad: get(count::BAD),
            dropped: get(count::DROPPED),
            requests: get(count::REQUESTS),
            retries: get(count::RETRIES),
            bytes_sent: get(count::BYTES_SENT),
            bytes_received: get(count::BYTES_RECEIVED),
        };
        into.counts.add(&counts);
        for class in FailureClass::ALL {
            let n = self.get(at.classes + class as usize);
            if n > 0 {
                *into.errors.entry(class.name().to_owned()).or_default() += n;
            }
        }
        for check in 0..at.check_count {
            let pair = at.checks + 2 * check as usize;
            let (passed, failed) = (self.get(pair), self.get(pair + 1));
            if passed + failed > 0 {
                let sum: &mut CheckCounts = into.checks.entry(check).or_default();
                sum.passed += passed;
                sum.failed += failed;
            }
        }
        for (status, n) in (0..).zip(self.counts(at.statuses, 0..STATUSES as usize)) {
            let n = n.load(Ordering::Relaxed);
            if n > 0 {
                *into.statuses.entry(status).or_default() += u64::from(n);
            }
        }
        self.read_hist(at.latency, &mut into.latency);
        self.read_hist(at.service, &mut into.service);
        self.read_hist(at.queue, &mut into.queue);
        self.read_hist(at.first_byte, &mut into.first_byte);
        for (metric, hist) in (0..).zip(&at.metrics) {
            if self.get(hist.at + HistAt::LOWEST_PLUS_1) > 0 {
                self.read_hist(*hist, into.observations.entry(metric).or_insert_with(Hist::micros));
            }
        }
        counts
    }

    fn read_hist(&self, hist: HistAt, into: &mut Hist) {
        let clamped = self.get(hist.at + HistAt::CLAMPED);
        for (index, n) in self.used(hist) {
            let mut n = u64::from(n.load(Ordering::Relaxed));
            if index == hdr::index_of(hist.highest) {
                // Handed on as what they were, above the range, so that they are counted as clamped there too.
                let above = clamped.min(n);
                into.record_n(hist.highest + 1, above);
                n -= above;
            }
            into.record_n(hdr::value_at(index), n);
        }
    }

    /// The counts between a histogram's bounds, with their indices.
    fn used(&self, hist: HistAt) -> impl Iterator<Item = (u32, &std::sync::atomic::AtomicU32)> {
        let lowest = self.get(hist.at + HistAt::LOWEST_PLUS_1);
        let end = u64::from(hist.counts).min(self.get(hist.at + HistAt::HIGHEST) + 1);
        let range = if lowest == 0 { 0..0 } else { narrow(lowest - 1)..narrow(end) };
        let counts = self.counts(hist.at + HistAt::HEAD, range.start as usize..range.end as usize);
        range.zip(counts)
    }

    /// Everything to zero: the half is free again. Its samples are durable elsewhere.
    pub(super) fn clear(&self) {
        let mut hists = vec![self.at.send_lag];
        for s in &self.at.series {
            hists.extend([s.latency, s.service, s.queue, s.first_byte]);
            hists.extend(&s.metrics);
            for c in self.counts(s.statuses, 0..STATUSES as usize) {
                c.store(0, Ordering::Relaxed);
            }
            let words = (s.counters..s.counters + count::COUNTERS)
                .chain(s.classes..s.classes + CLASSES as usize)
                .chain(s.checks..s.checks + 2 * s.check_count as usize);
            words.for_each(|w| self.set(w, 0));
        }
        for hist in hists {
            for (_, c) in self.used(hist) {
                c.store(0, Ordering::Relaxed);
            }
            (hist.at..hist.at + HistAt::HEAD).for_each(|w| self.set(w, 0));
        }
        (word::SEQUENCE..word::HEAD).for_each(|w| self.set(w, 0));
        self.set(word::STATE, state::FREE);
    }
}
