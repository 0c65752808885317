//! What a scenario is told: turns that begin, and what happened since.

use crate::bindings::gauntlet::scenario::types as wire;
use std::ops::BitOr;

/// One turn of a free user.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The user who takes it, from 0 to the number of users − 1.
    pub user: u32,
    /// Its number in the run's whole sequence: what draws are made from. See [`crate::Rng::for_arrival`].
    pub arrival: u64,
    /// Microseconds since the phase began, for logic only.
    pub now_us: u64,
    pub(crate) rows: &'a [u8],
    /// For each feed, how many columns come before its own.
    pub(crate) offsets: &'a [usize],
}

impl<'a> Turn<'a> {
    /// The value of a column of this turn's row of a feed, both numbered as in `Setup::feeds`. Empty when there is
    /// no such feed or column.
    #[must_use]
    pub fn row(&self, feed: usize, column: usize) -> &'a [u8] {
        let Some(skip) = self.offsets.get(feed).map(|before| before + column) else { return &[] };
        // A column beyond its own feed's must not read into the next feed's.
        if self.offsets.get(feed + 1).is_some_and(|&next| skip >= next) {
            return &[];
        }
        let mut rest = self.rows;
        for _ in 0..skip {
            rest = take(rest).1;
        }
        take(rest).0
    }

    /// The same as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self, feed: usize, column: usize) -> Option<&'a str> {
        std::str::from_utf8(self.row(feed, column)).ok()
    }
}

/// Splits off the value at the front: u32 length (little endian), then the bytes.
fn take(from: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = from.split_first_chunk::<4>() else { return (&[], &[]) };
    usize::try_from(u32::from_le_bytes(*length))
        .ok()
        .and_then(|n| rest.split_at_checked(n))
        .unwrap_or((&[], &[]))
}

/// What happened to a request, or a wake-up.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// What this tells.
    pub kind: CompletionKind,
    /// Whose it is.
    pub user: u32,
    /// The request's or the wake-up's `seq`.
    pub seq: u32,
    /// HTTP status; 0 without an answer.
    pub status: u32,
    /// Why there is no whole answer; `None` when there is one.
    pub failure: Option<Failure>,
    /// Microseconds since the phase began when the worker made this call, for logic only.
    pub now_us: u64,
    /// Microseconds waited for a user and a connection.
    pub queue_us: u32,
    /// Microseconds from the send to the first byte; 0 = has not come.
    pub first_byte_us: u32,
    /// Microseconds from the send to the first event; 0 = has not come.
    pub first_event_us: u32,
    /// Microseconds from the send to the last byte, of an event to its own; 0 = has not come.
    pub last_byte_us: u32,
    /// Server-sent events so far, this one included.
    pub events: u32,
    /// The head as received, status line included; empty unless [`Interest::HEAD`] was given. In HTTP/2, which has no
    /// such text, it is `HTTP/2 200`, a line for each field with its name in lower case, and an empty line. Of an event what
    /// [`Completion::event_name`] and [`Completion::event_id`] read.
    pub head: &'a [u8],
    /// The body, or an event's data, cut at `Setup::body_limit`; empty unless asked for.
    pub body: &'a [u8],
}

impl<'a> Completion<'a> {
    pub(crate) fn new(from: &wire::Completion, arena: &'a [u8], now_us: u64) -> Self {
        Self {
            kind: from.kind.into(),
            user: from.user,
            seq: from.seq,
            status: from.status,
            failure: Failure::from_wire(from.failure),
            now_us,
            queue_us: from.queue_us,
            first_byte_us: from.first_byte_us,
            first_event_us: from.first_event_us,
            last_byte_us: from.last_byte_us,
            events: from.events,
            head: slice(arena, from.head),
            body: slice(arena, from.body),
        }
    }

    /// A whole answer with a status of 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.kind == CompletionKind::End && self.failure.is_none() && (200..300).contains(&self.status)
    }

    /// The first value of a header, its name in any case; needs [`Interest::HEAD`].
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// All values of a header, in order, its name in any case; needs [`Interest::HEAD`].
    pub fn headers<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines = self.head.split(|&byte| byte == b'\n').skip(1);
        lines.filter_map(move |line| {
            let (found, value) = line.split_at_checked(line.iter().position(|&byte| byte == b':')?)?;
            let value = value.get(1..)?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    /// The name of an event; `message` when it has none.
    #[must_use]
    pub fn event_name(&self) -> &'a [u8] {
        self.event_field(b"event: ").unwrap_or(b"message")
    }

    /// The last id that the stream has set, with this event or before; empty when it has set none.
    #[must_use]
    pub fn event_id(&self) -> &'a [u8] {
        self.event_field(b"id: ").unwrap_or_default()
    }

    /// How long the stream wants to be left alone before it is taken up again, as it said with this event or before,
    /// milliseconds; `None` when it has not said.
    #[must_use]
    pub fn event_retry_ms(&self) -> Option<u64> {
        std::str::from_utf8(self.event_field(b"retry: ")?).ok()?.parse().ok()
    }

    fn event_field(&self, field: &[u8]) -> Option<&'a [u8]> {
        if self.kind != CompletionKind::Event {
            return None;
        }
        let mut lines = self.head.split(|&byte| byte == b'\n');
        lines.find_map(|line| line.strip_suffix(b"\r")?.strip_prefix(field))
    }

    /// Whether the body contains this text; needs [`Interest::BODY`].
    #[must_use]
    pub fn body_contains(&self, part: &str) -> bool {
        let part = part.as_bytes();
        part.is_empty() || self.body.windows(part.len()).any(|window| window == part)
    }
}

/// A stretch of an arena; empty when it is not inside, which the worker has ruled out.
pub(crate) fn slice(arena: &[u8], at: wire::Slice) -> &[u8] {
    let bounds = usize::try_from(at.off).ok().zip(usize::try_from(at.len).ok());
    bounds.and_then(|(off, len)| arena.get(off..off.checked_add(len)?)).unwrap_or(&[])
}

/// What a [`Completion`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    /// The whole answer was read, or the request failed.
    End,
    /// The head was read and the body follows.
    Head,
    /// One server-sent event; the body is its data.
    Event,
    /// The time asked for by [`crate::Outbox::wake_at`] has come.
    Timer,
    /// The worker gave the request up: the phase ended, or the scenario asked for it.
    Cancelled,
}

impl From<wire::CompletionKind> for CompletionKind {
    fn from(from: wire::CompletionKind) -> Self {
        match from {
            wire::CompletionKind::End => Self::End,
            wire::CompletionKind::Head => Self::Head,
            wire::CompletionKind::Event => Self::Event,
            wire::CompletionKind::Timer => Self::Timer,
            wire::CompletionKind::Cancelled => Self::Cancelled,
        }
    }
}

impl From<CompletionKind> for wire::CompletionKind {
    fn from(from: CompletionKind) -> Self {
        match from {
            CompletionKind::End => Self::End,
            CompletionKind::Head => Self::Head,
            CompletionKind::Event => Self::Event,
            CompletionKind::Timer => Self::Timer,
            CompletionKind::Cancelled => Self::Cancelled,
        }
    }
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke.
    Reset,
    /// The answer was not whole by its deadline.
    Timeout,
    /// The answer is not HTTP.
    Malformed,
    /// The answer is over the worker's limit.
    TooLarge,
}

impl Failure {
    fn from_wire(from: wire::Failure) -> Option<Self> {
        match from {
            wire::Failure::None => None,
            wire::Failure::Connect => Some(Self::Connect),
            wire::Failure::Tls => Some(Self::Tls),
            wire::Failure::Reset => Some(Self::Reset),
            wire::Failure::Timeout => Some(Self::Timeout),
            wire::Failure::Malformed => Some(Self::Malformed),
            wire::Failure::TooLarge => Some(Self::TooLarge),
        }
    }

    pub(crate) fn to_wire(from: Option<Self>) -> wire::Failure {
        match from {
            None => wire::Failure::None,
            Some(Self::Connect) => wire::Failure::Connect,
            Some(Self::Tls) => wire::Failure::Tls,
            Some(Self::Reset) => wire::Failure::Reset,
            Some(Self::Timeout) => wire::Failure::Timeout,
            Some(Self::Malformed) => wire::Failure::Malformed,
            Some(Self::TooLarge) => wire::Failure::TooLarge,
        }
    }
}

/// What of an answer the scenario wants to see; several are joined with `|`. [`Interest::NONE`] fires a request and
/// only measures it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: the scenario is not called for this request.
    pub const NONE: Self = Self(0);
    /// That it ended, with status and times.
    pub const END: Self = Self(1);
    /// The head; of a stream, as soon as it is there.
    pub const HEAD: Self = Self(2);
    /// The body, up to the setup's limit.
    pub const BODY: Self = Self(4);
    /// Every server-sent event as it comes, each as a [`CompletionKind::Event`]; then the end.
    pub const EVENTS: Self = Self(8);
    /// The number of events and their times, with the end.
    pub const STREAM_SUMMARY: Self = Self(16);

    /// Whether all of `other` is in this.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn to_wire(self) -> wire::Interest {
        wire::Interest::from_bits_truncate(self.0)
    }

    pub(crate) fn from_wire(from: wire::Interest) -> Self {
        Self(from.bits())
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which connection carries a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Any of the pool.
    #[default]
    Any,
    /// The user's own, kept for it. Cookies alone do not need it.
    Own,
    /// A new one, closed after the answer.
    Fresh,
}

impl Connection {
    pub(crate) fn to_wire(self) -> wire::Connection {
        match self {
            Self::Any => wire::Connection::Any,
            Self::Own => wire::Connection::Own,
            Self::Fresh => wire::Connection::Fresh,
        }
    }

    pub(crate) fn from_wire(from: wire::Connection) -> Self {
        match from {
            wire::Connection::Any => Self::Any,
            wire::Connection::Own => Self::Own,
            wire::Connection::Fresh => Self::Fresh,
        }
    }
}

#[cfg(test)]
mod tests;
