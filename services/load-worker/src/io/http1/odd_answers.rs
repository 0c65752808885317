//! Odd answers, read by this parser and by hyper's client: both find the same status, number of fields, body and whether
//! the connection is kept, or `odd_answers.txt` says what hyper finds and why we do not.
//!
//! Where they differ:
//! * *A length beside chunks, chunks in HTTP/1.0*: we read the answer and close, as RFC 9112 wants; hyper keeps the
//!   connection of the first and refuses the second.
//! * *`Connection: close` beside bytes that are not ASCII*: we close.
//! * *Limits*: we take 128 fields, 64 KiB of extensions and trailers, and no chunk of 2^60 bytes or more.
//! * *A zero in a chunk extension, a bare line feed for the last empty line or after a trailer*: malformed; hyper takes the
//!   first and waits for more after the others.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use protocol::failure::FailureClass;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::{JoinSet, yield_now};

use super::{Limits, Parser, Progress, Sink};

const LIMITS: Limits = Limits { max_head: 64 * 1024, max_body: 1024 * 1024 };

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Whole { status: u16, fields: usize, body: Vec<u8>, keeps: bool },
    CutOff,
    Malformed,
    TooLarge,
}

/// A line of the table.
struct Row {
    name: String,
    head: bool,
    wire: Vec<u8>,
    ours: Outcome,
    hypers: Option<Outcome>,
}

/// Bytes as the table writes them: `\r`, `\n`, `\t`, `\0`, `\\`, `\x7f`, and `\{20:text}` for a text twenty times.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = match kind {
            "x" => {
                out.push(u8::from_str_radix(&after[..2], 16).unwrap());
                &after[2..]
            }
            "{" => {
                let (repeat, after) = after.split_once('}').unwrap();
                let (times, text) = repeat.split_once(':').unwrap();
                out.extend(bytes(text).repeat(times.parse().unwrap()));
                after
            }
            _ => {
                let at = "rnt0\\".find(kind).unwrap_or_else(|| panic!("unknown escape \\{kind}"));
                out.push(b"\r\n\t\0\\"[at]);
                after
            }
        };
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn outcome(text: &str) -> Outcome {
    match text {
        "cut-off" => Outcome::CutOff,
        "malformed" => Outcome::Malformed,
        "too-large" => Outcome::TooLarge,
        whole => {
            let mut parts = whole.splitn(4, ' ');
            let mut part = || parts.next().unwrap_or_else(|| panic!("not an outcome: {whole}"));
            let (status, fields) = (part().parse().unwrap(), part().parse().unwrap());
            let keeps = part();
            assert!(["keeps", "ends"].contains(&keeps), "{whole}");
            let body = part().strip_prefix('"').and_then(|body| body.strip_suffix('"')).unwrap();
            Outcome::Whole { status, fields, body: bytes(body), keeps: keeps == "keeps" }
        }
    }
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in include_str!("odd_answers.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(hypers) = line.strip_prefix("  hyper: ") {
            let (hypers, reason) = hypers.split_once(" | ").unwrap();
            assert!(!reason.is_empty());
            rows.last_mut().unwrap().hypers = Some(outcome(hypers));
            continue;
        }
        let [name, method, ours, wire] = line.splitn(4, " | ").collect::<Vec<_>>()[..] else {
            panic!("not a row: {line}");
        };
        assert!(["GET", "HEAD"].contains(&method), "{line}");
        rows.push(Row {
            name: name.into(),
            head: method == "HEAD",
            wire: bytes(wire),
            ours: outcome(ours),
            hypers: None,
        });
    }
    rows
}

#[derive(Default)]
struct Seen {
    status: u16,
    fields: usize,
    body: Vec<u8>,
}

impl Sink for Seen {
    fn head(&mut self, status: u16, _: &[u8], fields: &[httparse::Header<'_>]) {
        (self.status, self.fields) = (status, fields.len());
    }
    fn body(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }
}

/// What our parser makes of the pieces and a close after them, used as a connection uses it.
fn we_read<'a>(pieces: impl Iterator<Item = &'a [u8]>, head: bool) -> Outcome {
    let mut parser = Parser::new();
    parser.begin(head);
    let mut seen = Seen::default();
    let mut whole = None;
    for piece in pieces {
        if whole.is_some() {
            whole = Some(false);
            continue;
        }
        match parser.feed(piece, LIMITS, &mut seen) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(used)) => whole = Some(parser.reusable() && used == piece.len()),
            Err(FailureClass::TooLarge) => return Outcome::TooLarge,
            Err(class) => {
                assert_eq!(class, FailureClass::Malformed);
                return Outcome::Malformed;
            }
        }
    }
    match whole.map_or_else(|| parser.eof().map(|()| false), Ok) {
        Ok(keeps) => Outcome::Whole { status: seen.status, fields: seen.fields, body: seen.body, keeps },
        Err(FailureClass::Malformed) => Outcome::Malformed,
        Err(_) => Outcome::CutOff,
    }
}

/// The wire in pieces of seeded sizes.
fn pieces(wire: &[u8], seed: u64) -> Vec<&[u8]> {
    let most = [1, 3, 16, 1000][(seed % 4) as usize];
    let (mut rest, mut pieces) = (wire, Vec::new());
    while !rest.is_empty() {
        let length = 1 + draws::up_to(most, draws::at(seed, pieces.len() as u64));
        let (piece, after) = rest.split_at(rest.len().min(usize::try_from(length).unwrap()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What hyper's client makes of it.
async fn hyper_reads(wire: &[u8], head: bool, seed: u64) -> Outcome {
    let (client, mut server) = duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async { drop(connection.await) });
    let mut exchange = JoinSet::new();
    exchange.spawn(async move {
        let method = if head { "HEAD" } else { "GET" };
        let request = Request::builder().method(method).uri("/").header("host", "x");
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        Ok::<_, hyper::Error>((parts.status.as_u16(), parts.headers.len(), body, sender))
    });
    let mut asked = [0; 1024];
    let _ = server.read(&mut asked).await.unwrap();
    for piece in pieces(wire, seed) {
        // It may have closed already.
        if server.write_all(piece).await.is_err() {
            break;
        }
        yield_now().await;
    }
    // The clock stands still while there is anything to do.
    let idle = Duration::from_secs(1);
    let answer = if let Ok(answer) = tokio::time::timeout(idle, exchange.join_next()).await {
        answer
    } else {
        let _ = server.shutdown().await;
        exchange.join_next().await
    };
    match answer.unwrap().unwrap() {
        Ok((status, fields, body, mut sender)) => {
            tokio::time::sleep(idle).await;
            let ready = matches!(tokio::time::timeout(idle, sender.ready()).await, Ok(Ok(())));
            let keeps = ready && driver.try_join_next().is_none();
            Outcome::Whole { status, fields, body, keeps }
        }
        Err(error) => class_of(&error),
    }
}

fn class_of(error: &hyper::Error) -> Outcome {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    if error.is_parse_too_large() || cause.is_some_and(|cause| cause.to_string().contains("over")) {
        return match cause {
            Some(cause) if cause.to_string().contains("invalid chunk size") => Outcome::Malformed,
            _ => Outcome::TooLarge,
        };
    }
    let cut = error.is_incomplete_message()
        || cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::UnexpectedEof);
    if cut { Outcome::CutOff } else { Outcome::Malformed }
}

#[test]
fn they_are_read_as_the_table_says_however_they_are_cut() {
    let mut wrong = Vec::new();
    for row in rows() {
        let mut found = vec![we_read(std::iter::once(&row.wire[..]), row.head)];
        found.extend((0..24).map(|seed| we_read(pieces(&row.wire, seed).into_iter(), row.head)));
        wrong.extend(found.into_iter().find(|found| *found != row.ours).map(|found| (row.name, found)));
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

/// A wire of the table, changed at some places.
fn mutant(wires: &[Vec<u8>], seed: u64) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"0",
        b"f",
        b"ffffffffffffff",
        b"\xff",
        b"HTTP/1.1 100 X\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
    ];
    let pick =
        |n: u64, from: usize| usize::try_from(draws::up_to(from as u64 - 1, draws::at(seed, n))).unwrap();
    let mut wire = wires[pick(0, wires.len())].clone();
    wire.truncate(2_000);
    for change in 0..=pick(1, 4) as u64 {
        let (n, at) = (2 + change * 4, pick(2 + change * 4, wire.len() + 1));
        let end = at + pick(n + 1, 8).min(wire.len() - at);
        match pick(n + 2, 4) {
            0 => drop(wire.drain(at..end)),
            1 => drop(wire.splice(at..at, WORDS[pick(n + 3, WORDS.len())].iter().copied())),
            2 => wire[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << pick(n + 3, 8)),
            _ => {
                let other = &wires[pick(n + 3, wires.len())];
                wire.truncate(at);
                wire.extend_from_slice(&other[other.len().min(at)..other.len().min(2_000)]);
            }
        }
    }
    wire
}

#[test]
fn mutants_are_read_the_same_however_they_are_cut() {
    let wires: Vec<_> = rows().into_iter().map(|row| row.wire).collect();
    let mut whole = 0;
    for seed in 0..40_000 {
        let wire = mutant(&wires, seed);
        let head = seed % 5 == 0;
        let found = we_read(std::iter::once(&wire[..]), head);
        let cut = we_read(pieces(&wire, seed).into_iter(), head);
        assert_eq!(found, cut, "{}", wire.escape_ascii());
        if let Outcome::Whole { status, fields, body, .. } = found {
            whole += 1;
            assert!((101..=999).contains(&status) && fields <= 128 && body.len() <= wire.len());
        }
    }
    assert!((4_000..36_000).contains(&whole), "{whole} of 40 000 mutants are answers");
}

#[tokio::test(start_paused = true)]
async fn hyper_reads_them_the_same_or_the_table_says_why_not() {
    let rows = rows();
    assert!(rows.len() >= 200, "{} answers", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let expected = row.hypers.as_ref().unwrap_or(&row.ours);
        assert!(row.hypers.as_ref() != Some(&row.ours), "{}: no difference", row.name);
        for seed in 0..4 {
            let found = hyper_reads(&row.wire, row.head, seed).await;
            if found != *expected {
                wrong.push((row.name, found));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}
