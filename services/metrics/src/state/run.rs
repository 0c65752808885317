//! One run: its phases and what asks across them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::v1;
use store::RecordKey;

use super::aggregate::{Filter, Stretch};
use super::batch::Decoded;
use super::phase::Phase;

/// Seconds that windows reach back without the store, unless a threshold of the plan asks for more.
const KEEP_ROWS: usize = 120;

/// What a question for an aggregate comes to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The figures.
    Ready(Box<Stretch>),
    /// The window reaches back beyond what is in memory: this phase must be read from the store from this row on.
    FromStore {
        /// The phase.
        phase: u32,
        /// The first row.
        from_row: u64,
    },
}

/// All that samples tell of one run.
#[derive(Debug)]
pub(crate) struct Run {
    phases: BTreeMap<u32, Phase>,
    keep_rows: usize,
    /// Goes up whenever an answer may have changed.
    pub(crate) version: u64,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { phases: BTreeMap::new(), keep_rows: KEEP_ROWS, version: 0 }
    }

    /// Keeps at least so many seconds for windows, from the next phase on.
    pub(crate) fn keep(&mut self, seconds: usize) {
        self.keep_rows = self.keep_rows.max(seconds);
    }

    /// The phase begins: earlier ones are over.
    pub(crate) fn mark(&mut self, phase: u32, t0_unix_ns: i64) {
        self.version += 1;
        self.phases.range_mut(..phase).for_each(|(_, phase)| phase.close());
        self.phase_mut(phase).t0_unix_ns = Some(t0_unix_ns);
    }

    /// Adds a part that was not added before.
    pub(crate) fn add(&mut self, part: &Decoded) {
        self.version += 1;
        self.phase_mut(part.batch.phase).add(part);
    }

    /// Notes a batch that cannot be read.
    pub(crate) fn note_damaged(&mut self, phase: u32, key: &RecordKey, error: &str) {
        self.version += 1;
        let who = super::progress::name(&key.producer, &key.incarnation);
        let text = format!("{who}: batch {} part {} cannot be read: {error}", key.sequence, key.part);
        self.phase_mut(phase).progress.note_damaged(text);
    }

    fn phase_mut(&mut self, index: u32) -> &mut Phase {
        self.phases.entry(index).or_insert_with(|| Phase::new(index, self.keep_rows))
    }

    /// The indices of the phases of which anything is known.
    pub(crate) fn phases(&self) -> Vec<u32> {
        self.phases.keys().copied().collect()
    }

    /// The newest phase.
    pub(crate) fn current(&self) -> Option<(u32, &Phase)> {
        self.phases.last_key_value().map(|(index, phase)| (*index, phase))
    }

    /// When a phase began and when the next one did, Unix nanoseconds.
    pub(crate) fn bounds(&self, phase: u32) -> Option<(i64, i64)> {
        let begin = self.phases.get(&phase)?.t0_unix_ns?;
        let end = self.phases.range(phase + 1..).find_map(|(_, later)| later.t0_unix_ns);
        Some((begin, end.unwrap_or(i64::MAX)))
    }

    /// The figures of a phase or, without one, of all; over the last `window_ns` or, with 0, all of it. A window over
    /// all phases goes on at the end of the phase before where the newest is shorter.
    pub(crate) fn aggregate(&self, phase: Option<u32>, window_ns: u64, filter: &Filter) -> Answer {
        let newest = self.phases.keys().next_back().copied().unwrap_or(0);
        let wanted = phase.map_or(0..=newest, |phase| phase..=phase);
        let mut parts: Vec<Stretch> = Vec::new();
        let mut left = window_ns;
        for (index, data) in self.phases.range(wanted).rev() {
            if window_ns == 0 {
                parts.push(data.whole(filter));
                continue;
            }
            let Some(rows) = data.window(left) else { continue };
            if !data.holds(rows.clone()) {
                return Answer::FromStore { phase: *index, from_row: *rows.start() };
            }
            let part = data.stretch(rows, filter);
            left = left.saturating_sub(part.figures.length_ns());
            parts.push(part);
            // What is left of a window may be the tremble of its ends.
            if left < super::row::SECOND_NS / 2 {
                break;
            }
        }
        let mut parts = parts.into_iter().rev();
        let mut sum = parts.next().unwrap_or_else(|| Stretch::new(phase.unwrap_or(newest)));
        for later in parts {
            sum.append(later);
        }
        Answer::Ready(Box::new(sum))
    }

    /// Puts rows read from the store where they were given back: all that were read, for a window that reaches far, or only
    /// `stale` ones, which got parts too late.
    pub(crate) fn restore(
        &mut self,
        phase: u32,
        samples: Vec<(RecordKey, v1::SampleBatch)>,
        stale: Option<&BTreeSet<u64>>,
    ) {
        self.version += 1;
        let mut made = Phase::new(phase, usize::MAX);
        for part in samples.into_iter().filter_map(|(key, batch)| Decoded::new(key, batch).ok()) {
            made.add(&part);
        }
        let data = self.phase_mut(phase);
        match stale {
            Some(wanted) => data.replace_rows(made, wanted),
            None => data.keep_rows(made),
        }
    }

    /// Which rows of a phase must be read anew.
    pub(crate) fn take_stale(&mut self, phase: u32) -> BTreeSet<u64> {
        self.phases.get_mut(&phase).map(Phase::take_stale).unwrap_or_default()
    }

    /// Everything of a phase.
    pub(crate) fn series(&mut self, phase: u32, run: &[u8]) -> Option<v1::PhaseSeries> {
        self.phases.get_mut(&phase).map(|data| data.series(run))
    }
}
