//! From sums to the message that others read.

use protocol::v1;
use series::{Hist, Merged};

use super::batch::SeriesKey;
use super::row::Figures;

/// Which series of a stretch are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filter {
    pub(crate) scenario: Option<u32>,
    pub(crate) step: Option<u32>,
    pub(crate) target: Option<u32>,
}

impl Filter {
    /// Asks for everything.
    pub(crate) const fn is_all(&self) -> bool {
        self.scenario.is_none() && self.step.is_none() && self.target.is_none()
    }

    pub(crate) fn takes(&self, key: SeriesKey) -> bool {
        self.scenario.is_none_or(|scenario| scenario == key.scenario)
            && self.step.is_none_or(|step| step == key.step)
            && self.target.is_none_or(|target| target == key.target)
    }

    /// Whether an arrival that was dropped for `key` counts: the step and target of an arrival that never began
    /// are not known, so it counts for all of its scenario's.
    fn takes_dropped(&self, key: SeriesKey) -> bool {
        self.scenario.is_none_or(|scenario| scenario == key.scenario)
    }
}

/// A stretch of a run, summed up.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) phase: u32,
    pub(crate) figures: Figures,
    pub(crate) merged: Merged,
    pub(crate) lag: Hist,
    /// Drops of the series that the filter takes.
    dropped: u64,
    /// Drops of all series.
    dropped_of_all: u64,
    /// Load time covered, when it is the sum of several phases'.
    pub(crate) length_ns: Option<u64>,
}

impl Stretch {
    pub(crate) fn new(phase: u32) -> Self {
        Self {
            phase,
            figures: Figures::default(),
            merged: Merged::new(),
            lag: Hist::nanos(),
            dropped: 0,
            dropped_of_all: 0,
            length_ns: None,
        }
    }

    /// Notes drops that a series counted.
    pub(crate) fn note_dropped(&mut self, filter: &Filter, key: SeriesKey, dropped: u64) {
        self.dropped_of_all += dropped;
        if filter.takes_dropped(key) {
            self.dropped += dropped;
        }
    }

    /// Adds a stretch of a later phase: lengths add up, the state at the end is the later one's.
    pub(crate) fn append(&mut self, later: Self) {
        let length = self.length_ns() + later.length_ns();
        self.phase = later.phase;
        self.figures.gauges.clear();
        self.figures.extend(&later.figures);
        self.merged.absorb(later.merged);
        self.lag.absorb(later.lag);
        self.dropped += later.dropped;
        self.dropped_of_all += later.dropped_of_all;
        self.length_ns = Some(length);
    }

    fn length_ns(&self) -> u64 {
        self.length_ns.unwrap_or_else(|| self.figures.length_ns())
    }

    /// As a message. Filtered, `arrivals` has the operations of the series and the drops of the scenario (with
    /// those that no series claims), and a wanted rate only when `share` says which share of arrivals the
    /// filter takes.
    pub(crate) fn into_proto(self, run: &[u8], filter: &Filter, share: Option<f64>) -> v1::Aggregate {
        let (from, to) = match (self.length_ns, self.figures.covered) {
            (Some(length), _) => (0, length),
            (None, Some(covered)) => covered,
            (None, None) => (0, 0),
        };
        let seconds = (to - from) as f64 / 1e9;
        let wanted_rate = if seconds > 0.0 { self.figures.wanted / seconds } else { 0.0 };
        let mut arrivals = self.figures.arrivals();
        if !filter.is_all() {
            let unclaimed = arrivals.dropped.saturating_sub(self.dropped_of_all);
            let counts = &self.merged.counts;
            arrivals = v1::ArrivalCounts {
                scheduled: counts.started + self.dropped + unclaimed,
                dropped: self.dropped + unclaimed,
                dropped_by_generator: 0,
                waiting: 0,
                started: counts.started,
                answered: counts.answered,
                failed: counts.failed,
                cancelled: counts.cancelled,
                in_flight: counts.started.saturating_sub(counts.answered + counts.failed + counts.cancelled),
            };
        }
        v1::Aggregate {
            run: run.to_vec(),
            phase: self.phase,
            from_offset_ns: from,
            to_offset_ns: to,
            wanted_rate: if filter.is_all() { wanted_rate } else { wanted_rate * share.unwrap_or(0.0) },
            arrivals: Some(arrivals),
            total: Some(self.merged.to_proto(0, 0, 0)),
            busy_max: self.figures.busy_max,
            send_lag: Some(self.lag.encode()),
            connections_open: self.figures.connections(),
            users_active: self.figures.users(),
        }
    }
}
