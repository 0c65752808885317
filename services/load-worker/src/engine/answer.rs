//! An answer as it is read: what the checks need, what the guest asked to see, and the events of a stream.
//!
//! A body that is coded (`Content-Encoding`) is decoded only when the guest or a check looks into it; else it is passed
//! over as it came. Bytes are counted as they came either way. A coding that is not known is shown as it came.
//!
//! # Streams
//! An answer is a **stream** when its type is `text/event-stream` and the request has interest in events or in their
//! summary. With interest in events the guest is told of each when the empty line behind it was read; events that came
//! with one read have one time, and are told in order with the next call. Nothing is read ahead of the guest: a stream
//! that has brought [`HAND_OVER`] bytes is left in its socket until the guest was called, so a guest or a thread that is
//! slower than a target slows the target down, as TCP does, and memory stays bounded.

use protocol::failure::FailureClass;
use sandbox::abi;

use super::clock::Clock;
use super::expect::Expectations;
use super::request::Request;
use super::thread::LoadThread;
use super::told;
use crate::io::coding::{Coding, Decoder};
use crate::io::http1::{KnownHead, Sink};
use crate::io::sse::EventStream;

/// Bytes of a stream's body after which the guest is called before more is read; the last of them may come with a read
/// of as many more.
pub(super) const HAND_OVER: usize = 64 * 1024;

/// Bytes of a stream that one read may unpack to; more is a bomb.
const UNPACKED: usize = 2 * 1024 * 1024;

/// Completions, and bytes that go with them, that a guest is told at once without another socket being read before.
const CROWD: usize = 4096;
const CROWDED_ARENA: usize = 1024 * 1024;

/// Of a stream's buffers so much is kept for the next use of the request's place.
const KEEP: usize = 4 * 1024;

/// The stream that an answer is, if it is one.
#[derive(Debug, Default)]
pub(super) struct Stream {
    parser: EventStream,
    /// The answer under way is a stream.
    open: bool,
    /// So far.
    pub(super) events: u32,
    /// When the first came; 0 = not yet.
    pub(super) first_event: u64,
}

impl Stream {
    /// Makes it ready for another answer.
    pub(super) fn clear(&mut self) {
        self.parser.clear(KEEP);
        self.open = false;
        self.events = 0;
        self.first_event = 0;
    }
}

/// What is read at most of an answer that somebody looks into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of a body that the guest sees.
    pub(super) body_limit: usize,
    /// Bytes of a server-sent event.
    pub(super) max_event: usize,
    /// Bytes of a body after decoding.
    pub(super) max_body: u64,
}

/// Takes an answer as it is parsed.
pub(super) struct AnswerSink<'a> {
    pub(super) request: &'a mut Request,
    expectations: &'a Expectations,
    /// What the guest is told next.
    done: &'a mut Vec<abi::Completion>,
    arena: &'a mut Vec<u8>,
    bounds: Bounds,
    /// The latest head that was read for anybody.
    known: Option<&'a mut KnownHead>,
    clock: Clock,
    /// When the socket was reported readable: the time of the first byte.
    begin: u64,
    /// When the latest read returned; 0 = nobody has asked.
    read_at: u64,
    /// Bytes of streams since the guest was called.
    streamed: usize,
    refused: Option<FailureClass>,
}

impl<'a> AnswerSink<'a> {
    pub(super) const fn new(
        request: &'a mut Request,
        expectations: &'a Expectations,
        done: &'a mut Vec<abi::Completion>,
        arena: &'a mut Vec<u8>,
        bounds: Bounds,
        clock: Clock,
        begin: u64,
    ) -> Self {
        let (known, read_at, streamed, refused) = (None, 0, 0, None);
        Self { request, expectations, done, arena, bounds, known, clock, begin, read_at, streamed, refused }
    }

    /// Has a head that is the latest one once more taken for what that was, if nobody looks at its fields.
    pub(super) fn knowing(mut self, known: &'a mut KnownHead) -> Self {
        self.known = (!self.reads_fields()).then_some(known);
        self
    }

    /// Takes it that what comes was read at this time, so that nobody has to ask the clock.
    pub(super) const fn read_at(mut self, at: u64) -> Self {
        self.read_at = at;
        self
    }

    /// Whether the guest has so much to be told that it is called before another socket is read.
    pub(super) const fn is_crowd(&self) -> bool {
        self.done.len() > CROWD || self.arena.len() > CROWDED_ARENA
    }

    /// Bytes of a stream of which its guest is told by this sink.
    pub(super) const fn streamed(&self) -> usize {
        self.streamed
    }

    /// Whether anything of the head's fields is looked at.
    pub(super) fn reads_fields(&self) -> bool {
        let Self { request, expectations, .. } = self;
        let step = request.step;
        request.sees.body
            || request.sees.events_or_summary()
            || expectations.reads_fields(step)
            || expectations.looks_into_body(step)
    }

    /// Takes a stretch of the body, decoded.
    fn look(&mut self, data: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        let request = &mut *self.request;
        if request.sees.body {
            let room = self.bounds.body_limit.saturating_sub(request.body.len());
            request.body.extend_from_slice(&data[..data.len().min(room)]);
        }
        self.expectations.body(request.step, data, &mut request.found);
        if request.sees.events_or_summary() {
            self.events(data);
        }
    }

    fn events(&mut self, data: &[u8]) {
        // Out of the request while it is told of.
        let Some(mut stream) = self.request.stream.take() else { return };
        if stream.open {
            if self.read_at == 0 {
                self.read_at = self.clock.now();
            }
            self.stream(&mut stream, data);
        }
        self.request.stream = Some(stream);
    }

    fn stream(&mut self, stream: &mut Stream, data: &[u8]) {
        let (at, limit) = (self.read_at, self.bounds.body_limit);
        let Stream { parser, events, first_event, .. } = stream;
        let (request, done, arena) = (&*self.request, &mut *self.done, &mut *self.arena);
        let tell = request.sees.events;
        if tell {
            self.streamed += data.len();
        }
        let fed = parser.feed(data, self.bounds.max_event, |event| {
            *events = events.saturating_add(1);
            if *first_event == 0 {
                *first_event = at;
            }
            if tell {
                done.push(told::event(request, (*events, *first_event), &event, at, limit, arena));
            }
        });
        // What a read has unpacked to cannot be left in the socket.
        if fed.is_err() || self.streamed > UNPACKED {
            self.refused = Some(FailureClass::TooLarge);
        }
    }
}

impl Sink for AnswerSink<'_> {
    fn head(&mut self, status: u16, head: &[u8], fields: &[httparse::Header<'_>]) {
        let request = &mut *self.request;
        request.status = status;
        if request.sees.head {
            request.head.extend_from_slice(head);
        }
        self.expectations.head(request.step, status, fields, &mut request.found);
        let is_stream = request.sees.events_or_summary() && is_event_stream(fields);
        if (request.sees.body || is_stream || self.expectations.looks_into_body(request.step))
            && let Some(coding) = Coding::of(fields)
        {
            match Decoder::new(coding) {
                Ok(decoder) => request.decoder = Some(Box::new(decoder)),
                Err(class) => self.refused = Some(class),
            }
        }
        if is_stream {
            request.stream.get_or_insert_default().open = true;
            if request.first == 0 {
                request.first = self.begin;
            }
            if request.sees.events && request.sees.head {
                let arena = &mut *self.arena;
                self.done.push(told::head(request, |bytes| super::scenario::put(arena, bytes)));
            }
        }
    }

    fn body(&mut self, data: &[u8]) {
        // Out of the request while what it decodes goes there.
        let Some(mut decoder) = self.request.decoder.take() else { return self.look(data) };
        let decoded = decoder.decode(data, self.bounds.max_body, |data| self.look(data));
        self.request.decoder = Some(decoder);
        if let Err(class) = decoded {
            self.refused = self.refused.or(Some(class));
        }
    }

    fn read(&mut self) {
        self.read_at = 0;
    }

    fn is_full(&self) -> bool {
        self.streamed >= HAND_OVER
    }

    fn refused(&self) -> Option<FailureClass> {
        self.refused
    }

    fn known_head(&mut self) -> Option<&mut KnownHead> {
        self.known.as_deref_mut()
    }
}

/// Whether the answer's type is that of server-sent events, whatever parameters it has.
fn is_event_stream(fields: &[httparse::Header<'_>]) -> bool {
    fields.iter().any(|field| {
        let media_type = field.value.split(|byte| *byte == b';').next().unwrap_or(&[]);
        field.name.eq_ignore_ascii_case("content-type")
            && media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

impl LoadThread {
    /// Reads on where a stream was left in its socket until the guest was called.
    pub(super) fn read_on(&mut self, now: u64) {
        for _ in 0..self.paused.len() {
            let Some(key) = self.paused.pop_front() else { return };
            if let Some(transport) = self.transports.get_mut(key) {
                transport.paused = false;
                // What came while it was left is told by nobody: it is read until the socket is empty.
                self.receive(key, true, now);
            }
            if std::mem::take(&mut self.crowded) {
                self.call_guests();
            }
        }
    }
}

/// Takes what nobody asked for.
pub(super) struct NoSink;

impl Sink for NoSink {
    fn head(&mut self, _: u16, _: &[u8], _: &[httparse::Header<'_>]) {}
    fn body(&mut self, _: &[u8]) {}
}
