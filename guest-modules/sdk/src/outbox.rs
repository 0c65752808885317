//! What a scenario says: requests to send, verdicts, turns that are over.

use std::fmt;
use std::io;

use crate::bindings::gauntlet::scenario::types as wire;
use crate::headers::Headers;
use crate::turn::{Connection, Interest};

/// Takes what a scenario says in one call. All of it crosses to the worker at once, in this order.
#[derive(Debug)]
pub struct Outbox<'a> {
    output: &'a mut wire::Output,
}

impl<'a> Outbox<'a> {
    pub(crate) fn new(output: &'a mut wire::Output) -> Self {
        Self { output }
    }

    /// Begins a request of `user`, counted in `step` (an index that `Setup::step` gave). `seq` is the scenario's own
    /// number and comes back in completions. Nothing is sent before [`Draft::send`].
    ///
    /// It is the setup's first method, to the scenario's first target, with no headers, no body, no interest, over
    /// any connection, with the plan's timeout, unless the draft says otherwise.
    #[must_use = "nothing is sent before `send`"]
    pub fn request(&mut self, user: u32, seq: u32, step: u32) -> Draft<'_> {
        const ABSENT: wire::Slice = wire::Slice { off: 0, len: 0 };
        let request = wire::Request {
            user,
            seq,
            operation: 0,
            step,
            endpoint: 0,
            method: 0,
            delay_us: 0,
            timeout_us: 0,
            attempt: 0,
            connection: wire::Connection::Any,
            interest: wire::Interest::empty(),
            target: ABSENT,
            headers: ABSENT,
            body: ABSENT,
        };
        Draft { begin: self.output.arena.len(), output: self.output, request }
    }

    /// The result of a check that needed the scenario's state; `check` is an index that `Setup::check` gave.
    pub fn verdict(&mut self, user: u32, seq: u32, check: u32, pass: bool) {
        self.output.verdicts.push(wire::Verdict { user, seq, check, pass });
    }

    /// Ends the user's turn; the user is free again `think_us` microseconds later.
    pub fn finish(&mut self, user: u32, think_us: u32) {
        self.output.finished.push(wire::Finish { user, think_us });
    }

    /// Records a value of one of the setup's metrics.
    pub fn observe(&mut self, step: u32, metric: u32, value: f64) {
        self.output.commands.push(wire::Command::Observe(wire::Observation { step, metric, value }));
    }

    /// Gives a request up: it completes as cancelled.
    pub fn cancel(&mut self, user: u32, seq: u32) {
        self.output.commands.push(wire::Command::Cancel(wire::RequestRef { user, seq }));
    }

    /// Wakes the user `after_us` microseconds from now with a `Timer` completion that carries `seq`. A second one
    /// replaces the first.
    pub fn wake_at(&mut self, user: u32, seq: u32, after_us: u32) {
        self.output.commands.push(wire::Command::WakeAt(wire::Wake { user, seq, after_us }));
    }

    /// Ends a measured operation of several requests (see [`Draft::operation`]). Said in the call that tells of its last
    /// request's end, it has ended with that request's last byte; else with the call.
    pub fn end_operation(&mut self, user: u32, operation: u32, ok: bool) {
        self.output.commands.push(wire::Command::EndOperation(wire::OperationEnd { user, operation, ok }));
    }

    /// Closes the user's own connection: its session is over.
    pub fn close_connection(&mut self, user: u32) {
        self.output.commands.push(wire::Command::CloseConnection(user));
    }
}

/// A request being written. Its bytes go straight to where the worker reads them; `target`, `header` and `body`
/// append, and writing them one after the other in this order is the fastest.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Draft<'a> {
    output: &'a mut wire::Output,
    request: wire::Request,
    begin: usize,
}

impl Draft<'_> {
    /// The method: an index that `Setup::method` gave.
    pub fn method(mut self, method: u32) -> Self {
        self.request.method = method;
        self
    }

    /// Which of the scenario's targets; 0 for all scenarios with one.
    pub fn endpoint(mut self, endpoint: u32) -> Self {
        self.request.endpoint = endpoint;
        self
    }

    /// Makes it part of a measured operation of several requests of this turn; 0 = one of its own.
    pub fn operation(mut self, operation: u32) -> Self {
        self.request.operation = operation;
        self
    }

    /// Not before this long after the call, microseconds (a retry's backoff).
    pub fn delay_us(mut self, delay_us: u32) -> Self {
        self.request.delay_us = delay_us;
        self
    }

    /// Deadline for the whole answer, microseconds; 0 = the plan's.
    pub fn timeout_us(mut self, timeout_us: u32) -> Self {
        self.request.timeout_us = timeout_us;
        self
    }

    /// 0 = the first attempt; a retried one is counted apart.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.request.attempt = attempt;
        self
    }

    /// Which connection carries it.
    pub fn connection(mut self, connection: Connection) -> Self {
        self.request.connection = connection.to_wire();
        self
    }

    /// What of the answer the scenario wants to see.
    pub fn interest(mut self, interest: Interest) -> Self {
        self.request.interest = interest.to_wire();
        self
    }

    /// Appends to path and query, as they stand on the wire.
    pub fn target(mut self, part: impl AsRef<[u8]>) -> Self {
        self.target_part().push(part.as_ref());
        self
    }

    /// Appends a value to path or query with everything but unreserved characters percent-encoded.
    pub fn target_escaped(mut self, value: impl AsRef<[u8]>) -> Self {
        self.target_part().push_escaped(value.as_ref());
        self
    }

    /// Appends formatted text to path and query.
    pub fn target_fmt(mut self, text: fmt::Arguments<'_>) -> Self {
        self.target_part().push_fmt(text);
        self
    }

    /// Adds a header. A name or value is cut at 65 535 bytes.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.header_with(name, |part| part.push(value.as_ref()))
    }

    /// Adds headers that were written beforehand.
    pub fn headers(mut self, headers: &Headers) -> Self {
        Part::new(&mut self.output.arena, &mut self.request.headers).push(headers.block());
        self
    }

    /// Adds a header whose value is formatted.
    pub fn header_fmt(self, name: impl AsRef<[u8]>, value: fmt::Arguments<'_>) -> Self {
        self.header_with(name, |part| part.push_fmt(value))
    }

    /// Adds a header whose value `write` writes in pieces.
    pub fn header_with(mut self, name: impl AsRef<[u8]>, write: impl FnOnce(&mut Part<'_>)) -> Self {
        let name = name.as_ref();
        let name_length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let mut part = Part::new(&mut self.output.arena, &mut self.request.headers);
        part.push(&name_length.to_le_bytes());
        let value_length_at = part.arena.len();
        part.push(&[0, 0]);
        part.push(&name[..usize::from(name_length)]);
        let value_begin = part.arena.len();
        write(&mut part);
        let value_length = u16::try_from(part.arena.len() - value_begin).unwrap_or(u16::MAX);
        part.cut(value_begin + usize::from(value_length));
        part.arena[value_length_at..value_length_at + 2].copy_from_slice(&value_length.to_le_bytes());
        self
    }

    /// Appends to the body.
    pub fn body(mut self, part: impl AsRef<[u8]>) -> Self {
        self.body_part().push(part.as_ref());
        self
    }

    /// Appends formatted text to the body.
    pub fn body_fmt(mut self, text: fmt::Arguments<'_>) -> Self {
        self.body_part().push_fmt(text);
        self
    }

    /// Where to write more of path and query.
    pub fn target_part(&mut self) -> Part<'_> {
        Part::new(&mut self.output.arena, &mut self.request.target)
    }

    /// Where to write more of the body; takes `write!` and any writer's output, a JSON serialiser's for one.
    pub fn body_part(&mut self) -> Part<'_> {
        Part::new(&mut self.output.arena, &mut self.request.body)
    }

    /// Hands the request over.
    pub fn send(self) {
        self.output.requests.push(self.request);
    }

    /// Drops the draft and takes back the room it used.
    pub fn discard(self) {
        self.output.arena.truncate(self.begin);
    }
}

/// One part of a [`Draft`], open at its end.
#[derive(Debug)]
pub struct Part<'a> {
    arena: &'a mut Vec<u8>,
    at: &'a mut wire::Slice,
}

impl<'a> Part<'a> {
    fn new(arena: &'a mut Vec<u8>, at: &'a mut wire::Slice) -> Self {
        let end = arena.len();
        let (begin, length) = (index(at.off), index(at.len));
        if length == 0 {
            at.off = offset(end);
        } else if begin + length != end {
            // Something else was written in between: a part is one stretch, so it moves to the end.
            arena.extend_from_within(begin..begin + length);
            at.off = offset(end);
        }
        Self { arena, at }
    }

    /// What the part has so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.arena.get(index(self.at.off)..).unwrap_or_default()
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arena.extend_from_slice(bytes);
        self.measure();
    }

    /// Appends bytes with everything but unreserved characters (letters, digits, `-._~`) percent-encoded.
    pub fn push_escaped(&mut self, bytes: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        for &byte in bytes {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.arena.push(byte);
            } else {
                self.arena.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        self.measure();
    }

    /// Appends formatted text.
    pub fn push_fmt(&mut self, text: fmt::Arguments<'_>) {
        // Writing to memory does not fail; a `Display` that does has written what it could.
        let _ = fmt::Write::write_fmt(self, text);
    }

    fn cut(&mut self, end: usize) {
        self.arena.truncate(end);
        self.measure();
    }

    fn measure(&mut self) {
        self.at.len = offset(self.arena.len() - index(self.at.off));
    }
}

impl fmt::Write for Part<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl io::Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A guest's memory ends at 4 GiB, so an arena's length fits; natively the worker's output limit ends it long before.
fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
