//! Server-sent events (WHATWG HTML, section 9.2.6 "Interpreting an event stream"), parsed from pieces of any size.
//!
//! It keeps no more than the event that is not whole yet. Text is not decoded: names, ids and data are handed on as
//! the bytes that came, so that bytes which are no UTF-8 are the receiver's to judge.

/// One event, when the empty line that ends it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its `event` field; empty = it has none, which stands for `message`.
    pub name: &'a [u8],
    /// The stream's last `id` so far; empty = none.
    pub id: &'a [u8],
    /// The stream's last `retry` so far, milliseconds in digits; empty = none.
    pub retry: &'a [u8],
    /// Its `data` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// An event, or a line of the stream, is larger than the limit. Comments are not: nothing of them is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than the limit")]
pub struct TooLarge;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parser of one stream. Its buffers are kept for the next.
#[derive(Clone, Debug, Default)]
pub struct EventStream {
    /// The line so far, when one read did not bring all of it; of a comment only the beginning.
    line: Vec<u8>,
    /// Whether the line's beginning was read, be it of a comment.
    in_line: bool,
    in_comment: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    /// A line was read: a byte order mark is one no more.
    begun: bool,
    name: Vec<u8>,
    id: Vec<u8>,
    retry: Vec<u8>,
    /// Each line with a line feed behind it.
    data: Vec<u8>,
}

impl EventStream {
    /// A parser before the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: Vec::new(),
            in_line: false,
            in_comment: false,
            after_cr: false,
            begun: false,
            name: Vec::new(),
            id: Vec::new(),
            retry: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Makes it ready for another stream. An event that is not whole is forgotten, as it is at a stream's end.
    /// Buffers larger than `keep` bytes are given back.
    pub fn clear(&mut self, keep: usize) {
        for buffer in [&mut self.line, &mut self.name, &mut self.id, &mut self.retry, &mut self.data] {
            buffer.clear();
            buffer.shrink_to(keep);
        }
        self.in_line = false;
        self.in_comment = false;
        self.after_cr = false;
        self.begun = false;
    }

    /// Takes the next bytes and hands on each event that they end, in order. `limit`: bytes of an event at most, its
    /// name, the stream's id and the line that is being read included.
    ///
    /// # Errors
    /// [`TooLarge`]; nothing more of the stream can be read.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        limit: usize,
        mut event: impl FnMut(Event<'_>),
    ) -> Result<(), TooLarge> {
        while !input.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                input = rest;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', input);
            let (part, rest) = input.split_at(end.unwrap_or(input.len()));
            let Some((terminator, rest)) = rest.split_first() else {
                return self.keep(part, limit);
            };
            input = rest;
            self.after_cr = *terminator == b'\r';
            if self.in_line {
                self.keep(part, limit)?;
                let line = std::mem::take(&mut self.line);
                let read = self.line(&line, limit, &mut event);
                self.line = line;
                self.line.clear();
                self.in_line = false;
                self.in_comment = false;
                read?;
            } else {
                self.line(part, limit, &mut event)?;
            }
            self.begun = true;
        }
        Ok(())
    }

    /// Bytes that are kept of an event so far.
    const fn held(&self) -> usize {
        self.name.len() + self.id.len() + self.data.len()
    }

    /// Keeps a part of a line that has no end yet.
    fn keep(&mut self, part: &[u8], limit: usize) -> Result<(), TooLarge> {
        self.in_line = true;
        if self.in_comment {
            return Ok(());
        }
        if self.line.is_empty() && part.first() == Some(&b':') {
            self.in_comment = true;
            self.line.push(b':');
            return Ok(());
        }
        if self.held() + self.line.len() + part.len() > limit {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Takes a whole line without its end.
    fn line(&mut self, line: &[u8], limit: usize, event: &mut impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        if line.first() == Some(&b':') {
            return Ok(());
        }
        if self.held() + line.len() > limit {
            return Err(TooLarge);
        }
        let line = if self.begun { line } else { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) };
        if line.is_empty() {
            // Without data there is no event; a name alone is forgotten.
            if let Some((_, data)) = self.data.split_last() {
                event(Event { name: &self.name, id: &self.id, retry: &self.retry, data });
            }
            self.data.clear();
            self.name.clear();
            return Ok(());
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => replace(&mut self.name, value),
            // An id with a zero byte is ignored.
            b"id" if memchr::memchr(0, value).is_none() => replace(&mut self.id, value),
            b"retry" if is_digits(value) => replace(&mut self.retry, value),
            // An empty name is a comment.
            _ => {}
        }
        Ok(())
    }
}

/// Longer numbers are centuries.
fn is_digits(value: &[u8]) -> bool {
    (1..=15).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

fn replace(buffer: &mut Vec<u8>, value: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
