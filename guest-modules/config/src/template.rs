//! Texts with placeholders: parsed once into segments, written per request by copying bytes.

mod compile;
mod parse;

use gauntlet_sdk::{Part, Rng};

pub use compile::{Compiler, Feeds};
use parse::{Piece, parse};

/// How a value is written into its surroundings. Literal text stands as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Path and query: everything but unreserved characters percent-encoded.
    Percent,
    /// Header value: without control characters, so that no value can begin another header.
    Header,
    /// Inside a JSON string.
    Json,
    /// As it is.
    Raw,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Index into the step's columns.
    Column(usize),
    /// Index into the user's extracted values.
    Extracted(usize),
    Arrival,
    User,
    Random {
        low: u64,
        high: u64,
        stream: u64,
    },
    Uuid {
        stream: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A stretch of the template's text.
    Text {
        begin: usize,
        end: usize,
    },
    Value(Source),
}

/// A compiled text.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) text: Vec<u8>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) escape: Escape,
    /// Literal text is escaped like values (a query's names and values).
    pub escape_literals: bool,
}

/// What a request's values are taken from.
pub trait Values {
    /// Value of one of the step's columns.
    fn column(&self, index: usize) -> &[u8];
    /// An extracted value; empty when the user has none yet.
    fn extracted(&self, index: usize) -> &[u8];
    /// Number of the arrival.
    fn arrival(&self) -> u64;
    /// Number of the user.
    fn user(&self) -> u32;
    /// The draws of this request for one purpose.
    fn draws(&self, stream: u64) -> Rng;
}

/// Where a text is written to.
pub trait Sink {
    /// Appends bytes.
    fn push(&mut self, bytes: &[u8]);
    /// Appends bytes with everything but unreserved characters percent-encoded.
    fn push_escaped(&mut self, bytes: &[u8]);
}

impl Sink for Part<'_> {
    fn push(&mut self, bytes: &[u8]) {
        Part::push(self, bytes);
    }

    fn push_escaped(&mut self, bytes: &[u8]) {
        Part::push_escaped(self, bytes);
    }
}

/// To memory, for what is looked at before it is sent.
impl Sink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn push_escaped(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.push(byte);
            } else {
                let [high, low] = hex(byte).map(|digit| digit.to_ascii_uppercase());
                self.extend_from_slice(&[b'%', high, low]);
            }
        }
    }
}

impl Template {
    /// Appends the text with its values.
    pub fn write(&self, part: &mut impl Sink, values: &impl Values) {
        for segment in &self.segments {
            match *segment {
                Segment::Text { begin, end } => part.push(&self.text[begin..end]),
                Segment::Value(source) => self.value(part, source, values),
            }
        }
    }

    fn value(&self, part: &mut impl Sink, source: Source, values: &impl Values) {
        match source {
            Source::Column(index) => self.escaped(part, values.column(index)),
            Source::Extracted(index) => self.escaped(part, values.extracted(index)),
            // Digits, letters and hyphens need no escape anywhere.
            Source::Arrival => decimal(part, values.arrival()),
            Source::User => decimal(part, values.user().into()),
            Source::Random { low, high, stream } => decimal(part, values.draws(stream).between(low, high)),
            Source::Uuid { stream } => uuid(part, values.draws(stream)),
        }
    }

    fn escaped(&self, part: &mut impl Sink, value: &[u8]) {
        match self.escape {
            Escape::Raw => part.push(value),
            Escape::Percent => part.push_escaped(value),
            Escape::Header => value.split(|byte| byte.is_ascii_control()).for_each(|piece| part.push(piece)),
            Escape::Json => json_escaped(part, value),
        }
    }
}

/// Digits without the machinery of formatting.
pub fn decimal(part: &mut impl Sink, mut number: u64) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        // A digit fits a byte.
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return part.push(&digits[begin..]);
        }
    }
}

/// The two digits of a byte.
fn hex(byte: u8) -> [u8; 2] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// A random UUID (version 4) of seeded draws.
fn uuid(part: &mut impl Sink, mut draws: Rng) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&draws.next_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&draws.next_u64().to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        [text[at], text[at + 1]] = hex(byte);
        at += 2;
    }
    part.push(&text);
}

/// A value inside a JSON string. Bytes over 127 pass as they are: feeders and answers are UTF-8.
pub fn json_escaped(part: &mut impl Sink, value: &[u8]) {
    let mut begin = 0;
    for (index, &byte) in value.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        part.push(&value[begin..index]);
        begin = index + 1;
        match byte {
            b'"' => part.push(b"\\\""),
            b'\\' => part.push(b"\\\\"),
            b'\n' => part.push(b"\\n"),
            b'\r' => part.push(b"\\r"),
            b'\t' => part.push(b"\\t"),
            other => {
                let [high, low] = hex(other);
                part.push(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    part.push(&value[begin..]);
}
