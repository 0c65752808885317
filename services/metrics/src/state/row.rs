//! One second of a phase.

use std::collections::BTreeMap;

use protocol::v1;
use series::{Hist, Merged};

use super::batch::Decoded;

/// Nanoseconds of a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// What is shown of each second.
const PERCENTILES: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 100.0];

/// State at the end of a stretch, of one life of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) at_ns: u64,
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) users: u32,
    pub(crate) connections: u32,
}

impl Gauges {
    /// What a batch says of its interval's end.
    pub(crate) fn of(part: &Decoded) -> Self {
        let arrivals = part.batch.arrivals.unwrap_or_default();
        Self {
            at_ns: part.end_ns(),
            waiting: arrivals.waiting,
            in_flight: arrivals.in_flight,
            users: part.batch.users_active,
            connections: part.batch.threads.iter().map(|thread| thread.connections_open).sum(),
        }
    }
}

/// A worker's life: its id and incarnation. What one has left in progress stays so when another has begun.
pub(crate) type Life = ([u8; 16], [u8; 16]);

/// Plain figures of a stretch: each batch adds to them once, with its first part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Begin and end of what was heard, offsets from the phase's t0.
    pub(crate) covered: Option<(u64, u64)>,
    /// Arrivals that the schedule wanted.
    pub(crate) wanted: f64,
    /// Sums; `waiting` and `in_flight` stay 0 here and come from `gauges`.
    pub(crate) arrivals: v1::ArrivalCounts,
    pub(crate) busy_max: f64,
    pub(crate) gauges: BTreeMap<Life, Gauges>,
}

impl Figures {
    /// Adds what a batch says beside its series.
    pub(crate) fn add(&mut self, part: &Decoded) {
        self.cover(part.batch.start_offset_ns, part.end_ns());
        if !part.is_head() {
            return;
        }
        let batch = &part.batch;
        self.wanted += batch.wanted_rate * batch.interval_ns as f64 / SECOND_NS as f64;
        add_arrivals(&mut self.arrivals, &batch.arrivals.unwrap_or_default());
        self.busy_max = batch.threads.iter().map(|thread| thread.busy).fold(self.busy_max, f64::max);
        let gauges = self.gauges.entry((part.key.producer, part.key.incarnation)).or_default();
        if part.end_ns() >= gauges.at_ns {
            *gauges = Gauges::of(part);
        }
    }

    /// Adds the figures of a later stretch.
    pub(crate) fn extend(&mut self, later: &Self) {
        if let Some((from, to)) = later.covered {
            self.cover(from, to);
        }
        self.wanted += later.wanted;
        add_arrivals(&mut self.arrivals, &later.arrivals);
        self.busy_max = self.busy_max.max(later.busy_max);
        for (life, gauges) in &later.gauges {
            self.gauges.insert(*life, *gauges);
        }
    }

    fn cover(&mut self, from: u64, to: u64) {
        self.covered = Some(self.covered.map_or((from, to), |(f, t)| (f.min(from), t.max(to))));
    }

    /// Length of what was heard.
    pub(crate) fn length_ns(&self) -> u64 {
        self.covered.map_or(0, |(from, to)| to.saturating_sub(from))
    }

    /// Arrivals a second that the schedule wanted, mean over the stretch.
    pub(crate) fn wanted_rate(&self) -> f64 {
        match self.length_ns() {
            0 => 0.0,
            length => self.wanted * SECOND_NS as f64 / length as f64,
        }
    }

    /// The counts, with the state at the end of the stretch.
    pub(crate) fn arrivals(&self) -> v1::ArrivalCounts {
        v1::ArrivalCounts {
            waiting: self.gauges.values().map(|gauges| gauges.waiting).sum(),
            in_flight: self.gauges.values().map(|gauges| gauges.in_flight).sum(),
            ..self.arrivals
        }
    }

    pub(crate) fn connections(&self) -> u32 {
        self.gauges.values().map(|gauges| gauges.connections).sum()
    }

    pub(crate) fn users(&self) -> u32 {
        self.gauges.values().map(|gauges| gauges.users).sum()
    }
}

/// Adds what only grows.
pub(crate) fn add_arrivals(sum: &mut v1::ArrivalCounts, part: &v1::ArrivalCounts) {
    sum.scheduled += part.scheduled;
    sum.dropped += part.dropped;
    sum.dropped_by_generator += part.dropped_by_generator;
    sum.started += part.started;
    sum.answered += part.answered;
    sum.failed += part.failed;
    sum.cancelled += part.cancelled;
}

/// One second of a phase. Its parts stay as they came, encoded, while windows may ask for them; what the report
/// shows of it stays for ever.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) figures: Figures,
    /// Series as they came. Empty once thinned.
    pub(crate) series: Vec<v1::Series>,
    /// Send lags: one of all that had come when the tables were given back, and as they came since. Empty once thinned.
    pub(crate) lags: Vec<v1::Histogram>,
    /// The parts above were given back; only `second` is left.
    pub(crate) thinned: bool,
    /// Sums of everything, kept for the newest rows.
    total: Option<Box<(Merged, Hist)>>,
    second: Option<v1::Second>,
}

impl Row {
    /// Adds a part.
    pub(crate) fn add(&mut self, part: &Decoded) {
        let sums = if self.series.is_empty() && self.lags.is_empty() {
            self.total.get_or_insert_with(fresh)
        } else {
            self.total.get_or_insert_with(|| Box::new(sums_of(&self.series, &self.lags)))
        };
        for sum in &part.sums {
            sums.0.add(sum);
        }
        self.series.extend_from_slice(&part.batch.series);
        if part.is_head() {
            for (thread, lag) in part.batch.threads.iter().zip(&part.lags) {
                sums.1.add(lag);
                self.lags.extend(thread.send_lag.clone());
            }
        }
        self.figures.add(part);
        self.second = None;
    }

    /// Adds the row's totals to others.
    pub(crate) fn add_totals_to(&self, merged: &mut Merged, lag: &mut Hist) {
        match &self.total {
            Some(total) => {
                merged.add(&total.0);
                lag.add(&total.1);
            }
            None => {
                let (own, own_lag) = sums_of(&self.series, &self.lags);
                merged.absorb(own);
                lag.absorb(own_lag);
            }
        }
    }

    /// Gives the tables back; the series stay as they came, and one send lag in the place of many: nothing asks for that of
    /// one thread or worker in a window.
    pub(crate) fn settle(&mut self) {
        if self.total.is_some() {
            self.second();
            if let Some(total) = self.total.take()
                && self.lags.len() > 1
            {
                self.lags = vec![total.1.encode()];
            }
        }
    }

    /// Gives the parts back, too.
    pub(crate) fn thin(&mut self) {
        if !self.thinned {
            self.second();
            self.total = None;
            self.series = Vec::new();
            self.lags = Vec::new();
            self.thinned = true;
        }
    }

    /// What the report shows of it.
    pub(crate) fn second(&mut self) -> v1::Second {
        if let Some(second) = &self.second {
            return second.clone();
        }
        let total = self.total.take().unwrap_or_else(|| Box::new(sums_of(&self.series, &self.lags)));
        let second = show(&self.figures, &total.0, &total.1);
        self.total = Some(total);
        self.second = Some(second.clone());
        second
    }
}

fn fresh() -> Box<(Merged, Hist)> {
    Box::new((Merged::new(), Hist::nanos()))
}

fn sums_of(series: &[v1::Series], lags: &[v1::Histogram]) -> (Merged, Hist) {
    let (mut merged, mut lag) = (Merged::new(), Hist::nanos());
    // Each was read once when it came.
    for part in series {
        _ = merged.add_proto(part);
    }
    for part in lags {
        if let Ok(part) = super::batch::lag(Some(part)) {
            lag.absorb(part);
        }
    }
    (merged, lag)
}

fn show(figures: &Figures, merged: &Merged, lag: &Hist) -> v1::Second {
    let arrivals = figures.arrivals();
    v1::Second {
        offset_ns: figures.covered.map_or(0, |(from, _)| from),
        length_ns: figures.length_ns(),
        wanted_rate: figures.wanted_rate(),
        arrivals: Some(arrivals),
        good: merged.counts.good,
        latency_us: merged.latency.percentiles(&PERCENTILES),
        service_us: merged.service.percentiles(&PERCENTILES),
        queue_us: merged.queue.percentiles(&PERCENTILES),
        busy_max: figures.busy_max,
        send_lag_p99_ns: lag.percentile(99.0).unwrap_or(0),
        errors: merged.error_count() + arrivals.dropped,
        connections_open: figures.connections(),
        users_active: figures.users(),
        bytes_received: merged.counts.bytes_received,
    }
}
