//! `latency` and `slow_close`.

use std::time::Duration;

use tokio::time::Instant;

use super::behaviour::{Behaviour, Queue, Step};
use super::{Attributes, Latency, SlowClose};
use crate::draw::Draws;

/// Chunks that may be under way at a time, as in Toxiproxy: with the largest chunks 32 MiB.
const UNDER_WAY: usize = 1_024;

/// Holds each chunk until its time has come; order is kept, so a chunk never overtakes one with a longer delay.
#[derive(Debug)]
pub(super) struct Delays {
    latency: Latency,
    /// Of the oldest chunk: when it leaves.
    due: Option<Instant>,
}

impl Delays {
    pub(super) const fn new(latency: Latency) -> Self {
        Self { latency, due: None }
    }

    fn delay(&self, draws: &mut Draws) -> Duration {
        let [latency, jitter] = [self.latency.latency, self.latency.jitter].map(u64::cast_signed);
        let millis = draws.between(latency - jitter, latency + jitter);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }
}

impl Behaviour for Delays {
    fn step(&mut self, now: Instant, input: &mut Queue, room: bool, draws: &mut Draws) -> Step {
        let Some(oldest) = input.front() else {
            return input.ended().map_or(Step::Idle, Step::End);
        };
        let received = oldest.at;
        let due = match self.due {
            Some(due) => due,
            // The time that it waited in line is part of its delay.
            None => *self.due.insert(received + self.delay(draws)),
        };
        if now < due {
            return Step::Wait(due);
        }
        if !room {
            return Step::Idle;
        }
        self.due = None;
        match input.pop() {
            Some(mut chunk) => {
                chunk.at = due;
                Step::Act(chunk)
            }
            None => Step::Idle,
        }
    }

    fn capacity(&self) -> usize {
        UNDER_WAY
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::Latency(latency) = attributes {
            self.latency = latency.clone();
            self.due = None;
        }
    }
}

/// Holds the end of the stream.
#[derive(Debug)]
pub(super) struct SlowEnd {
    slow: SlowClose,
    due: Option<Instant>,
}

impl SlowEnd {
    pub(super) const fn new(slow: SlowClose) -> Self {
        Self { slow, due: None }
    }
}

impl Behaviour for SlowEnd {
    fn step(&mut self, now: Instant, input: &mut Queue, room: bool, _draws: &mut Draws) -> Step {
        if room && let Some(chunk) = input.pop() {
            return Step::Pass(chunk);
        }
        let Some(end) = input.ended() else { return Step::Idle };
        let due = *self.due.get_or_insert_with(|| now + Duration::from_millis(self.slow.delay));
        if now < due { Step::Wait(due) } else { Step::End(end) }
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::SlowClose(slow) = attributes {
            self.slow = slow.clone();
            self.due = None;
        }
    }
}
