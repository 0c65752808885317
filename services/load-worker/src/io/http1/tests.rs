use protocol::failure::FailureClass;

use super::{Limits, Parser, Progress, Sink};

const LIMITS: Limits = Limits { max_head: 1024, max_body: 4096 };

#[derive(Debug, Default, PartialEq)]
struct Seen {
    status: u16,
    head: Vec<u8>,
    fields: usize,
    body: Vec<u8>,
}

impl Sink for Seen {
    fn head(&mut self, status: u16, head: &[u8], fields: &[httparse::Header<'_>]) {
        assert_eq!(self.status, 0, "one final head");
        self.status = status;
        self.head = head.to_vec();
        self.fields = fields.len();
    }
    fn body(&mut self, data: &[u8]) {
        assert!(!data.is_empty());
        self.body.extend_from_slice(data);
    }
}

/// Feeds `wire` in pieces of `piece` bytes, then the close.
fn read(wire: &[u8], piece: usize, to_head: bool) -> Result<(Seen, usize, bool), FailureClass> {
    let mut parser = Parser::new();
    parser.begin(to_head);
    let mut seen = Seen::default();
    let mut used = 0;
    for part in wire.chunks(piece) {
        match parser.feed(part, LIMITS, &mut seen)? {
            Progress::More => used += part.len(),
            Progress::Done(n) => return Ok((seen, used + n, parser.reusable())),
        }
    }
    parser.eof()?;
    Ok((seen, used, parser.reusable()))
}

/// The same outcome however the bytes are cut: in pieces of any size, and in two at any place.
fn everywhere(wire: &[u8], to_head: bool) -> Result<(Seen, usize, bool), FailureClass> {
    let whole = read(wire, wire.len(), to_head);
    for piece in 1..wire.len() {
        assert_eq!(read(wire, piece, to_head), whole, "pieces of {piece}");
    }
    for cut in 1..wire.len() {
        let mut parser = Parser::new();
        parser.begin(to_head);
        let mut seen = Seen::default();
        let first = parser.feed(&wire[..cut], LIMITS, &mut seen);
        let outcome = match first {
            Ok(Progress::More) => match parser.feed(&wire[cut..], LIMITS, &mut seen) {
                Ok(Progress::More) => parser.eof().map(|()| wire.len()),
                Ok(Progress::Done(n)) => Ok(cut + n),
                Err(class) => Err(class),
            },
            Ok(Progress::Done(n)) => Ok(n),
            Err(class) => Err(class),
        };
        assert_eq!(outcome.map(|used| (seen, used, parser.reusable())), whole, "cut at {cut}");
    }
    whole
}

#[test]
fn content_length_keep_alive() {
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhelloHTTP";
    let (seen, used, reusable) = everywhere(wire, false).unwrap();
    assert_eq!((seen.status, seen.fields, &seen.body[..]), (200, 2, &b"hello"[..]));
    assert_eq!(seen.head, &wire[..wire.len() - 9]);
    assert_eq!((used, reusable), (wire.len() - 4, true));
}

#[test]
fn chunked_with_extensions_and_trailers() {
    let wire =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n4;a=b\r\nwiki\r\n0\r\nT: x\r\n\r\n";
    let (seen, used, reusable) = everywhere(wire, false).unwrap();
    assert_eq!((&seen.body[..], used, reusable), (&b"wiki"[..], wire.len(), true));
}

#[test]
fn interim_answers_are_passed_over() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    let (seen, used, reusable) = everywhere(wire, false).unwrap();
    assert_eq!((seen.status, &seen.body[..], used, reusable), (201, &b"ok"[..], wire.len(), true));
}

#[test]
fn endless_interim_answers_end() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    assert_eq!(read(&wire, 7, false), Err(FailureClass::TooLarge));
    assert_eq!(read(&wire, wire.len(), false), Err(FailureClass::TooLarge));
}

#[test]
fn close_delimited() {
    let (seen, _, reusable) = everywhere(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", false).unwrap();
    assert_eq!((&seen.body[..], reusable), (&b"until the end"[..], false));
    let (seen, _, reusable) = everywhere(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false).unwrap();
    assert_eq!((&seen.body[..], reusable), (&b"x"[..], false));
    let wire = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx";
    assert!(everywhere(wire, false).unwrap().2);
}

#[test]
fn connection_close_is_heard() {
    let wire = b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n";
    assert!(!everywhere(wire, false).unwrap().2);
}

#[test]
fn no_body_where_none_can_be() {
    for (wire, to_head) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"[..], true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
    ] {
        let (seen, used, reusable) = everywhere(wire, to_head).unwrap();
        assert_eq!((seen.body.len(), used, reusable), (0, wire.len(), true));
    }
}

#[test]
fn cut_off_answers_are_resets() {
    for wire in [
        &b"HTTP/1.1 200 OK\r\nContent-Le"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        assert_eq!(everywhere(wire, false), Err(FailureClass::Reset));
    }
}

#[test]
fn garbage_is_malformed() {
    for wire in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        assert_eq!(read(wire, wire.len(), false), Err(FailureClass::Malformed), "{wire:?}");
    }
}

#[test]
fn limits_hold() {
    let mut huge = b"HTTP/1.1 200 OK\r\n".to_vec();
    huge.extend(b"X-Filler: 0123456789\r\n".repeat(100));
    huge.extend(b"\r\n");
    let mut fields = b"HTTP/1.1 200 OK\r\n".to_vec();
    fields.extend(b"a:\r\n".repeat(130));
    fields.extend(b"\r\n");
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n".to_vec();
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(6000, b'x');
    let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunks.extend(
        b"3e8\r\n".iter().chain(&[b'x'; 1000]).chain(b"\r\n").copied().collect::<Vec<u8>>().repeat(5),
    );
    for wire in [huge, fields, long, endless, chunks] {
        for piece in [1, 100, wire.len()] {
            assert_eq!(read(&wire, piece, false), Err(FailureClass::TooLarge));
        }
    }
}

#[test]
fn exactly_the_limits_pass() {
    let mut wire = b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n".to_vec();
    wire.resize(wire.len() + 4096, b'x');
    assert_eq!(read(&wire, 999, false).unwrap().0.body.len(), 4096);
}

#[test]
fn a_slow_large_head_is_not_parsed_again_for_each_byte() {
    // Doubling: about log2(1024) attempts. Shown by its outcome being the same and its cost being small.
    let mut wire = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    wire.resize(900, b'y');
    wire.extend(b"\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(read(&wire, 1, false).unwrap().0.status, 200);
}
