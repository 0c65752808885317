//! Where HTTP/1.1 messages of one direction begin and end, found as their bytes pass. Nothing is kept but where we are.

use httparse::{EMPTY_HEADER, Header, Request, Response};

/// A head may be so long; longer, and it is taken for something else.
pub(super) const LONGEST_HEAD: usize = 64 << 10;
/// A head may have so many fields.
const MOST_FIELDS: usize = 128;

/// Where in the stream we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before a head.
    Head,
    /// In a body, with so many bytes to come.
    Body(u64),
    /// In a body that is sent in chunks.
    Chunked(InChunked),
    /// In what is no message, or one without an end: passed as it is.
    Rest,
}

/// Where in a body that is sent in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InChunked {
    /// In the line with a chunk's size, which so far is this; the digits may be over.
    Size(u64, bool),
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// In the end of the line after a chunk.
    DataEnd,
    /// In a line after the last chunk, of which so many bytes have come.
    Trailer(u64),
}

/// A run of bytes within a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) bytes: usize,
    /// What is meant to arrive, and not how it is wrapped.
    pub(super) content: bool,
}

/// What a head says of what follows it; `None` = it is none.
pub(super) fn after_head(head: &[u8]) -> Option<Place> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    if !head.starts_with(b"HTTP/1.") {
        let mut request = Request::new(&mut fields);
        let complete = request.parse(head).is_ok_and(|status| status.is_complete());
        return complete.then(|| body(request.headers, Place::Head));
    }
    let mut response = Response::new(&mut fields);
    let complete = response.parse(head).is_ok_and(|status| status.is_complete());
    complete.then(|| match response.code {
        Some(101) => Place::Rest,
        Some(100..=199 | 204 | 304) => Place::Head,
        _ => body(response.headers, Place::Rest),
    })
}

fn body(fields: &[Header<'_>], without_length: Place) -> Place {
    let text = |name: &str| {
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    if text("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")) {
        return Place::Chunked(InChunked::Size(0, false));
    }
    match text("content-length").map(|length| length.trim().parse()) {
        Some(Ok(0)) => Place::Head,
        Some(Ok(length)) => Place::Body(length),
        Some(Err(_)) => Place::Rest,
        None => without_length,
    }
}

impl Place {
    /// The next run of bytes that belong together; moves behind it. Not before a head. `data` is not empty.
    pub(super) fn run(&mut self, data: &[u8]) -> Run {
        match self {
            Self::Body(left) => {
                let bytes = within(data, *left);
                *left -= bytes as u64;
                if *left == 0 {
                    *self = Self::Head;
                }
                Run { bytes, content: true }
            }
            Self::Chunked(InChunked::Data(left)) => {
                let bytes = within(data, *left);
                *left -= bytes as u64;
                if *left == 0 {
                    *self = Self::Chunked(InChunked::DataEnd);
                }
                Run { bytes, content: true }
            }
            Self::Chunked(_) => Run { bytes: self.wrapping(data), content: false },
            Self::Head | Self::Rest => Run { bytes: data.len(), content: false },
        }
    }

    /// Bytes up to the next content, or up to the end of the message.
    fn wrapping(&mut self, data: &[u8]) -> usize {
        for (index, byte) in data.iter().enumerate() {
            let Self::Chunked(place) = *self else { return index };
            *self = match (place, byte) {
                (InChunked::Data(_), _) => return index,
                (InChunked::Size(0, _), b'\n') => Self::Chunked(InChunked::Trailer(0)),
                (InChunked::Size(size, _), b'\n') => Self::Chunked(InChunked::Data(size)),
                (InChunked::Size(size, false), digit) if digit.is_ascii_hexdigit() => {
                    let value = char::from(*digit).to_digit(16).unwrap_or_default();
                    Self::Chunked(InChunked::Size(
                        size.saturating_mul(16).saturating_add(value.into()),
                        false,
                    ))
                }
                (InChunked::Size(size, _), _) => Self::Chunked(InChunked::Size(size, true)),
                (InChunked::DataEnd, b'\n') => Self::Chunked(InChunked::Size(0, false)),
                (InChunked::DataEnd, _) => *self,
                (InChunked::Trailer(0), b'\n') => Self::Head,
                (InChunked::Trailer(_), b'\n') => Self::Chunked(InChunked::Trailer(0)),
                (InChunked::Trailer(_), b'\r') => *self,
                (InChunked::Trailer(length), _) => Self::Chunked(InChunked::Trailer(length + 1)),
            };
        }
        data.len()
    }
}

fn within(data: &[u8], left: u64) -> usize {
    data.len().min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_what_follows() {
        let after = |head: &str| after_head(head.as_bytes());
        assert_eq!(after("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), Some(Place::Head));
        assert_eq!(after("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), Some(Place::Body(5)));
        assert_eq!(after("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Some(Place::Head));
        let chunked = Some(Place::Chunked(InChunked::Size(0, false)));
        assert_eq!(
            after("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\ncontent-length: 4\r\n\r\n"),
            chunked
        );
        assert_eq!(after("HTTP/1.1 200 OK\r\n\r\n"), Some(Place::Rest), "until the end");
        assert_eq!(after("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"), Some(Place::Head));
        assert_eq!(after("HTTP/1.1 100 Continue\r\n\r\n"), Some(Place::Head));
        assert_eq!(after("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Some(Place::Rest));
        assert_eq!(after("PRI * HTTP/2.0\r\n\r\n"), None);
        assert_eq!(after("\0\u{1}\r\n\r\n"), None);
    }

    #[test]
    fn chunks_are_found_wherever_the_stream_is_cut() {
        let stream = b"5;x=y\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nafter: words\r\n\r\nHTTP";
        for cut in 1..=stream.len() {
            let mut place = Place::Chunked(InChunked::Size(0, false));
            let (mut content, mut passed) = (Vec::new(), 0);
            for part in stream.chunks(cut) {
                let mut part = part;
                while !part.is_empty() && place != Place::Head {
                    let run = place.run(part);
                    if run.content {
                        content.extend_from_slice(&part[..run.bytes]);
                    }
                    passed += run.bytes;
                    part = &part[run.bytes..];
                }
            }
            assert_eq!(content, b"helloabcdefghijklmnopqrstuvwxyz", "cut at {cut}");
            assert_eq!((place, passed), (Place::Head, stream.len() - 4), "cut at {cut}");
        }
    }
}
