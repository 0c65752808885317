//! The parser of HTTP/1.1 answers (RFC 9112): fed with whatever a read gave, it hands head and body to a sink and
//! keeps nothing but an unfinished head.

use std::mem::MaybeUninit;

use protocol::failure::FailureClass;

use crate::io::chunked::{Chunked, ChunkedError};

mod known_head;

pub use known_head::KnownHead;

/// Fields that a head may have at most; more is [`FailureClass::TooLarge`].
const MAX_FIELDS: usize = 128;

/// What is read at most of one answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the head, interim (1xx) heads included.
    pub max_head: usize,
    /// Bytes of the body after decoding the transfer coding.
    pub max_body: u64,
}

/// Receives an answer as it is parsed.
pub trait Sink {
    /// The final head: its bytes as received with the empty line, and its fields.
    fn head(&mut self, status: u16, head: &[u8], fields: &[httparse::Header<'_>]);
    /// A stretch of the body.
    fn body(&mut self, data: &[u8]);
    /// A read has returned: what follows until the next came with it.
    fn read(&mut self) {}
    /// Whether it has as much as it takes before somebody looks at it: no more is read then.
    fn is_full(&self) -> bool {
        false
    }
    /// Why it takes no more of this answer, which is a failure then; looked at after each read.
    fn refused(&self) -> Option<FailureClass> {
        None
    }
    /// Where the latest head is remembered, when it does not look at fields: it is then told of a head without them.
    fn known_head(&mut self) -> Option<&mut KnownHead> {
        None
    }
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// The answer is whole; so many bytes of the input were used.
    Done(usize),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// Parser of the answers on one connection, one after the other.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// The head so far, when one read did not bring all of it.
    partial: Vec<u8>,
    /// Length of `partial` from which parsing it again is worth it, though its end is not in sight.
    retry_at: usize,
    interim: usize,
    body: u64,
    to_head: bool,
    reusable: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser before the first answer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
            retry_at: 0,
            interim: 0,
            body: 0,
            to_head: false,
            reusable: true,
        }
    }

    /// Prepares for the answer to a request; `to_head`: its method is HEAD, so that no body follows.
    pub fn begin(&mut self, to_head: bool) {
        self.state = State::Head;
        self.partial.clear();
        if self.partial.capacity() > 4096 {
            self.partial = Vec::new();
        }
        self.retry_at = 0;
        self.interim = 0;
        self.body = 0;
        self.to_head = to_head;
        self.reusable = true;
    }

    /// Whether the connection may carry another request after this answer.
    #[must_use]
    pub const fn reusable(&self) -> bool {
        self.reusable
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`FailureClass::Malformed`] or [`FailureClass::TooLarge`]; the connection cannot be used again.
    pub fn feed(
        &mut self,
        input: &[u8],
        limits: Limits,
        sink: &mut impl Sink,
    ) -> Result<Progress, FailureClass> {
        let mut at = 0;
        loop {
            match &mut self.state {
                State::Head => {
                    let Some(used) = self.head(&input[at..], limits, sink)? else {
                        return Ok(Progress::More);
                    };
                    at += used;
                }
                State::Length(left) => {
                    let available = input.len() - at;
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    if take > 0 {
                        sink.body(&input[at..at + take]);
                        at += take;
                    }
                }
                State::Chunked(decoder) => {
                    let body = &mut self.body;
                    let used = decoder.decode(&input[at..], |data| {
                        *body += data.len() as u64;
                        if *body <= limits.max_body {
                            sink.body(data);
                        }
                    });
                    // First, for the limit was passed before whatever else is wrong was read.
                    if *body > limits.max_body {
                        return Err(FailureClass::TooLarge);
                    }
                    at += used.map_err(|error| match error {
                        ChunkedError::Malformed => FailureClass::Malformed,
                        ChunkedError::TooLarge => FailureClass::TooLarge,
                    })?;
                    if decoder.is_done() {
                        self.state = State::Done;
                    }
                }
                State::UntilClose => {
                    let data = &input[at..];
                    at = input.len();
                    self.body += data.len() as u64;
                    if self.body > limits.max_body {
                        return Err(FailureClass::TooLarge);
                    }
                    if !data.is_empty() {
                        sink.body(data);
                    }
                }
                State::Done => return Ok(Progress::Done(at)),
            }
            if at == input.len() && !matches!(self.state, State::Done) {
                return Ok(Progress::More);
            }
        }
    }

    /// The peer closed: the end of a body without a length, else the answer is cut off.
    ///
    /// # Errors
    /// [`FailureClass::Reset`] when the answer is not whole; [`FailureClass::Malformed`] when what there is of its head
    /// is none.
    pub fn eof(&mut self) -> Result<(), FailureClass> {
        self.reusable = false;
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            // Garbage that came slowly was not parsed yet.
            State::Head if !self.partial.is_empty() => {
                parse(&self.partial, self.to_head, &mut Nobody)?;
                Err(FailureClass::Reset)
            }
            _ => Err(FailureClass::Reset),
        }
    }

    /// Reads a head that begins in `partial` and goes on in `input`. Returns how much of `input` it used, or
    /// `None` when its end has not come.
    fn head(
        &mut self,
        input: &[u8],
        limits: Limits,
        sink: &mut impl Sink,
    ) -> Result<Option<usize>, FailureClass> {
        if input.is_empty() {
            return Ok(None);
        }
        let room = limits.max_head.saturating_sub(self.interim);
        if self.partial.is_empty() {
            let input = &input[..input.len().min(room)];
            let known = sink.known_head().and_then(|known| known.find(input, self.to_head));
            if let Some((used, status, framing)) = known {
                sink.head(status, &input[..used], &[]);
                self.enter(&framing, used, limits)?;
                return Ok(Some(used));
            }
            let Some((used, framing)) = parse(input, self.to_head, sink)? else {
                if input.len() == room {
                    return Err(FailureClass::TooLarge);
                }
                self.partial.extend_from_slice(input);
                self.retry_at = input.len() * 2;
                return Ok(None);
            };
            self.enter(&framing, used, limits)?;
            return Ok(Some(used));
        }
        let before = self.partial.len();
        let take = input.len().min(room.saturating_sub(before));
        self.partial.extend_from_slice(&input[..take]);
        // Parsing a head again for each byte of a slow peer would cost the square of its length.
        let ended = ends(&self.partial[before.saturating_sub(3)..]);
        let parsed = if ended || self.partial.len() >= self.retry_at.min(room) {
            self.retry_at = self.partial.len() * 2;
            parse(&self.partial, self.to_head, sink)?
        } else {
            None
        };
        let Some((used, framing)) = parsed else {
            return if self.partial.len() >= room { Err(FailureClass::TooLarge) } else { Ok(None) };
        };
        self.partial.clear();
        self.enter(&framing, used, limits)?;
        // What of the head lay in `partial` had no end, so the end is in `input`.
        Ok(Some(used.saturating_sub(before)))
    }

    fn enter(&mut self, framing: &Framing, used: usize, limits: Limits) -> Result<(), FailureClass> {
        self.reusable &= framing.keep_alive;
        self.state = match framing.body {
            Body::Interim => {
                self.interim += used;
                self.reusable = true;
                State::Head
            }
            Body::None | Body::Length(0) => State::Done,
            Body::Length(length) if length > limits.max_body => return Err(FailureClass::TooLarge),
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Chunked(Chunked::new()),
            Body::UntilClose => {
                self.reusable = false;
                State::UntilClose
            }
        };
        Ok(())
    }
}

/// Takes nothing.
struct Nobody;

impl Sink for Nobody {
    fn head(&mut self, _: u16, _: &[u8], _: &[httparse::Header<'_>]) {}
    fn body(&mut self, _: &[u8]) {}
}

/// Whether an empty line may be in sight.
fn ends(tail: &[u8]) -> bool {
    memchr::memmem::find(tail, b"\n\r\n").is_some() || memchr::memmem::find(tail, b"\n\n").is_some()
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Interim,
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Clone, Copy, Debug)]
struct Framing {
    body: Body,
    keep_alive: bool,
}

/// Parses a whole head and tells the sink, unless it is an interim one. `None` = it has no end yet.
fn parse(head: &[u8], to_head: bool, sink: &mut impl Sink) -> Result<Option<(usize, Framing)>, FailureClass> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut fields,
    );
    let used = match parsed {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(FailureClass::TooLarge),
        Err(_) => return Err(FailureClass::Malformed),
    };
    let status = response.code.unwrap_or(0);
    if !(100..=999).contains(&status) {
        return Err(FailureClass::Malformed);
    }
    let framing = framing(status, response.version.unwrap_or(1), to_head, response.headers)?;
    if !matches!(framing.body, Body::Interim) {
        if let Some(known) = sink.known_head() {
            known.learn(&head[..used], to_head, status, framing);
        }
        sink.head(status, &head[..used], response.headers);
    }
    Ok(Some((used, framing)))
}

/// How the body is delimited (RFC 9112, section 6.3).
fn framing(
    status: u16,
    minor: u8,
    to_head: bool,
    fields: &[httparse::Header<'_>],
) -> Result<Framing, FailureClass> {
    let (mut close, mut keep_alive) = (false, minor >= 1);
    let mut length = Ok(None);
    let mut transfer = None;
    for field in fields {
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                for token in tokens(field.value) {
                    close |= token.eq_ignore_ascii_case(b"close");
                    keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                length = tokens(field.value).fold(length, |length, token| match (length, decimal(token)) {
                    (Ok(None), Some(value)) => Ok(Some(value)),
                    (Ok(Some(earlier)), Some(value)) if earlier == value => Ok(Some(value)),
                    _ => Err(FailureClass::Malformed),
                });
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                transfer = tokens(field.value).last().or(transfer);
            }
            _ => {}
        }
    }
    keep_alive &= !close;
    let body = if (100..200).contains(&status) && status != 101 {
        Body::Interim
    } else if status == 101 {
        keep_alive = false;
        Body::None
    } else if to_head || status == 204 || status == 304 {
        Body::None
    } else if let Some(coding) = transfer {
        // A length beside a coding is what request smuggling is made of: the coding counts, the connection ends. So
        // it does where HTTP/1.0 has a coding, which it does not know (RFC 9112, section 6.1).
        keep_alive &= length == Ok(None) && minor >= 1;
        if coding.eq_ignore_ascii_case(b"chunked") { Body::Chunked } else { Body::UntilClose }
    } else {
        // A wrong length is none of our business where it delimits nothing.
        length?.map_or(Body::UntilClose, Body::Length)
    };
    Ok(Framing { body, keep_alive })
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod odd_answers;
#[cfg(test)]
mod tests;
