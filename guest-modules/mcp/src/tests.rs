//! Whole turns, as a worker would play them, against servers that are a function each.

mod calls;
mod draws;
mod event_stream;
mod failures;
mod problems;
mod sessions;
mod stateless;
mod whole_sessions;

use gauntlet_sdk::testing::{Answer, Bench, Command, Finish, Said, Sent};
use gauntlet_sdk::{CompletionKind, Scenario};
use serde_json::{Value, json};

use crate::Mcp;

const USERS: u32 = 4;

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn bench(config: Value) -> Bench<Mcp> {
    Bench::new(&config.to_string(), 7, USERS).unwrap()
}

/// One call of the tool `echo` in this revision.
fn echo(revision: &str) -> Value {
    json!({ "revision": revision, "calls": [{ "tool": "echo", "arguments": { "message": "hi" } }] })
}

/// All that was said in a turn.
#[derive(Debug, Default)]
struct Turned {
    sent: Vec<Sent>,
    verdicts: Vec<(String, bool)>,
    commands: Vec<Command>,
    finished: Vec<Finish>,
}

impl Turned {
    fn add(&mut self, said: Said) -> Vec<Sent> {
        let short = |check: &str| check.split(':').next().unwrap_or_default().to_owned();
        self.verdicts.extend(said.verdicts.iter().map(|one| (short(&one.check), one.pass)));
        self.commands.extend(said.commands);
        self.finished.extend(said.finished);
        self.sent.extend(said.requests.iter().cloned());
        said.requests
    }

    /// Methods of the messages that were sent, or of the requests where there is no message.
    fn methods(&self) -> Vec<String> {
        self.sent.iter().map(method).collect()
    }

    /// The checks that failed, each once.
    fn failed(&self) -> Vec<&str> {
        let mut all: Vec<_> = self
            .verdicts
            .iter()
            .filter(|(name, pass)| !pass && name != "valid")
            .map(|(name, _)| &**name)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn ended(&self) -> Vec<(u32, bool)> {
        let ends = self.commands.iter().filter_map(|command| match command {
            Command::EndOperation { operation, ok, .. } => Some((*operation, *ok)),
            _ => None,
        });
        ends.collect()
    }

    fn last(&self) -> &Sent {
        self.sent.last().unwrap()
    }
}

/// Plays one turn to the end of what the server answers.
fn turn(
    bench: &mut Bench<Mcp>,
    user: u32,
    arrival: u64,
    mut server: impl FnMut(&Sent) -> Vec<Answer>,
) -> Turned {
    let mut turned = Turned::default();
    let mut sent = turned.add(bench.start(user, arrival, &[]));
    for _ in 0..100 {
        if sent.is_empty() {
            return turned;
        }
        let answers: Vec<_> = sent.iter().flat_map(&mut server).collect();
        sent = turned.add(bench.answer(&answers));
    }
    panic!("the turn does not end: {:?}", turned.methods());
}

fn body(sent: &Sent) -> Value {
    serde_json::from_slice(&sent.body).unwrap_or(Value::Null)
}

fn method(sent: &Sent) -> String {
    match &body(sent) {
        Value::Null => sent.method.clone(),
        Value::Array(all) => format!("{} x {}", all.len(), all[0]["method"].as_str().unwrap_or_default()),
        body => body["method"].as_str().unwrap_or("response").to_owned(),
    }
}

/// The result that a sound server gives.
fn result(method: &str) -> Value {
    let complete = |mut more: Value| {
        more["resultType"] = json!("complete");
        more["ttlMs"] = json!(0);
        more["cacheScope"] = json!("public");
        more
    };
    match method {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {} }),
        "server/discover" => complete(json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} })),
        "tools/list" => complete(json!({ "tools": [{ "name": "echo", "inputSchema": {
            "type": "object", "required": ["message"], "properties": { "message": { "type": "string" } } } }] })),
        "prompts/list" => complete(json!({ "prompts": [] })),
        "resources/list" => complete(json!({ "resources": [] })),
        "resources/read" => complete(json!({ "contents": [] })),
        "prompts/get" => complete(json!({ "messages": [] })),
        _ => complete(json!({ "content": [{ "type": "text", "text": "Echo: hi" }] })),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn response(sent: &Sent, result: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": body(sent)["id"], "result": result }).to_string()
}

fn as_json(sent: &Sent, text: &str) -> Answer {
    Answer::to(sent).header("content-type", "application/json; charset=utf-8").body(text)
}

/// The head, each text as an event, and the end.
fn as_stream(sent: &Sent, texts: &[&str]) -> Vec<Answer> {
    let head = |answer: Answer| answer.header("content-type", "text/event-stream");
    let mut all = vec![head(Answer::to(sent).kind(CompletionKind::Head))];
    let mut number = 0;
    for text in texts {
        number += 1;
        all.push(
            Answer::event(sent, number, "message", text)
                .id(&format!("e{number}"))
                .last_byte_us(number * 1_000),
        );
    }
    all.push(head(Answer::to(sent)).events(number));
    all
}

/// A sound server of the streamable transport: JSON, a session named `s-1`.
fn sound(sent: &Sent) -> Vec<Answer> {
    let method = method(sent);
    if method == "DELETE" {
        return vec![Answer::to(sent).status(204)];
    }
    if method.starts_with("notifications/") || method == "response" {
        return vec![Answer::to(sent).status(202)];
    }
    let answer = as_json(sent, &response(sent, result(&method)));
    vec![if method == "initialize" { answer.header("Mcp-Session-Id", "s-1") } else { answer }]
}

/// The same for another revision.
fn sound_as(revision: &'static str) -> impl FnMut(&Sent) -> Vec<Answer> {
    move |sent| match method(sent).as_str() {
        "initialize" => {
            let mut result = result("initialize");
            result["protocolVersion"] = json!(revision);
            vec![as_json(sent, &response(sent, result)).header("mcp-session-id", "s-1")]
        }
        _ => sound(sent),
    }
}

/// The examples of `README.md`, as a plan hands them over.
#[test]
fn the_examples_of_the_readme_are_right() {
    let mut checked = 0;
    for (config, text) in guest_config::testing::examples(include_str!("../README.md")) {
        let found = Mcp::configure(&config, 7, USERS).err();
        assert_eq!(found, None, "{text}");
        checked += 1;
    }
    assert_eq!(checked, 3);
}
