//! The latest head, so that the same one need not be parsed again: most answers of a load test begin alike.

use super::Framing;

/// A longer head is not remembered.
const LONGEST: usize = 1_024;

/// A head, and what it was found to say. Equal bytes say the same, so one of these may serve many connections.
#[derive(Debug, Default)]
pub struct KnownHead {
    head: Vec<u8>,
    to_head: bool,
    said: Option<(u16, Framing)>,
}

impl KnownHead {
    /// The head that `input` begins with, if it is the known one: its length, its status, and how the body is delimited.
    pub(super) fn find(&self, input: &[u8], to_head: bool) -> Option<(usize, u16, Framing)> {
        let (status, framing) = self.said.filter(|_| self.to_head == to_head)?;
        input.starts_with(&self.head).then_some((self.head.len(), status, framing))
    }

    /// Remembers a whole and final head instead of the one before.
    pub(super) fn learn(&mut self, head: &[u8], to_head: bool, status: u16, framing: Framing) {
        self.said = None;
        if head.len() <= LONGEST {
            self.head.clear();
            self.head.extend_from_slice(head);
            (self.to_head, self.said) = (to_head, Some((status, framing)));
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::failure::FailureClass;

    use super::KnownHead;
    use crate::io::http1::{Limits, Parser, Progress, Sink};

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        status: u16,
        head: Vec<u8>,
        body: Vec<u8>,
    }

    struct Knowing<'a>(&'a mut Seen, Option<&'a mut KnownHead>);

    impl Sink for Knowing<'_> {
        fn head(&mut self, status: u16, head: &[u8], _: &[httparse::Header<'_>]) {
            (self.0.status, self.0.head) = (status, head.to_vec());
        }
        fn body(&mut self, data: &[u8]) {
            self.0.body.extend_from_slice(data);
        }
        fn known_head(&mut self) -> Option<&mut KnownHead> {
            self.1.as_deref_mut()
        }
    }

    type Read = Result<(Seen, Progress, bool), FailureClass>;

    fn read(wire: &[u8], to_head: bool, limits: Limits, known: Option<&mut KnownHead>) -> Read {
        let (mut parser, mut seen) = (Parser::new(), Seen::default());
        parser.begin(to_head);
        let progress = parser.feed(wire, limits, &mut Knowing(&mut seen, known))?;
        Ok((seen, progress, parser.reusable()))
    }

    /// Heads that begin alike, that differ in how the body is delimited, that are interim or cut off.
    const ANSWERS: [&str; 12] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nworldHTTP",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "no head at all\r\n\r\n",
    ];

    #[test]
    fn an_answer_is_read_the_same_whatever_came_before_it() {
        let wide = Limits { max_head: 1_000, max_body: 1_000 };
        for limits in [wide, Limits { max_head: 40, ..wide }, Limits { max_body: 4, ..wide }] {
            for before in ANSWERS {
                for answer in ANSWERS {
                    for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
                        let mut known = KnownHead::default();
                        let _ = read(before.as_bytes(), first, wide, Some(&mut known));
                        let alone = read(answer.as_bytes(), second, limits, None);
                        let after = read(answer.as_bytes(), second, limits, Some(&mut known));
                        assert_eq!(after, alone, "{answer:?} after {before:?}, {limits:?}");
                    }
                }
            }
        }
    }
}
