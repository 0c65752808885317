//! The head of an answer as guests and expectations see it: the text that HTTP/1.1 would have.

use http::{HeaderMap, StatusCode};

/// Fields that an answer may have at most, as in HTTP/1.1.
const MAX_FIELDS: usize = 128;

/// Fields up to which no memory is asked for to look at them.
const FEW: usize = 24;

/// The final head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    status: StatusCode,
    fields: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(super) const fn new(status: StatusCode, fields: &'a HeaderMap) -> Self {
        Self { status, fields }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether it has more fields than any answer may.
    pub(super) fn is_too_long(&self) -> bool {
        self.fields.len() > MAX_FIELDS
    }

    /// Length of the text, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let field =
            |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + 4;
        "HTTP/2 200\r\n\r\n".len() + self.fields.iter().map(field).sum::<usize>()
    }

    /// Appends the text: `HTTP/2 200`, a line for each field with its name in lower case, an empty line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/2 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.fields {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Lends the fields in the form in which HTTP/1.1 has them.
    pub fn with_fields<R>(&self, look: impl FnOnce(&[httparse::Header<'_>]) -> R) -> R {
        let fields = self.fields.iter();
        let fields =
            fields.map(|(name, value)| httparse::Header { name: name.as_str(), value: value.as_bytes() });
        if self.fields.len() > FEW {
            return look(&fields.collect::<Vec<_>>());
        }
        let mut few = [httparse::EMPTY_HEADER; FEW];
        let mut count = 0;
        for (place, field) in few.iter_mut().zip(fields) {
            *place = field;
            count += 1;
        }
        look(&few[..count])
    }
}
