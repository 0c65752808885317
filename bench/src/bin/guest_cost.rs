//! What the guests `http`, `mcp` and `expert` cost a request, by what they look at of the answer: what `cargo xtask bench guest` counts
//! instructions of and takes times of. Prints JSON.
//!
//! `guest-cost GUEST.wasm CACHE CASE BATCH REQUESTS ROUNDS`: calls of BATCH starts each, with the answers to the call before, until
//! REQUESTS were made. That is a round; `nanoseconds` are of the fastest, for the machine's noise only adds. CACHE is a
//! folder for the compiled guest. What is measured is the call as the load thread makes it: words to the guest, its work, and
//! its words read and checked; making starts is in it, too, and is little.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what was measured goes to whoever started it")]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbox::abi::{Completion, CompletionKind, Interest, Request, Setup, Slice, Start};
use sandbox::{Guest, Host, HostConfig, Limits};

/// What a case is: the guest's configuration, what it has to look at, and what it is told.
struct Case {
    name: &'static str,
    config: &'static str,
    /// `None` = nothing of the answer.
    interest: Option<Interest>,
    told: CompletionKind,
}

impl Case {
    /// Answers carry the numbers of their requests.
    fn responds(&self) -> bool {
        self.name.starts_with("mcp-") || self.is_of_expert()
    }

    fn is_of_expert(&self) -> bool {
        self.name.starts_with("expert")
    }
}

const STEP: &str = r#"{ "steps": [{ "get": "/items" }] }"#;

const CASES: &[Case] = &[
    Case { name: "none", config: STEP, interest: None, told: CompletionKind::End },
    // The worker checks, and the guest hears nothing of it.
    Case {
        name: "status",
        config: r#"{ "steps": [{ "get": "/items", "check": { "status": 200 } }] }"#,
        interest: None,
        told: CompletionKind::End,
    },
    // Two weighted steps, a row of a feeder for each arrival, a header by user, the status checked.
    Case {
        name: "parameters",
        config: r#"{ "headers": { "x-user": "user-{user}" }, "steps": [
            { "name": "a", "weight": 3, "get": "/items/{id}", "feed": "items.csv", "check": { "status": 200 } },
            { "name": "b", "weight": 1, "get": "/items/{id}?all", "feed": "items.csv", "check": { "status": 200 } }] }"#,
        interest: None,
        told: CompletionKind::End,
    },
    Case {
        name: "head",
        config: r#"{ "steps": [{ "get": "/items", "extract": { "token": { "header": "x-token" } } }] }"#,
        interest: Some(Interest::HEAD),
        told: CompletionKind::End,
    },
    // A number in the middle of 1 KB.
    Case {
        name: "body",
        config: r#"{ "steps": [{ "get": "/items", "check": { "json": { "$.price": 9.5 } } }] }"#,
        interest: Some(Interest::BODY),
        told: CompletionKind::End,
    },
    // This guest has no use for events: it is what being told of one costs. With no request in it.
    Case { name: "event", config: STEP, interest: None, told: CompletionKind::Event },
    // A call of a tool without a session; of the answer its status, or all of it verified as JSON-RPC.
    Case {
        name: "mcp-status",
        config: r#"{ "revision": "2026-07-28", "list-tools": false, "verify": "status",
            "calls": [{ "tool": "echo", "arguments": { "message": "hello {user}" } }] }"#,
        interest: Some(Interest::END),
        told: CompletionKind::End,
    },
    Case {
        name: "mcp-verified",
        config: r#"{ "revision": "2026-07-28", "list-tools": false,
            "calls": [{ "tool": "echo", "arguments": { "message": "hello {user}" } }] }"#,
        interest: Some(Interest::BODY),
        told: CompletionKind::End,
    },
    // A query of one model; of the answer its status and head, or all of it verified: its shape, its end, its tokens.
    Case {
        name: "expert-status",
        config: r#"{ "prompt": "What is {arrival}? Answer in one sentence.", "verify": "status",
            "experts": [{ "name": "a", "api": "deepseek", "model": "m", "key": "k" }] }"#,
        interest: Some(Interest::HEAD),
        told: CompletionKind::End,
    },
    Case {
        name: "expert",
        config: r#"{ "prompt": "What is {arrival}? Answer in one sentence.",
            "experts": [{ "name": "a", "api": "deepseek", "model": "m", "key": "k" }] }"#,
        interest: Some(Interest::BODY),
        told: CompletionKind::End,
    },
];

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 1024\r\nX-Token: 0123456789abcdef\r\nCache-Control: no-store\r\n\r\n";

/// A chat completion as DeepSeek's API answers with.
const CHAT: &str = r#"{"id":"930c60df-bf64-41c9-a88e-3ec75f81e00e","object":"chat.completion","created":1705651092,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"It is the number of the arrival, and nothing else."},"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":10,"total_tokens":26}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [guest, cache, case, batch, requests, rounds] = words.as_slice() else {
        return Err("guest-cost wants GUEST.wasm CACHE CASE BATCH REQUESTS ROUNDS".into());
    };
    let case = CASES.iter().find(|known| known.name == case).ok_or("no such case")?;
    let (batch, requests): (u32, u64) = (batch.parse()?, requests.parse()?);
    // Under callgrind a call takes fifty times as long.
    let limits = Limits {
        call_deadline: Duration::from_secs(60),
        describe_deadline: Duration::from_secs(60),
        configure_deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    let host =
        Host::new(HostConfig { cache_dir: Some(PathBuf::from(cache)), limits, ..HostConfig::default() })?;
    let guest = host.load(guest.as_ref())?;
    let mut fastest = Duration::MAX;
    for _ in 0..rounds.parse()? {
        fastest = fastest.min(round(&guest, case, batch, requests)?);
    }
    println!(r#"{{ "requests": {requests}, "nanoseconds": {} }}"#, fastest.as_nanos());
    Ok(())
}

/// Two halves of the users take turns, so that each call has answers for one and starts for the other.
fn round(guest: &Guest, case: &Case, batch: u32, requests: u64) -> Result<Duration, Box<dyn Error>> {
    let mut instance = guest.instantiate(case.config, 7, 2 * batch)?;
    let mut told = Told::new(instance.setup(), case, batch);
    let responds = case.responds();
    let (mut sent, mut finished, mut silent) = (0, 0, true);
    let (events, none) = (case.told == CompletionKind::Event, Interest::empty());
    let begun = Instant::now();
    for call in 0_u64.. {
        if sent >= requests {
            break;
        }
        let half = u32::try_from(call % 2)? * batch;
        let starts: Vec<Start> = if events {
            Vec::new()
        } else {
            (0..batch)
                .map(|user| Start { user: half + user, arrival: sent + u64::from(user), rows: told.rows })
                .collect()
        };
        let done = if silent { &[][..] } else { &told.done[usize::try_from(1 - call % 2)?] };
        silent = case.interest.is_none() && !events;
        let output = instance.step(0, &starts, done, &told.arena)?;
        if output.requests.len() != starts.len()
            || output.requests.iter().any(|request| {
                case.interest.map_or(request.interest != none, |wanted| !request.interest.contains(wanted))
            })
            || output.verdicts.iter().any(|verdict| !verdict.pass)
        {
            return Err(format!("{}: {output:?}", case.name).into());
        }
        if responds {
            told.respond(&output.requests, case, usize::try_from(call % 2)?);
        }
        finished += output.finished.len() as u64;
        sent += u64::from(batch);
    }
    let spent = begun.elapsed();
    // Of the last call's, whoever waits for an answer is not finished.
    if !events && finished + u64::from(batch) < sent {
        return Err(format!("{}: {finished} of {sent} turns are finished", case.name).into());
    }
    Ok(spent)
}

/// What a call brings the guest beside starts.
struct Told {
    arena: Vec<u8>,
    rows: Slice,
    /// For each half of the users.
    done: [Vec<Completion>; 2],
}

impl Told {
    fn new(setup: &Setup, case: &Case, batch: u32) -> Self {
        let mut arena = Vec::new();
        for _ in setup.feeds.iter().flat_map(|feed| &feed.columns) {
            arena.extend_from_slice(&5_u32.to_le_bytes());
            arena.extend_from_slice(b"12345");
        }
        let rows = Slice { off: 0, len: u32::try_from(arena.len()).unwrap_or(0) };
        let body = match case.told {
            CompletionKind::Event => br#"{"index":3,"delta":{"text":" a word or two"}}"#.to_vec(),
            _ => json(),
        };
        let mut put = |bytes: &[u8], wanted: bool| {
            let off = u32::try_from(arena.len()).unwrap_or(0);
            let bytes = if wanted { bytes } else { &[] };
            arena.extend_from_slice(bytes);
            Slice { off, len: u32::try_from(bytes.len()).unwrap_or(0) }
        };
        let mut answer = |user| Completion {
            status: 200,
            first_byte_us: 900,
            last_byte_us: 1000,
            head: put(HEAD, case.interest == Some(Interest::HEAD)),
            body: put(&body, case.interest == Some(Interest::BODY) || case.told == CompletionKind::Event),
            ..Completion::note(case.told, user, 0)
        };
        // Where an answer has the number of its request, it is made when that is known.
        let batch = if case.responds() { 0 } else { batch };
        let done = [(0..batch).map(&mut answer).collect(), (batch..2 * batch).map(&mut answer).collect()];
        Self { arena, rows, done }
    }
}

impl Told {
    /// Answers to requests of the guests that number theirs; messages of the mcp guest have the number in them, too.
    fn respond(&mut self, requests: &[Request], case: &Case, half: usize) {
        let wants = |interest: Interest| case.interest.is_some_and(|wanted| wanted.contains(interest));
        let is_verified = wants(Interest::BODY);
        self.arena.clear();
        self.done[half].clear();
        let mut put = |bytes: std::fmt::Arguments<'_>, wanted: bool| {
            let off = self.arena.len();
            if wanted {
                // A Vec takes whatever is written.
                let _ = self.arena.write_fmt(bytes);
            }
            let slice = |place: usize| u32::try_from(place).unwrap_or(0);
            Slice { off: slice(off), len: slice(self.arena.len() - off) }
        };
        let head =
            put(format_args!("{}", String::from_utf8_lossy(HEAD)), is_verified || wants(Interest::HEAD));
        for request in requests {
            let body = if case.is_of_expert() {
                put(format_args!("{CHAT}"), is_verified)
            } else {
                put(
                    format_args!(
                        r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":"Echo: hello"}}],"isError":false,"resultType":"complete"}}}}"#,
                        request.seq
                    ),
                    is_verified,
                )
            };
            self.done[half].push(Completion {
                status: 200,
                first_byte_us: 900,
                last_byte_us: 1000,
                head,
                body,
                ..Completion::note(CompletionKind::End, request.user, request.seq)
            });
        }
    }
}

/// 1 KB as APIs answer with.
fn json() -> Vec<u8> {
    let filler = "x".repeat(700);
    let text = format!(
        r#"{{"category":"tools","description":"{filler}","dimensions":{{"depth":11.5,"height":30,"width":21.25}},"id":4711,"name":"a hammer with a wooden handle","price":9.5,"reviews":[{{"by":"ada","stars":5,"text":"It does what a hammer does."}},{{"by":"ben","stars":4,"text":"A little heavy, \"but good\"."}}],"tags":["hammer","wood","steel","workshop"]}}"#
    );
    text.into_bytes()
}
