//! One phase of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use protocol::v1;
use series::Hist;

use super::aggregate::{Filter, Stretch};
use super::batch::{Decoded, SeriesKey};
use super::progress::Progress;
use super::row::{Figures, Row, SECOND_NS};
use super::sum::Sum;

/// Rows whose tables stay in memory.
const OPEN_ROWS: usize = 3;

/// One load thread over a phase.
#[derive(Debug)]
struct Thread {
    stats: v1::ThreadStats,
    /// Time covered, ns, and the sum of busy shares over it.
    covered_ns: u64,
    busy_ns: f64,
    at_ns: u64,
}

/// What is known of one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    index: u32,
    /// Start by the scheduler's clock, once marked.
    pub(crate) t0_unix_ns: Option<i64>,
    figures: Figures,
    sums: BTreeMap<SeriesKey, Sum>,
    rows: BTreeMap<u64, Row>,
    threads: BTreeMap<([u8; 16], u32), Thread>,
    /// Send lag of all load threads.
    lag: Hist,
    /// Intervals that were recorded together with a later one.
    merged_intervals: u64,
    pub(crate) progress: Progress,
    /// Seconds whose parts are kept for windows.
    keep_rows: usize,
    /// Rows that got a part after theirs were given back: to be read anew from the store.
    stale: BTreeSet<u64>,
}

impl Phase {
    /// Nothing yet. `keep_rows`: how many seconds windows reach back without the store.
    pub(crate) fn new(index: u32, keep_rows: usize) -> Self {
        Self {
            index,
            t0_unix_ns: None,
            figures: Figures::default(),
            sums: BTreeMap::new(),
            rows: BTreeMap::new(),
            threads: BTreeMap::new(),
            lag: Hist::nanos(),
            merged_intervals: 0,
            progress: Progress::default(),
            keep_rows: keep_rows.max(OPEN_ROWS),
            stale: BTreeSet::new(),
        }
    }

    /// Adds a part, which the caller has not added before.
    pub(crate) fn add(&mut self, part: &Decoded) {
        self.progress.note(part);
        self.figures.add(part);
        for (series, sum) in part.batch.series.iter().zip(&part.sums) {
            self.sums.entry(SeriesKey::of(series)).or_default().add(sum);
        }
        if part.is_head() {
            self.merged_intervals += u64::from(part.batch.merged_intervals.saturating_sub(1));
            for stats in &part.batch.threads {
                let key = (part.key.producer, stats.thread);
                self.threads.entry(key).or_insert_with(|| Thread::new(stats.thread)).add(part, stats);
            }
            part.lags.iter().for_each(|lag| self.lag.add(lag));
        }
        let index = part.row();
        let row = self.rows.entry(index).or_default();
        if row.thinned {
            self.stale.insert(index);
            return;
        }
        row.add(part);
        // Rows are settled as newer ones open; one that got a late part, at once.
        for (_, row) in self.rows.range_mut(index..).rev().skip(OPEN_ROWS) {
            row.settle();
        }
        if let Some(row) = self.rows.values_mut().rev().nth(OPEN_ROWS) {
            row.settle();
        }
        for row in self.rows.values_mut().rev().skip(self.keep_rows) {
            if row.thinned {
                break;
            }
            row.thin();
        }
    }

    /// The phase is over: gives tables back. Parts that still come are added all the same.
    pub(crate) fn close(&mut self) {
        for (key, sum) in &mut self.sums {
            sum.close(*key);
        }
        self.rows.values_mut().for_each(Row::settle);
    }

    /// Rows to be read anew from the store; they are taken off the list.
    pub(crate) fn take_stale(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.stale)
    }

    /// Puts rows made from the store in the place of those that were thinned.
    pub(crate) fn replace_rows(&mut self, made: Self, wanted: &BTreeSet<u64>) {
        for (index, mut row) in made.rows {
            if wanted.contains(&index) {
                row.thin();
                self.rows.insert(index, row);
            }
        }
    }

    /// Puts rows made from the store in the place of those that were thinned, parts and all, and keeps as many from now
    /// on: a window that was asked for once will be asked for again.
    pub(crate) fn keep_rows(&mut self, made: Self) {
        self.rows.extend(made.rows);
        let first = self.rows.iter().find(|(_, row)| !row.thinned).map(|(index, _)| *index);
        let kept = first.map_or(0, |first| self.rows.range(first..).count());
        self.keep_rows = self.keep_rows.max(kept + 1);
    }

    /// Everything of the phase.
    pub(crate) fn whole(&self, filter: &Filter) -> Stretch {
        let mut stretch = Stretch::new(self.index);
        stretch.figures = self.figures.clone();
        for (key, sum) in &self.sums {
            stretch.note_dropped(filter, *key, sum.dropped());
            if filter.takes(*key) {
                sum.add_to(&mut stretch.merged);
            }
        }
        stretch.lag.add(&self.lag);
        stretch
    }

    /// The newest second that all workers have told of; the newest at all while there is none.
    pub(crate) fn newest_row(&self) -> Option<u64> {
        self.complete_row().or_else(|| self.rows.keys().next().copied())
    }

    /// The newest second that all workers have told of.
    pub(crate) fn complete_row(&self) -> Option<u64> {
        let end = self.progress.complete_to()? / SECOND_NS;
        self.rows.range(..end).next_back().map(|(index, _)| *index)
    }

    /// The rows of the last `window_ns` up to the newest complete second.
    pub(crate) fn window(&self, window_ns: u64) -> Option<RangeInclusive<u64>> {
        let newest = self.newest_row()?;
        let end = self.rows.get(&newest)?.figures.covered?.1;
        // Half a second of tolerance: rows begin where intervals do, and those tremble.
        let begin = (end.saturating_sub(window_ns) + SECOND_NS / 2) / SECOND_NS;
        Some(begin.min(newest)..=newest)
    }

    /// Whether the parts of all these rows are in memory.
    pub(crate) fn holds(&self, rows: RangeInclusive<u64>) -> bool {
        self.rows.range(rows).all(|(_, row)| !row.thinned)
    }

    /// Sums up some rows.
    pub(crate) fn stretch(&self, rows: RangeInclusive<u64>, filter: &Filter) -> Stretch {
        let mut stretch = Stretch::new(self.index);
        for (_, row) in self.rows.range(rows) {
            stretch.figures.extend(&row.figures);
            for series in &row.series {
                stretch.note_dropped(filter, SeriesKey::of(series), series.dropped);
            }
            if filter.is_all() {
                row.add_totals_to(&mut stretch.merged, &mut stretch.lag);
                continue;
            }
            for series in row.series.iter().filter(|series| filter.takes(SeriesKey::of(series))) {
                // It was read once when it came.
                _ = stretch.merged.add_proto(series);
            }
            for lag in row.lags.iter().filter_map(|lag| super::batch::lag(Some(lag)).ok()) {
                stretch.lag.absorb(lag);
            }
        }
        stretch
    }

    /// The plain figures of one row, without its histograms.
    pub(crate) fn figures(&self, row: u64) -> Stretch {
        let mut stretch = Stretch::new(self.index);
        if let Some(row) = self.rows.get(&row) {
            stretch.figures = row.figures.clone();
        }
        stretch
    }

    /// Everything, for decisions and the report; probes are added by the caller.
    pub(crate) fn series(&mut self, run: &[u8]) -> v1::PhaseSeries {
        let all = Filter::default();
        let total = self.whole(&all).into_proto(run, &all, None);
        v1::PhaseSeries {
            phase: self.index,
            series: self.sums.iter().map(|(key, sum)| sum.to_proto(*key)).collect(),
            total: Some(total),
            seconds: self.rows.values_mut().map(Row::second).collect(),
            threads: self.threads.values().map(Thread::to_proto).collect(),
            targets: Vec::new(),
            gaps: self.progress.gaps(),
            workers: self.progress.workers(),
            merged_intervals: self.merged_intervals,
        }
    }
}

impl Thread {
    fn new(thread: u32) -> Self {
        Self {
            stats: v1::ThreadStats { thread, ..Default::default() },
            covered_ns: 0,
            busy_ns: 0.0,
            at_ns: 0,
        }
    }

    fn add(&mut self, part: &Decoded, stats: &v1::ThreadStats) {
        let length = part.batch.interval_ns;
        self.covered_ns += length;
        self.busy_ns += stats.busy * length as f64;
        if part.end_ns() >= self.at_ns {
            self.at_ns = part.end_ns();
            self.stats.connections_open = stats.connections_open;
        }
        self.stats.connects += stats.connects;
        self.stats.connect_failures += stats.connect_failures;
        self.stats.guest_calls += stats.guest_calls;
        self.stats.guest_ns += stats.guest_ns;
        self.stats.guest_traps += stats.guest_traps;
    }

    /// `busy` is the mean over the phase; the worst intervals are in the seconds' `busy_max`. The send lag is that of the
    /// worker, in its progress.
    fn to_proto(&self) -> v1::ThreadStats {
        let busy = if self.covered_ns == 0 { 0.0 } else { self.busy_ns / self.covered_ns as f64 };
        v1::ThreadStats { busy, ..self.stats.clone() }
    }
}
