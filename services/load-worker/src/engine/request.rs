//! A request from the guest's word to its end, and the operation it belongs to.

use protocol::failure::FailureClass;
use sandbox::abi;

use super::answer::Stream;
use super::expect::Found;
use super::slots::Key;
use crate::io::coding::Decoder;

/// Buffers larger than this are not kept for the next use of a place.
const KEEP: usize = 64 * 1024;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Not before its delay is over.
    #[default]
    Delayed,
    /// In its target's queue, or waiting for its user's own connection.
    Queued,
    /// A connection is being made for it.
    Connecting(Key),
    /// Sent, or being sent, on this transport.
    Sent(Key),
    /// Over; the guest may not have heard of it.
    Ended,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Outcome {
    Answered,
    Failed(FailureClass),
    #[default]
    Cancelled,
}

/// One request. Its place, and with it its buffers, are used again.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) scenario: u32,
    pub(super) user: u32,
    pub(super) seq: u32,
    pub(super) step: u32,
    pub(super) series: u32,
    /// Index of the target on this thread.
    pub(super) target: u32,
    pub(super) method: u32,
    pub(super) attempt: u32,
    pub(super) connection: Option<abi::Connection>,
    pub(super) sees: Sees,
    pub(super) operation: Option<Key>,
    pub(super) next: Option<Key>,
    pub(super) stage: Stage,
    /// Which of several endpoints it goes to, where that is drawn.
    pub(super) draw: u64,
    /// The endpoint that it was sent to, or that it waits for a connection to.
    pub(super) endpoint: Option<u32>,
    /// In HTTP/2: its lane on the transport that it is sent on.
    pub(super) lane: u32,
    pub(super) outcome: Outcome,
    /// Sent a second time because a stale connection had swallowed it.
    pub(super) resent: bool,
    /// Path, headers and body, one behind the other.
    pub(super) data: Vec<u8>,
    pub(super) path_end: usize,
    pub(super) headers_end: usize,
    pub(super) timeout: u64,
    pub(super) intended: u64,
    pub(super) taken: u64,
    /// Not before `taken`.
    pub(super) ready: u64,
    /// First write; 0 = not yet.
    pub(super) sent: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) status: u16,
    pub(super) received: u64,
    pub(super) good: bool,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) found: Found,
    /// Made when the place's first stream comes, and kept.
    pub(super) stream: Option<Box<Stream>>,
    /// Of a body that is coded and that somebody looks into.
    pub(super) decoder: Option<Box<Decoder>>,
}

/// What of the answer the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sees {
    /// It hears of the end.
    pub(super) end: bool,
    pub(super) head: bool,
    pub(super) body: bool,
    /// It hears of each event of a stream.
    pub(super) events: bool,
    /// It hears at the end how many events there were.
    summary: bool,
}

impl Sees {
    pub(super) fn new(interest: abi::Interest) -> Self {
        Self {
            end: interest != abi::Interest::empty(),
            head: interest.contains(abi::Interest::HEAD),
            body: interest.contains(abi::Interest::BODY),
            events: interest.contains(abi::Interest::EVENTS),
            summary: interest.contains(abi::Interest::STREAM_SUMMARY),
        }
    }

    /// Whether a stream's events are to be read.
    pub(super) const fn events_or_summary(self) -> bool {
        self.events || self.summary
    }
}

impl Request {
    /// Makes a used place ready for another request.
    pub(super) fn clear(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        let mut head = std::mem::take(&mut self.head);
        let mut body = std::mem::take(&mut self.body);
        let mut found = std::mem::take(&mut self.found);
        for buffer in [&mut data, &mut head, &mut body] {
            buffer.clear();
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
        found.clear();
        let mut stream = self.stream.take();
        if let Some(stream) = &mut stream {
            stream.clear();
        }
        *self = Self { data, head, body, found, stream, ..Self::default() };
    }

    /// Forgets what came of an answer.
    pub(super) fn forget_answer(&mut self) {
        self.head.clear();
        self.body.clear();
        self.found.clear();
        self.status = 0;
        self.first = 0;
        self.received = 0;
        self.decoder = None;
        if let Some(stream) = &mut self.stream {
            stream.clear();
        }
    }

    pub(super) fn path(&self) -> &[u8] {
        self.data.get(..self.path_end).unwrap_or(&[])
    }

    pub(super) fn headers(&self) -> &[u8] {
        self.data.get(self.path_end..self.headers_end).unwrap_or(&[])
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.data.get(self.headers_end..).unwrap_or(&[])
    }

    /// How long it waited for a user and a connection, nanoseconds.
    pub(super) const fn queue(&self) -> u64 {
        self.ready.saturating_sub(self.taken)
    }

    /// What the generator is to blame for in a send at this time, nanoseconds: that the arrival was taken late, and
    /// that it was not sent as soon as it could be.
    pub(super) const fn send_lag(&self, sent: u64) -> u64 {
        self.taken.saturating_sub(self.intended) + sent.saturating_sub(self.ready)
    }

    /// From the actual send to the last byte, microseconds.
    pub(super) fn service_us(&self) -> u64 {
        micros(self.last, self.sent)
    }
}

/// From `begin` to `end` in microseconds.
pub(super) fn micros(end: u64, begin: u64) -> u64 {
    end.saturating_sub(begin) / 1_000
}

/// One measured operation: a request, or several of one turn.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// The guest's number; 0 = a request that is an operation of its own.
    pub(super) number: u32,
    pub(super) scenario: u32,
    pub(super) user: u32,
    pub(super) next: Option<Key>,
    pub(super) series: u32,
    pub(super) intended: u64,
    /// The three of its first request: nanoseconds in the queue, and two times; all are 0 until it was sent.
    pub(super) queue: u64,
    pub(super) sent: u64,
    pub(super) first: u64,
    /// Requests that are not settled.
    pub(super) live: u32,
    /// The call in which the guest was told of the latest that is.
    pub(super) settled_in: u64,
    pub(super) last: u64,
    pub(super) status: u16,
    pub(super) failure: Option<FailureClass>,
    pub(super) received: u64,
    pub(super) good: bool,
}
