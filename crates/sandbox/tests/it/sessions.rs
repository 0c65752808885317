//! What a session of the mcp guest, and a user of the expert guest, take of its memory.

use sandbox::Instance;
use sandbox::abi::{self, Completion, CompletionKind, Output, Request, Slice, Start};

use crate::components::component;
use crate::wat::Bench;

const MCP: &str = r#"{ "revision": "2025-11-25", "list-tools": false,
    "calls": [{ "tool": "echo", "arguments": { "message": "hello {user}" } }] }"#;
/// Two models, and an answer that is kept for what it says: as much as a single query has.
const EXPERT: &str = r#"{ "prompt": "What is {question}?", "feed": "questions.csv", "expect": "answer", "experts": [
    { "name": "d", "api": "deepseek", "model": "m", "key": "k" },
    { "name": "o", "api": "openrouter", "model": "m", "key": "k" }] }"#;
/// Turns that begin in one call, as many as a plan has by default.
const BATCH: u32 = 64;
/// Users of the smaller and of the larger instance: what all share is in both.
const USERS: (u32, u32) = (2_000, 10_000);
/// Linear memory of a session or a user with a call under way, bytes.
const MOST: usize = 2_048;

/// The end of a request with this answer.
fn ended(request: &Request, status: u32, head: Slice, body: Slice) -> Completion {
    let ended = Completion::note(CompletionKind::End, request.user, request.seq);
    Completion { status, first_byte_us: 900, last_byte_us: 1000, head, body, ..ended }
}

/// Answers to what opens a session, over the arena that comes with them; a call of the tool is left without one.
fn answers(said: &Output) -> (Vec<Completion>, Vec<u8>) {
    let mut arena = Vec::new();
    let mut put = |text: String| {
        let off = u32::try_from(arena.len()).unwrap();
        arena.extend_from_slice(text.as_bytes());
        Slice { off, len: u32::try_from(text.len()).unwrap() }
    };
    let mut done = Vec::new();
    for request in &said.requests {
        let body = abi::slice(&said.arena, request.body).unwrap();
        let has = |text: &str| String::from_utf8_lossy(body).contains(text);
        let (status, head, body) = if has("\"initialize\"") {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: {:036}\r\n\r\n",
                request.user
            );
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"s","version":"1"}}}}}}"#,
                request.seq
            );
            (200, put(head), put(body))
        } else if has("notifications/initialized") {
            (202, put("HTTP/1.1 202 Accepted\r\n\r\n".to_owned()), put(String::new()))
        } else {
            assert!(has("tools/call"), "{}", String::from_utf8_lossy(body));
            continue;
        };
        done.push(ended(request, status, head, body));
    }
    (done, arena)
}

/// The memory of an instance whose users all have a session open and a call under way.
fn memory_of(instance: &mut Instance, users: u32) -> usize {
    let mut calls = 0;
    for first in (0..users).step_by(BATCH as usize) {
        let none = Slice { off: 0, len: 0 };
        let batch = first..users.min(first + BATCH);
        let starts: Vec<_> = batch.map(|user| Start { user, arrival: user.into(), rows: none }).collect();
        let mut said = instance.step(0, &starts, &[], &[]).unwrap();
        loop {
            let (done, arena) = answers(&said);
            calls += said.requests.len() - done.len();
            if done.is_empty() {
                break;
            }
            said = instance.step(0, &[], &done, &arena).unwrap();
            assert!(said.verdicts.iter().all(|verdict| verdict.pass), "{said:?}");
        }
    }
    assert_eq!(calls, users as usize, "every user has a call under way");
    instance.memory_bytes()
}

#[test]
fn a_session_of_the_mcp_guest_takes_less_than_two_kilobytes() {
    let bench = Bench::new();
    let guest = bench.host.load(&component("mcp")).unwrap();
    assert_small("a session", |users| memory_of(&mut guest.instantiate(MCP, 7, users).unwrap(), users));
}

#[track_caller]
fn assert_small(what: &str, of: impl Fn(u32) -> usize) {
    let (few, many) = (of(USERS.0), of(USERS.1));
    let each = (many - few) / (USERS.1 - USERS.0) as usize;
    assert!(each < MOST, "{what} takes {each} bytes; {} users {few}, {} users {many}", USERS.0, USERS.1);
}

/// The memory of an instance whose users have all had an answer to a first query, and have a second one under way.
fn memory_of_asking(instance: &mut Instance, users: u32) -> usize {
    // Its columns are filled as the feed's rows would: a question and its answer.
    let row: Vec<u8> = ["the colour of the sky at noon", "blue"]
        .iter()
        .flat_map(|text| [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat())
        .collect();
    let rows = Slice { off: 0, len: u32::try_from(row.len()).unwrap() };
    for turn in 0..2 {
        for first in (0..users).step_by(BATCH as usize) {
            let batch = first..users.min(first + BATCH);
            let arrival = |user: u32| u64::from(turn * users + user);
            let starts: Vec<_> = batch.map(|user| Start { user, arrival: arrival(user), rows }).collect();
            let said = instance.step(0, &starts, &[], &row).unwrap();
            assert_eq!(said.requests.len(), starts.len());
            if turn == 0 {
                let mut arena = row.clone();
                let off = u32::try_from(arena.len()).unwrap();
                arena.extend_from_slice(CHAT.as_bytes());
                let body = Slice { off, len: u32::try_from(CHAT.len()).unwrap() };
                let none = Slice { off: 0, len: 0 };
                let done: Vec<_> =
                    said.requests.iter().map(|request| ended(request, 200, none, body)).collect();
                let said = instance.step(0, &[], &done, &arena).unwrap();
                assert!(said.verdicts.iter().all(|verdict| verdict.pass), "{said:?}");
                assert_eq!(said.finished.len(), done.len());
            }
        }
    }
    instance.memory_bytes()
}

/// A chat completion, as both of these APIs have it.
const CHAT: &str = r#"{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"It is blue."},"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":4,"total_tokens":20}}"#;

#[test]
fn a_user_of_the_expert_guest_takes_less_than_two_kilobytes() {
    let bench = Bench::new();
    let guest = bench.host.load(&component("expert")).unwrap();
    assert_small("a user", |users| {
        memory_of_asking(&mut guest.instantiate(EXPERT, 7, users).unwrap(), users)
    });
}
