use super::*;

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn problems(config: Value) -> Vec<(String, String, String)> {
    let found = Mcp::configure(&config.to_string(), 7, USERS).err().unwrap_or_default();
    found.into_iter().map(|problem| (problem.path, problem.message, problem.mend)).collect()
}

#[track_caller]
fn only(config: Value, path: &str, message: &str, mend: &str) {
    let all = problems(config);
    assert_eq!(all.len(), 1, "{all:?}");
    let (found_path, found_message, found_mend) = &all[0];
    assert_eq!(found_path, path);
    assert!(found_message.contains(message), "{found_message}");
    assert!(found_mend.contains(mend), "{found_mend}");
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn call(call: Value) -> Value {
    json!({ "revision": "2025-11-25", "calls": [call] })
}

#[test]
fn each_mistake_has_its_place_and_its_mend() {
    only(json!([]), "", "expected a table", "config.calls");
    only(json!({}), "calls", "found 0", "tool = \"echo\"");
    only(json!({ "calls": {} }), "calls", "expected a list", "tool = \"echo\"");
    only(json!({ "calls": [1] }), "calls[0]", "expected a call", "{ tool");
    only(
        json!({ "revision": "2025-01-01", "calls": [{ "ping": true }] }),
        "revision",
        "2025-01-01",
        "revision = ",
    );
    only(
        json!({ "endpoint": "http://a/mcp", "calls": [{ "ping": true }] }),
        "endpoint",
        "no path",
        "url stands in the plan",
    );
    only(json!({ "auth": {}, "calls": [{ "tool": "a" }] }), "auth.bearer", "no token", "bearer = ");
    only(json!({ "capabilities": "magic", "calls": [{ "tool": "a" }] }), "capabilities", "magic", "roots");
    only(
        json!({ "headers": { "Mcp-Name": "a" }, "calls": [{ "tool": "a" }] }),
        "headers.mcp-name",
        "protocol's",
        "remove",
    );
    only(call(json!({})), "calls[0].tool", "does nothing", "prompt");
    only(call(json!({ "tool": "a", "prompt": "b" })), "calls[0].prompt", "two things", "two calls");
    only(call(json!({ "tool": 1 })), "calls[0].tool", "expected a text", "tool = ");
    only(call(json!({ "tool": "a", "wieght": 1 })), "calls[0].wieght", "unknown key", "weight");
    only(call(json!({ "tool": "a", "batch": 2 })), "calls[0].batch", "2025-03-26 alone", "revision = ");
    only(call(json!({ "ping": true, "arguments": {} })), "calls[0].arguments", "says nothing", "remove");
    only(
        call(json!({ "tool": "a", "arguments": {}, "generate": true })),
        "calls[0].arguments",
        "two places",
        "keep one",
    );
    only(
        call(json!({ "tool": "a", "arguments": { "a": "{x}" } })),
        "calls[0].arguments.a",
        "nothing provides {x}",
        "feed",
    );
    only(call(json!({ "tool": "a", "feed": "a.csv" })), "calls[0].feed", "no placeholder", "{column}");
    only(call(json!({ "tool": "a", "name": "initialize" })), "calls[0].name", "guest's own", "another name");
    only(call(json!({ "tool": "a", "weight": 0 })), "calls[0].weight", "all weights are 0", "1 or more");
    let twice = json!({ "calls": [{ "tool": "a" }, { "tool": "a" }] });
    only(twice, "calls[1].name", "named \"tools/call a\", too", "name of its own");
    let ping = json!({ "revision": "2026-07-28", "calls": [{ "ping": true }] });
    only(ping, "calls[0].ping", "no ping", "another revision");
    let listen = json!({ "revision": "2024-11-05", "calls": [{ "listen": "1s" }] });
    only(listen, "calls[0].listen", "such a stream", "another revision");
    let unlisted = json!({ "list-tools": false, "calls": [{ "tool": "a", "generate": true }] });
    only(unlisted, "list-tools", "schemas that the server lists", "schema");
    let short = json!({ "revision": "2025-11-25", "stream": true, "calls": [{ "tool": "a" }] });
    only(short, "stream", "no longer than its turn", "turn = \"session\"");
    let none =
        json!({ "revision": "2026-07-28", "turn": "session", "stream": true, "calls": [{ "tool": "a" }] });
    only(none, "stream", "no such stream", "2025-03-26");
    let weighed = json!({ "order": "sequence", "calls": [{ "tool": "a", "weight": 2 }] });
    only(weighed, "calls[0].weight", "its turn in a sequence", "remove");
}

#[test]
fn a_schema_that_nothing_satisfies_is_refused_before_the_load() {
    let schema = json!({ "type": "object", "required": ["a"],
        "properties": { "a": { "type": "integer", "minimum": 2, "maximum": 1 } } });
    let config = call(json!({ "tool": "a", "schema": schema }));
    only(config, "calls[0].schema", "#/properties/a there is no whole number", "mend the schema");
}

#[test]
fn all_mistakes_come_at_once() {
    let config = json!({ "revision": 7, "timeout": "soon", "calls": [{ "tool": "" }, { "listen": "x" }] });
    let paths: Vec<_> = problems(config).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["revision", "timeout", "calls[0].tool", "calls[1].listen"]);
}
