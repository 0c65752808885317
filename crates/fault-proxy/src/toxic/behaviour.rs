//! What a toxic is within one direction of one connection: a machine without clock or socket, which is asked for its next
//! step as long as it has one.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::Attributes;
use crate::draw::Draws;

/// Bytes that came together.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) data: Bytes,
    /// When they were received; delays move it on, so that several of them add up.
    pub(crate) at: Instant,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The sender has nothing more to say; the other direction goes on.
    Eof,
    /// The sender's connection broke.
    Broken,
    /// A toxic closes the connection.
    Cut,
    /// A toxic resets the connection.
    Reset,
}

/// Chunks that wait in order, and the end of the stream behind them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    end: Option<End>,
}

impl Queue {
    /// The oldest chunk.
    pub(crate) fn front(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// Takes the oldest chunk.
    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.data.len();
        Some(chunk)
    }

    /// Takes the first bytes of the oldest chunk, or all of it where it has no more.
    pub(crate) fn pop_part(&mut self, most: usize) -> Option<Chunk> {
        match self.chunks.front_mut() {
            Some(front) if front.data.len() > most => {
                self.bytes -= most;
                Some(Chunk { data: front.data.split_to(most), at: front.at })
            }
            _ => self.pop(),
        }
    }

    /// Makes the two oldest chunks one, as old as the older; false = there are no two.
    pub(crate) fn merge(&mut self) -> bool {
        if self.chunks.len() < 2 {
            return false;
        }
        let (Some(first), Some(second)) = (self.chunks.pop_front(), self.chunks.pop_front()) else {
            return false;
        };
        let data = [first.data, second.data].concat().into();
        self.chunks.push_front(Chunk { data, at: first.at });
        true
    }

    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.data.len();
        self.chunks.push_back(chunk);
    }

    /// Nothing comes after what is there; the first end stands.
    pub(crate) fn close(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Set even when there are chunks before it.
    pub(crate) const fn end(&self) -> Option<End> {
        self.end
    }

    /// The end, when it has been reached.
    pub(crate) fn ended(&self) -> Option<End> {
        self.end.filter(|_| self.chunks.is_empty())
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }
}

/// What a toxic does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Hands on a chunk as it came.
    Pass(Chunk),
    /// Hands on a chunk that it did something to.
    Act(Chunk),
    /// Dropped what was there.
    Drop,
    /// Ends the stream, by itself where it is not [`End::Eof`] or [`End::Broken`].
    End(End),
    /// Does nothing before then, unless something comes.
    Wait(Instant),
    /// Does nothing until something comes, or until what follows has room.
    Idle,
}

/// A toxic within one direction of one connection.
pub(crate) trait Behaviour: Send {
    /// The next step. Without `room` no chunk may be handed on.
    fn step(&mut self, now: Instant, input: &mut Queue, room: bool, draws: &mut Draws) -> Step;

    /// Chunks that may wait before it.
    fn capacity(&self) -> usize {
        1
    }

    /// The toxic was changed.
    fn change(&mut self, attributes: &Attributes, now: Instant);

    /// Whether the connection is closed when the toxic is removed; else what it held passes at once.
    fn closes_when_removed(&self) -> bool {
        false
    }
}
