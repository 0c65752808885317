//! What drafts write into the arena.

use super::*;
use crate::turn::slice;

fn output() -> wire::Output {
    wire::Output {
        arena: vec![b'x'; 3],
        requests: vec![],
        verdicts: vec![],
        finished: vec![],
        commands: vec![],
    }
}

/// Target, header block and body of the last request.
fn parts(output: &wire::Output) -> [Vec<u8>; 3] {
    let request = output.requests.last().unwrap();
    [request.target, request.headers, request.body].map(|at| slice(&output.arena, at).to_vec())
}

#[test]
fn parts_come_out_as_written() {
    let mut output = output();
    Outbox::new(&mut output)
        .request(1, 2, 3)
        .target("/a/")
        .target_escaped("b c/ä")
        .header("k", "v")
        .header_fmt("n", format_args!("{}", 12))
        .body("{")
        .body_fmt(format_args!("{}", '}'))
        .send();
    let [target, headers, body] = parts(&output);
    assert_eq!(target, b"/a/b%20c%2F%C3%A4");
    assert_eq!(headers, b"\x01\0\x01\0kv\x01\0\x02\0n12");
    assert_eq!(body, b"{}");
    assert_eq!(output.arena.len(), 3 + target.len() + headers.len() + body.len(), "nothing was moved");
}

#[test]
fn parts_written_in_any_order_stay_whole() {
    let mut output = output();
    Outbox::new(&mut output)
        .request(0, 0, 0)
        .body("1")
        .header("a", "b")
        .target("/x")
        .body("2")
        .header("c", "d")
        .target("/y")
        .send();
    assert_eq!(parts(&output), [b"/x/y".to_vec(), b"\x01\0\x01\0ab\x01\0\x01\0cd".to_vec(), b"12".to_vec()]);
}

#[test]
fn a_writer_can_write_the_body() {
    let mut output = output();
    let mut outbox = Outbox::new(&mut output);
    let mut draft = outbox.request(0, 0, 0);
    io::Write::write_all(&mut draft.body_part(), b"bytes").unwrap();
    draft.send();
    assert_eq!(parts(&output)[2], b"bytes");
}

#[test]
fn a_discarded_draft_leaves_nothing() {
    let mut output = output();
    Outbox::new(&mut output).request(0, 0, 0).target("/x").body("y").discard();
    assert_eq!(output.arena, b"xxx");
    assert!(output.requests.is_empty());
}

#[test]
fn an_overlong_header_is_cut_and_its_neighbours_stay_whole() {
    let mut output = output();
    let long = "v".repeat(70_000);
    Outbox::new(&mut output).request(0, 0, 0).header("a", &long).header("b", "w").send();
    let headers = &parts(&output)[1];
    assert_eq!(headers.len(), 4 + 1 + 65_535 + 4 + 1 + 1);
    assert!(headers.ends_with(b"\x01\0\x01\0bw"));
}

#[test]
fn what_a_part_has_so_far_can_be_read_back() {
    let mut output = output();
    let mut outbox = Outbox::new(&mut output);
    let mut draft = outbox.request(1, 2, 3).target("/a").body("be");
    let mut part = draft.body_part();
    part.push(b"fore");
    assert_eq!(part.written(), b"before");
    draft.send();
}

#[test]
fn headers_written_beforehand_are_as_those_written_one_by_one() {
    let long = "v".repeat(70_000);
    let pairs = [("k", "v"), ("", ""), ("long", long.as_str())];
    let (mut one_by_one, mut beforehand) = (output(), output());
    let mut outbox = Outbox::new(&mut one_by_one);
    pairs
        .iter()
        .fold(outbox.request(0, 0, 0).header("first", "1"), |draft, (name, value)| draft.header(name, value))
        .send();
    let headers = pairs.iter().fold(Headers::default(), |headers, (name, value)| headers.with(name, value));
    Outbox::new(&mut beforehand).request(0, 0, 0).header("first", "1").headers(&headers).send();
    assert_eq!(parts(&one_by_one), parts(&beforehand));
}
