//! The types of `wit/scenario.wit` as the host sees them, and how to read their bytes.

pub use bindings::gauntlet::scenario::host::Level;
pub use bindings::gauntlet::scenario::types::{
    Command, Completion, CompletionKind, Connection, Descriptor, Expectation, Failure, Feed, Finish,
    Interest, Observation, OperationEnd, Output, Problem, Request, RequestRef, RowOrder, Rule, Setup, Slice,
    Start, Verdict, Wake,
};

pub(crate) mod bindings {
    #![expect(missing_docs, reason = "generated from wit/scenario.wit, where the words are")]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "scenario",
        additional_derives: [PartialEq],
        imports: { default: trappable },
    });
}

impl Completion {
    /// Of a request without an answer: all else is 0 or empty.
    #[must_use]
    pub const fn note(kind: CompletionKind, user: u32, seq: u32) -> Self {
        let none = Slice { off: 0, len: 0 };
        Self {
            kind,
            user,
            seq,
            status: 0,
            failure: Failure::None,
            queue_us: 0,
            first_byte_us: 0,
            first_event_us: 0,
            last_byte_us: 0,
            events: 0,
            head: none,
            body: none,
        }
    }
}

/// The bytes of a slice; `None` when it does not lie inside the arena. A slice of length 0 is empty wherever it lies.
#[must_use]
pub fn slice(arena: &[u8], at: Slice) -> Option<&[u8]> {
    if at.len == 0 {
        return Some(&[]);
    }
    let begin = usize::try_from(at.off).ok()?;
    let end = begin.checked_add(usize::try_from(at.len).ok()?)?;
    arena.get(begin..end)
}

/// The headers of a request's header block, in order. The block of a request that came out of [`crate::Instance::step`]
/// was checked, so that nothing is left over; of other bytes the iterator gives what is whole.
#[must_use]
pub fn headers(block: &[u8]) -> Headers<'_> {
    Headers { rest: block }
}

/// See [`headers`]. Each item is a name and a value.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Whether every byte was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.rest.split_first_chunk::<4>()?;
        let (name, value) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let (name, rest) = rest.split_at_checked(name.into())?;
        let (value, rest) = rest.split_at_checked(value.into())?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Whether these bytes can stand in a request line as a target: not empty, no blanks, no control characters. A target
/// that is not would end the line early and smuggle in what follows, and counts would no longer close.
#[must_use]
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// Whether these bytes can be a header's name: the token of HTTP.
#[must_use]
pub fn is_header_name(bytes: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(token)
}

/// Whether these bytes can be a header's value: no control characters but the tab.
#[must_use]
pub fn is_header_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
