//! One phase as control follows it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bus::Replier;
use protocol::v1;

use crate::schedule::Timeline;

/// A phase from its command to the next.
pub(super) struct Running {
    pub(super) index: u32,
    pub(super) t0: Instant,
    pub(super) ending: bool,
    /// It began to end before it was told to, because nothing was heard of the scheduler.
    pub(super) alone: bool,
    /// The last batch is durable.
    pub(super) over: bool,
    /// The worker's whole schedule, for what was wanted.
    pub(super) wanted: Timeline,
    /// Intervals of the phase that had begun at the last flip.
    pub(super) ticks: u32,
    pub(super) merged: u32,
    pub(super) ended: BTreeSet<u32>,
    /// Epoch of the latest segment that was assigned in this phase; 0 = none was.
    pub(super) assigned: u32,
    /// Offset from which on the latest assignment gives it nothing; none = it has something, or nothing was assigned.
    pub(super) nothing_from_ns: Option<u64>,
    /// The lease ended, and no segment was assigned since.
    pub(super) cut_off: bool,
    /// What each thread may have at most.
    pub(super) capacity: Vec<u32>,
    /// What the threads say they counted, and what came out of the spool.
    pub(super) said: v1::ArrivalCounts,
    pub(super) totals: v1::ArrivalCounts,
    pub(super) last_sequence: u64,
    /// Number of the latest change that was taken.
    pub(super) changes: u32,
    pub(super) waiting: Vec<Replier<v1::EndPhase>>,
}

impl Running {
    pub(super) fn summary(&self) -> v1::PhaseEnded {
        v1::PhaseEnded { arrivals: Some(self.totals), last_sequence: self.last_sequence, alone: self.alone }
    }

    /// The last batch is durable.
    pub(super) fn close(&mut self) {
        self.over = true;
        let (said, counted) = (flows(&self.said), flows(&self.totals));
        if said != counted {
            // Both are kept apart to find just this.
            tracing::error!(
                phase = self.index,
                ?said,
                ?counted,
                "load threads and spool disagree: this is a bug, report it"
            );
        }
        for replier in std::mem::take(&mut self.waiting) {
            replier.reply(Ok(self.summary()));
        }
    }

    /// When others begin with what was this worker's, if it was told that it has nothing from then on.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        Some(self.t0 + Duration::from_nanos(self.nothing_from_ns?))
    }

    /// Intervals of the phase that have passed.
    pub(super) fn ticks_at(&self, now: Instant, interval: Duration) -> u32 {
        let passed = now.saturating_duration_since(self.t0).as_nanos() / interval.as_nanos().max(1);
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}

/// The phase of this index, as long as it is not over.
pub(super) fn running(phase: &mut Option<Running>, index: u32) -> Result<&mut Running, String> {
    match phase {
        Some(phase) if phase.index == index && !phase.over => Ok(phase),
        _ => Err(format!("phase {index} is not running")),
    }
}

pub(super) fn add(sum: &mut v1::ArrivalCounts, part: &v1::ArrivalCounts) {
    sum.scheduled += part.scheduled;
    sum.dropped += part.dropped;
    sum.dropped_by_generator += part.dropped_by_generator;
    sum.waiting += part.waiting;
    sum.started += part.started;
    sum.answered += part.answered;
    sum.failed += part.failed;
    sum.cancelled += part.cancelled;
    sum.in_flight += part.in_flight;
}

/// What only grows.
const fn flows(counts: &v1::ArrivalCounts) -> [u64; 7] {
    let c = counts;
    [c.scheduled, c.dropped, c.dropped_by_generator, c.started, c.answered, c.failed, c.cancelled]
}
