//! Any bytes as an answer: the parser never panics, keeps to its limits, and finds the same however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load_worker_fuzz::cut;
use load_worker_fuzz::io::http1::{Limits, Parser, Progress, Sink};
use protocol::failure::FailureClass;

const LIMITS: Limits = Limits { max_head: 512, max_body: 1024 };

#[derive(Debug, Default, PartialEq)]
struct Seen {
    heads: u32,
    status: u16,
    fields: usize,
    body: Vec<u8>,
}

impl Sink for Seen {
    fn head(&mut self, status: u16, head: &[u8], fields: &[httparse::Header<'_>]) {
        assert!(head.len() <= LIMITS.max_head && self.body.is_empty());
        (self.heads, self.status, self.fields) = (self.heads + 1, status, fields.len());
    }
    fn body(&mut self, data: &[u8]) {
        assert!(self.heads == 1 && !data.is_empty());
        self.body.extend_from_slice(data);
        assert!(self.body.len() as u64 <= LIMITS.max_body);
    }
}

/// What an answer is, how many bytes it had, and whether the connection is kept.
fn read<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    to_head: bool,
) -> Result<(Seen, usize, bool), FailureClass> {
    let mut parser = Parser::new();
    parser.begin(to_head);
    let (mut seen, mut used) = (Seen::default(), 0);
    for piece in pieces {
        match parser.feed(piece, LIMITS, &mut seen)? {
            Progress::More => used += piece.len(),
            Progress::Done(n) => {
                assert!(n <= piece.len() && seen.heads == 1);
                return Ok((seen, used + n, parser.reusable()));
            }
        }
    }
    parser.eof()?;
    Ok((seen, used, parser.reusable()))
}

fuzz_target!(|data: &[u8]| {
    let [method, key, wire @ ..] = data else { return };
    let whole = read(std::iter::once(wire), method & 1 == 1);
    assert_eq!(read(cut(wire, u64::from(*key)), method & 1 == 1), whole);
});
