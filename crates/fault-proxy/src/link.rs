//! One direction of one connection: toxics in a row, each with what waits before it, then what is ready to be sent.
//!
//! A link has neither clock nor socket: it is told the time, handed what was received, and asked what to send and when to
//! be asked again. Nothing is locked and nobody waits for it: a change of the toxics is taken over by whoever drives it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::draw::{Draws, Identity};
use crate::toxic::behaviour::{Behaviour, Chunk, End, Queue, Step};
use crate::toxic::{Direction, Toxic};

/// The largest chunk, where there are toxics: what they delay, drop and count at a time. As in Toxiproxy.
pub(crate) const CHUNK: usize = 32 << 10;

/// What may be ready to be sent, in bytes and in chunks, before the last toxic is held up.
const READY: (usize, usize) = (64 << 10, 64);

/// One direction of a connection.
pub(crate) struct Link {
    identity: Identity,
    direction: Direction,
    stages: Vec<Stage>,
    ready: Queue,
    /// A toxic has ended the stream: nothing more is taken in.
    cut: bool,
    /// The source has ended.
    ended: bool,
    budget: Budget,
    accounted: usize,
}

struct Stage {
    toxic: Arc<Toxic>,
    behaviour: Box<dyn Behaviour>,
    queue: Queue,
    draws: Draws,
    ended: bool,
}

impl Link {
    /// Of a connection that was just opened, with the toxics that are there already.
    pub(crate) fn new(
        identity: Identity,
        direction: Direction,
        toxics: &[Arc<Toxic>],
        budget: Budget,
        now: Instant,
    ) -> Self {
        let mut link = Self {
            identity,
            direction,
            stages: Vec::new(),
            ready: Queue::default(),
            cut: false,
            ended: false,
            budget,
            accounted: 0,
        };
        link.change(toxics, true, now);
        link
    }

    /// Takes over another list of toxics. What a removed one held passes at once, to those after it.
    pub(crate) fn adopt(&mut self, toxics: &[Arc<Toxic>], now: Instant) {
        self.change(toxics, false, now);
    }

    fn change(&mut self, toxics: &[Arc<Toxic>], at_open: bool, now: Instant) {
        let mine: Vec<&Arc<Toxic>> = toxics.iter().filter(|toxic| self.is_hit_by(toxic)).collect();
        // The last first: what it holds is older than what those before it hold.
        for index in (0..self.stages.len()).rev() {
            if !mine.iter().any(|toxic| toxic.id == self.stages[index].toxic.id) {
                self.remove(index);
            }
        }
        for (index, toxic) in mine.into_iter().enumerate() {
            match self.stages.get_mut(index).filter(|stage| stage.toxic.id == toxic.id) {
                Some(stage) if stage.toxic.revision != toxic.revision => {
                    stage.behaviour.change(&toxic.attributes, now);
                    stage.toxic = Arc::clone(toxic);
                }
                Some(_) => {}
                None => {
                    let stage = Stage::new(toxic, &self.identity, self.direction, at_open, now);
                    self.stages.insert(index, stage);
                }
            }
        }
        self.account();
    }

    fn is_hit_by(&self, toxic: &Toxic) -> bool {
        toxic.stream.covers(self.direction) && self.identity.is_hit_by(toxic)
    }

    fn remove(&mut self, index: usize) {
        let mut stage = self.stages.remove(index);
        if stage.ended {
            return;
        }
        let closes = stage.behaviour.closes_when_removed();
        let end = if closes { Some(End::Cut) } else { stage.queue.end() };
        self.cut |= closes;
        let next = self.stages.get_mut(index).map_or(&mut self.ready, |next| &mut next.queue);
        while let Some(chunk) = stage.queue.pop() {
            next.push(chunk);
        }
        if let Some(end) = end {
            next.close(end);
        }
    }

    /// Nothing is done to the bytes and none wait: what comes may be sent as it is.
    pub(crate) fn is_clear(&self) -> bool {
        self.stages.is_empty() && self.ready.len() == 0
    }

    /// Whether there are toxics.
    pub(crate) fn has_toxics(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Whether it takes in more. When all connections together hold too much, each still takes in what it needs to go on: its own
    /// progress is what makes it ask again.
    pub(crate) fn wants_more(&self) -> bool {
        let room = self.stages.first().map_or_else(|| ready_has_room(&self.ready), Stage::has_room);
        room && !self.cut && !self.ended && (self.accounted < CHUNK || self.budget.has_room())
    }

    /// Takes in what was received.
    pub(crate) fn push(&mut self, data: Bytes, now: Instant) {
        let chunk = Chunk { data, at: now };
        self.stages.first_mut().map_or(&mut self.ready, |first| &mut first.queue).push(chunk);
        self.account();
    }

    /// The source has ended.
    pub(crate) fn close(&mut self, end: End) {
        self.ended = true;
        self.stages.first_mut().map_or(&mut self.ready, |first| &mut first.queue).close(end);
    }

    /// Lets the toxics do all that they can do now; when to ask again at the latest, unless something comes.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Instant> {
        let again = loop {
            let (moved, again) = self.pass(now);
            if !moved {
                break again;
            }
        };
        self.account();
        again
    }

    /// One look at each toxic, the last first, so that it has made room for those before it.
    fn pass(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let (mut moved, mut again) = (false, None::<Instant>);
        for index in (0..self.stages.len()).rev() {
            let (before, after) = self.stages.split_at_mut(index + 1);
            let Some(stage) = before.last_mut() else { continue };
            let mut next = after.first_mut();
            while !stage.ended {
                let room = next.as_deref().map_or_else(|| ready_has_room(&self.ready), Stage::has_room);
                let step = stage.behaviour.step(now, &mut stage.queue, room, &mut stage.draws);
                let to = next.as_deref_mut().map_or(&mut self.ready, |next| &mut next.queue);
                match step {
                    Step::Pass(chunk) => to.push(chunk),
                    Step::Act(chunk) => {
                        stage.acted();
                        to.push(chunk);
                    }
                    Step::Drop => stage.acted(),
                    Step::End(end) => {
                        to.close(end);
                        stage.end(end);
                        self.cut |= matches!(end, End::Cut | End::Reset);
                    }
                    Step::Wait(until) => {
                        again = Some(again.map_or(until, |earlier| earlier.min(until)));
                        break;
                    }
                    Step::Idle => break,
                }
                moved = true;
            }
        }
        (moved, again)
    }

    /// What is to be sent next; each chunk is a write of its own.
    pub(crate) fn front(&self) -> Option<&Bytes> {
        self.ready.front().map(|chunk| &chunk.data)
    }

    /// So many bytes of it were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.ready.pop_part(bytes);
        self.account();
    }

    /// Nobody is there to send to.
    pub(crate) fn discard(&mut self) {
        self.cut = true;
        self.stages.clear();
        self.ready.clear();
        self.account();
    }

    /// How the stream has ended, once all is sent.
    pub(crate) fn finished(&self) -> Option<End> {
        self.ready.ended()
    }

    fn account(&mut self) {
        let held = self.ready.bytes() + self.stages.iter().map(|stage| stage.queue.bytes()).sum::<usize>();
        self.budget.account(self.accounted, held);
        self.accounted = held;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.budget.account(self.accounted, 0);
    }
}

impl Stage {
    fn new(
        toxic: &Arc<Toxic>,
        identity: &Identity,
        direction: Direction,
        at_open: bool,
        now: Instant,
    ) -> Self {
        toxic.counters.links.fetch_add(1, Ordering::Relaxed);
        Self {
            toxic: Arc::clone(toxic),
            behaviour: toxic.attributes.behaviour(at_open, now),
            queue: Queue::default(),
            draws: identity.draws(&toxic.name, direction),
            ended: false,
        }
    }

    fn has_room(&self) -> bool {
        !self.ended && self.queue.len() < self.behaviour.capacity()
    }

    fn acted(&self) {
        self.toxic.counters.effects.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&mut self, end: End) {
        if matches!(end, End::Cut | End::Reset) && self.queue.end() != Some(end) {
            self.acted();
        }
        self.ended = true;
        self.queue.clear();
    }
}

fn ready_has_room(ready: &Queue) -> bool {
    ready.bytes() < READY.0 && ready.len() < READY.1
}

#[cfg(test)]
mod tests;
