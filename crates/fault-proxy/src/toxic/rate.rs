//! `bandwidth` and `slicer`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::behaviour::{Behaviour, Queue, Step};
use super::{Attributes, Bandwidth, Slicer};
use crate::draw::Draws;

/// What is sent at a time when a chunk takes longer.
const SLICE: Duration = Duration::from_millis(100);

/// Holds each chunk as long as its bytes take at the rate; longer than 100 ms, it leaves in parts.
#[derive(Debug)]
pub(super) struct Pace {
    bandwidth: Bandwidth,
    /// The part that leaves next.
    next: Option<Part>,
    /// How late the last part left: timers are, and the next one makes up for it.
    late: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    bytes: usize,
    due: Instant,
    /// Its lateness is known.
    seen: bool,
}

impl Pace {
    pub(super) const fn new(bandwidth: Bandwidth) -> Self {
        Self { bandwidth, next: None, late: Duration::ZERO }
    }

    fn part(&mut self, now: Instant, chunk: usize) -> Part {
        let at_most = usize::try_from(self.bandwidth.rate * 100).unwrap_or(usize::MAX);
        let bytes = chunk.min(at_most);
        let whole = if bytes < chunk {
            SLICE
        } else {
            #[expect(clippy::cast_precision_loss, reason = "a part is at most a chunk")]
            let seconds = bytes as f64 / (self.bandwidth.rate as f64 * 1_000.0);
            Duration::from_secs_f64(seconds)
        };
        let made_up = self.late.min(whole);
        self.late -= made_up;
        Part { bytes, due: now + (whole - made_up), seen: false }
    }
}

impl Behaviour for Pace {
    fn step(&mut self, now: Instant, input: &mut Queue, room: bool, _draws: &mut Draws) -> Step {
        let Some(oldest) = input.front() else {
            // Idle time earns no credit beyond one timer's error.
            return input.ended().map_or(Step::Idle, Step::End);
        };
        if self.bandwidth.rate == 0 {
            return Step::Idle;
        }
        let mut part = match self.next {
            Some(part) => part,
            None => self.part(now, oldest.data.len()),
        };
        if now >= part.due && !part.seen {
            self.late += now - part.due;
            part.seen = true;
        }
        self.next = Some(part);
        if now < part.due {
            return Step::Wait(part.due);
        }
        if !room {
            return Step::Idle;
        }
        self.next = None;
        input.pop_part(part.bytes).map_or(Step::Idle, Step::Act)
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::Bandwidth(bandwidth) = attributes {
            self.bandwidth = bandwidth.clone();
            self.next = None;
        }
    }
}

/// Hands on chunks in slices, each its own write.
#[derive(Debug)]
pub(super) struct Slices {
    slicer: Slicer,
    /// Bytes of the slices of the oldest chunk that are still to be sent.
    sizes: VecDeque<usize>,
    /// When the next one may leave.
    not_before: Option<Instant>,
}

impl Slices {
    pub(super) const fn new(slicer: Slicer) -> Self {
        Self { slicer, sizes: VecDeque::new(), not_before: None }
    }

    /// Cuts in two at about the middle until the parts are as large as wanted, so that sizes vary evenly. Not recursive:
    /// what is still to be cut stands in a list.
    fn cut(&mut self, bytes: usize, draws: &mut Draws) {
        let average = usize::try_from(self.slicer.average_size).unwrap_or(usize::MAX);
        let variation = usize::try_from(self.slicer.size_variation).unwrap_or(usize::MAX);
        let mut left = vec![bytes];
        while let Some(size) = left.pop() {
            if size <= average.saturating_add(variation) {
                self.sizes.push_back(size);
                continue;
            }
            let vary = i64::try_from(variation).unwrap_or(i64::MAX);
            let middle = i64::try_from(size / 2).unwrap_or(i64::MAX) + draws.between(-vary, vary);
            let first = usize::try_from(middle).unwrap_or(1).clamp(1, size - 1);
            left.extend([size - first, first]);
        }
    }
}

impl Behaviour for Slices {
    fn step(&mut self, now: Instant, input: &mut Queue, room: bool, draws: &mut Draws) -> Step {
        if let Some(not_before) = self.not_before {
            if now < not_before {
                return Step::Wait(not_before);
            }
            self.not_before = None;
        }
        let Some(oldest) = input.front() else {
            return input.ended().map_or(Step::Idle, Step::End);
        };
        if !room {
            return Step::Idle;
        }
        let whole = oldest.data.len();
        if self.sizes.is_empty() {
            self.cut(whole, draws);
        }
        let Some(size) = self.sizes.pop_front() else { return Step::Idle };
        if self.slicer.delay > 0 {
            self.not_before = Some(now + Duration::from_micros(self.slicer.delay));
        }
        let Some(chunk) = input.pop_part(size) else { return Step::Idle };
        if size < whole { Step::Act(chunk) } else { Step::Pass(chunk) }
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::Slicer(slicer) = attributes {
            self.slicer = slicer.clone();
            // What is left of the oldest chunk is cut anew.
            self.sizes.clear();
            self.not_before = None;
        }
    }
}
