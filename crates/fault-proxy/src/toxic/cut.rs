//! `timeout`, `reset_peer` and `limit_data`: what ends a connection.

use std::time::Duration;

use tokio::time::Instant;

use super::behaviour::{Behaviour, End, Queue, Step};
use super::{Attributes, LimitData, ResetPeer, Timeout};
use crate::draw::Draws;

/// Drops everything, and closes when nothing came for as long as the timeout.
#[derive(Debug)]
pub(super) struct Silence {
    timeout: Timeout,
    due: Option<Instant>,
}

impl Silence {
    pub(super) fn new(timeout: Timeout, now: Instant) -> Self {
        let mut silence = Self { timeout, due: None };
        silence.restart(now);
        silence
    }

    fn restart(&mut self, now: Instant) {
        let timeout = Duration::from_millis(self.timeout.timeout);
        self.due = (!timeout.is_zero()).then(|| now + timeout);
    }
}

impl Behaviour for Silence {
    fn step(&mut self, now: Instant, input: &mut Queue, _room: bool, _draws: &mut Draws) -> Step {
        if input.front().is_some() {
            input.clear();
            self.restart(now);
            return Step::Drop;
        }
        if let Some(end) = input.ended() {
            return Step::End(end);
        }
        match self.due {
            Some(due) if now >= due => Step::End(End::Cut),
            Some(due) => Step::Wait(due),
            None => Step::Idle,
        }
    }

    fn change(&mut self, attributes: &Attributes, now: Instant) {
        if let Attributes::Timeout(timeout) = attributes {
            self.timeout = timeout.clone();
            self.restart(now);
        }
    }

    /// The stream has a hole: nobody may go on with it.
    fn closes_when_removed(&self) -> bool {
        true
    }
}

/// Resets the connection a while after its first data, or its end.
#[derive(Debug)]
pub(super) struct Reset {
    reset: ResetPeer,
    at_open: bool,
    first: Option<Instant>,
}

impl Reset {
    pub(super) const fn new(reset: ResetPeer, at_open: bool) -> Self {
        Self { reset, at_open, first: None }
    }
}

impl Behaviour for Reset {
    fn step(&mut self, now: Instant, input: &mut Queue, _room: bool, _draws: &mut Draws) -> Step {
        if input.front().is_none() && input.end().is_none() {
            return Step::Idle;
        }
        // The data stays where it is until then: if the toxic is removed first, it passes.
        let due = *self.first.get_or_insert(now) + Duration::from_millis(self.reset.timeout);
        if now < due {
            return Step::Wait(due);
        }
        Step::End(if self.at_open || self.reset.established { End::Reset } else { End::Cut })
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::ResetPeer(reset) = attributes {
            self.reset = reset.clone();
        }
    }
}

/// Closes the connection when so many bytes have passed.
#[derive(Debug)]
pub(super) struct Limit {
    limit: LimitData,
    passed: u64,
}

impl Limit {
    pub(super) const fn new(limit: LimitData) -> Self {
        Self { limit, passed: 0 }
    }
}

impl Behaviour for Limit {
    fn step(&mut self, _now: Instant, input: &mut Queue, room: bool, _draws: &mut Draws) -> Step {
        let left = self.limit.bytes.saturating_sub(self.passed);
        let begun = self.passed > 0 || input.front().is_some();
        if left == 0 && begun {
            return Step::End(End::Cut);
        }
        if room && let Some(chunk) = input.pop_part(usize::try_from(left).unwrap_or(usize::MAX)) {
            self.passed += chunk.data.len() as u64;
            return Step::Pass(chunk);
        }
        input.ended().map_or(Step::Idle, Step::End)
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::LimitData(limit) = attributes {
            self.limit = limit.clone();
        }
    }
}
