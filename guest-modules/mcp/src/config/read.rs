//! From JSON to [`Config`], with all problems at once.

use guest_config::{Compiler, Feeds, Keys, Problems, feed, headers, join, micros, scalars, think, whole};
use serde_json::{Map, Value};

use super::{Action, Arguments, Call, Config, Expected};
use crate::answers::Capabilities;
use crate::result::Method;
use crate::revision::{Revision, Transport};

/// Calls that one scenario may have.
const MAX_CALLS: usize = 1_000;
/// Requests in one body: as many as have a bit each.
const MAX_BATCH: u32 = 32;
/// Pages of a list that are read at most: one that has more does not seem to end.
pub(crate) const PAGES: u32 = 100;

/// Headers that are the protocol's.
const PROTOCOLS: [&str; 6] =
    ["accept", "content-type", "last-event-id", "mcp-method", "mcp-name", "mcp-session-id"];

const REVISIONS: [(&str, Option<Revision>); 6] = [
    ("auto", None),
    ("2024-11-05", Some(Revision::V2024_11_05)),
    ("2025-03-26", Some(Revision::V2025_03_26)),
    ("2025-06-18", Some(Revision::V2025_06_18)),
    ("2025-11-25", Some(Revision::V2025_11_25)),
    ("2026-07-28", Some(Revision::V2026_07_28)),
];

/// Reads a scenario's configuration. What cannot be read is named in `problems` and left out.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Config> {
    let table = whole(text, "write config.calls = [{ tool = \"echo\" }]", problems)?;
    let mut keys = Keys::new("", &table);
    let revision = keys.word("revision", &REVISIONS, problems).unwrap_or_default();
    let endpoint = keys.text("endpoint", problems).unwrap_or("/mcp").to_owned();
    if !endpoint.starts_with('/') || endpoint.contains(['#', ' ']) || !endpoint.is_ascii() {
        let mend = "write the path alone, as endpoint = \"/mcp\"; the target's url stands in the plan";
        problems.add("endpoint", format!("\"{endpoint}\" is no path that begins with a slash"), mend);
    }
    let headers = headers(&mut keys, problems);
    for name in headers.keys().filter(|name| PROTOCOLS.contains(&name.as_str())) {
        problems.add(&join("headers", name), "this header is the protocol's", "remove it");
    }
    let bearer = bearer(&mut keys, &headers, problems);
    let capabilities = capabilities(&mut keys, problems);
    let verify = keys.word("verify", &[("full", true), ("status", false)], problems);
    let session_calls = session(&mut keys, problems);
    let turn = keys.word("turn", &[("call", false), ("session", true)], problems);
    let order = keys.word("order", &[("weights", false), ("sequence", true)], problems);
    let (whole_sessions, in_sequence) = (turn.unwrap_or(false), order.unwrap_or(false));
    let stream = stream(&mut keys, revision, whole_sessions, problems);
    let lists_tools = keys.flag("list-tools", problems).unwrap_or(true);
    let timeout_us = micros(&mut keys, "timeout", problems).unwrap_or(0);
    let think_us = think(&mut keys, problems);
    let variables = scalars(&mut keys, "variables", problems);
    let calls = calls(&mut keys, revision, problems);
    if in_sequence && let Some(Value::Array(list)) = table.get("calls") {
        for (index, _) in list.iter().enumerate().filter(|(_, call)| call.get("weight").is_some()) {
            let mend = "remove it, or order = \"sequence\"";
            problems.add(&format!("calls[{index}].weight"), "each call has its turn in a sequence", mend);
        }
    }
    keys.finish(problems);
    let config = Config {
        revision,
        endpoint,
        headers,
        bearer,
        capabilities,
        verifies: verify.unwrap_or(true),
        whole_sessions,
        in_sequence,
        stream,
        session_calls,
        lists_tools,
        timeout_us,
        think_us,
        variables,
        calls,
    };
    Some(config)
}

/// `auth = { bearer = "…" }`.
fn bearer(
    keys: &mut Keys<'_>,
    headers: &std::collections::BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<String> {
    let table = keys.table("auth", problems)?;
    let mut auth = Keys::new("auth", table);
    let bearer = auth.text("bearer", problems);
    if bearer.is_none_or(str::is_empty) && table.get("bearer").is_none_or(Value::is_string) {
        problems.add("auth.bearer", "there is no token", "write auth = { bearer = \"…\" }");
    }
    if headers.contains_key("authorization") {
        problems.add("headers.authorization", "auth writes this header", "remove it, or auth");
    }
    auth.finish(problems);
    bearer.map(str::to_owned)
}

/// What the client says that it can do for the server.
fn capabilities(keys: &mut Keys<'_>, problems: &mut Problems) -> Capabilities {
    let mut found = Capabilities::default();
    let list = match keys.get("capabilities") {
        None => return found,
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    for value in list {
        match value.as_str() {
            Some("roots") => found.roots = true,
            Some("sampling") => found.sampling = true,
            Some("elicitation") => found.elicitation = true,
            _ => problems.kind(
                "capabilities",
                "some of \"roots\", \"sampling\", \"elicitation\"",
                value,
                "write capabilities = [\"roots\"]",
            ),
        }
    }
    found
}

/// `stream = true`.
fn stream(
    keys: &mut Keys<'_>,
    revision: Option<Revision>,
    whole_sessions: bool,
    problems: &mut Problems,
) -> bool {
    let stream = keys.flag("stream", problems).unwrap_or(false);
    if stream && !whole_sessions {
        problems.add(
            &keys.at("stream"),
            "a stream lives no longer than its turn",
            "write turn = \"session\", too, or remove it",
        );
    }
    if stream && revision.is_some_and(|revision| revision.transport() != Transport::Streamable) {
        problems.add(
            &keys.at("stream"),
            "this revision has no such stream beside that of the answers",
            "remove it, or name a revision from 2025-03-26 to 2025-11-25",
        );
    }
    stream
}

/// `session = { calls = 10 }`.
fn session(keys: &mut Keys<'_>, problems: &mut Problems) -> u32 {
    let Some(table) = keys.table("session", problems) else { return 0 };
    let mut session = Keys::new("session", table);
    let calls = session.whole("calls", 1_000_000, problems).unwrap_or(0);
    session.finish(problems);
    calls
}

fn calls(keys: &mut Keys<'_>, revision: Option<Revision>, problems: &mut Problems) -> Vec<Call> {
    const MEND: &str = "write calls = [{ tool = \"echo\", arguments = { message = \"hello\" } }]";
    let list = match keys.get("calls") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(other) => {
            problems.kind("calls", "a list of calls", other, MEND);
            return Vec::new();
        }
        None => &[],
    };
    if list.is_empty() || list.len() > MAX_CALLS {
        problems.add("calls", format!("expected 1 to {MAX_CALLS} calls, found {}", list.len()), MEND);
    }
    let mut calls: Vec<Call> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().take(MAX_CALLS).enumerate() {
        let path = format!("calls[{index}]");
        let Some(table) = value.as_object() else {
            problems.kind(&path, "a call", value, "write { tool = \"echo\" }");
            continue;
        };
        let Some(call) = call(index, &path, table, revision, problems) else { continue };
        if let Some(first) = calls.iter().find(|other| other.name == call.name) {
            let message = format!("call {} is named \"{}\", too", first.index, call.name);
            problems.add(&join(&path, "name"), message, "give each call a name of its own");
        }
        calls.push(call);
    }
    if !calls.is_empty() && calls.iter().all(|call| call.weight == 0) {
        problems.add("calls[0].weight", "all weights are 0", "give at least one call a weight of 1 or more");
    }
    calls
}

fn call(
    index: usize,
    path: &str,
    table: &Map<String, Value>,
    revision: Option<Revision>,
    problems: &mut Problems,
) -> Option<Call> {
    let mut keys = Keys::new(path, table);
    let action = action(&mut keys, revision, problems);
    let name = keys.text("name", problems);
    if name.is_some_and(|name| name.is_empty() || name.len() > 100) {
        problems.add(&keys.at("name"), "a name has 1 to 100 bytes", "write name = \"add\", or leave it out");
    }
    let weight = keys.whole("weight", 1_000_000, problems).unwrap_or(1);
    let arguments = arguments(&mut keys, problems);
    let (feed, feed_order) = feed(&mut keys, problems);
    let progress = keys.flag("progress", problems).unwrap_or(false);
    let cancel_after_us = micros(&mut keys, "cancel-after", problems).unwrap_or(0);
    let timeout_us = micros(&mut keys, "timeout", problems).unwrap_or(0);
    let words = [
        ("success", Expected::Success),
        ("tool-error", Expected::ToolError),
        ("protocol-error", Expected::ProtocolError),
    ];
    let expect = keys.word("expect", &words, problems).unwrap_or_default();
    let batch = keys.whole("batch", MAX_BATCH, problems).unwrap_or(1).max(1);
    let pages = keys.whole("pages", PAGES, problems).map(|pages| pages.max(1));
    for (key, fits) in only_for(action.as_ref()) {
        if !fits && table.contains_key(key) {
            problems.add(&keys.at(key), format!("`{key}` says nothing here"), format!("remove `{key}`"));
        }
    }
    if batch > 1 && revision.is_none_or(|revision| !revision.rules().batches) {
        problems.add(
            &keys.at("batch"),
            "batches are of revision 2025-03-26 alone",
            "remove it, or write revision = \"2025-03-26\"",
        );
    }
    keys.finish(problems);
    let action = action?;
    Some(Call {
        index,
        name: name.map_or_else(|| default_name(&action), str::to_owned),
        weight,
        action,
        arguments,
        feed,
        feed_order,
        progress,
        cancel_after_us,
        timeout_us,
        expect,
        batch,
        pages,
    })
}

/// Keys that only some actions have, and whether this one has them.
fn only_for(action: Option<&Action>) -> [(&'static str, bool); 7] {
    let named = matches!(action, None | Some(Action::Tool(_) | Action::Prompt(_)));
    let tool = matches!(action, None | Some(Action::Tool(_)));
    let listens = matches!(action, Some(Action::Listen(_)));
    [
        ("arguments", named),
        ("schema", named),
        ("generate", tool),
        ("batch", matches!(action, None | Some(Action::Tool(_) | Action::Ping))),
        ("pages", matches!(action, None | Some(Action::List(_)))),
        ("cancel-after", !listens),
        ("timeout", !listens),
    ]
}

fn default_name(action: &Action) -> String {
    match action {
        Action::Tool(name) => format!("tools/call {name}"),
        Action::Prompt(name) => format!("prompts/get {name}"),
        Action::Resource(uri) => format!("resources/read {uri}"),
        Action::List(method) => format!("all {}", method.name()),
        Action::Ping => "ping".into(),
        Action::Listen(_) => "listen".into(),
    }
}

/// The one key that says what is done.
fn action(keys: &mut Keys<'_>, revision: Option<Revision>, problems: &mut Problems) -> Option<Action> {
    let lists = [
        ("tools", Method::ListTools),
        ("prompts", Method::ListPrompts),
        ("resources", Method::ListResources),
        ("resource-templates", Method::ListTemplates),
    ];
    let mut found = Vec::new();
    found.extend(keys.text("tool", problems).map(|name| ("tool", Action::Tool(name.to_owned()))));
    found.extend(keys.text("prompt", problems).map(|name| ("prompt", Action::Prompt(name.to_owned()))));
    found.extend(keys.text("resource", problems).map(|uri| ("resource", Action::Resource(uri.to_owned()))));
    found.extend(keys.word("list", &lists, problems).map(|method| ("list", Action::List(method))));
    found.extend(keys.flag("ping", problems).filter(|ping| *ping).map(|_| ("ping", Action::Ping)));
    found.extend(micros(keys, "listen", problems).map(|hold| ("listen", Action::Listen(hold))));
    if found.is_empty() {
        let given = ["tool", "prompt", "resource", "list", "ping", "listen"];
        if !given.into_iter().any(|key| keys.get(key).is_some())
            || keys.get("ping") == Some(&Value::Bool(false))
        {
            problems.add(
                &keys.at("tool"),
                "the call does nothing",
                "write tool = \"echo\", prompt, resource, list, ping or listen",
            );
        }
        return None;
    }
    for (key, _) in found.iter().skip(1) {
        let message = format!("the call does two things, `{}` and `{key}`", found[0].0);
        problems.add(&keys.at(key), message, "make two calls of them");
    }
    let (key, action) = found.swap_remove(0);
    if let Action::Tool(name) | Action::Prompt(name) | Action::Resource(name) = &action
        && (name.is_empty() || name.len() > 1_000)
    {
        problems.add(&keys.at(key), "a name has 1 to 1000 bytes", format!("write {key} = \"…\""));
    }
    let Some(revision) = revision else { return Some(action) };
    if action == Action::Ping && !revision.rules().ping {
        problems.add(
            &keys.at("ping"),
            "this revision has no ping",
            "remove the call, or name another revision",
        );
    }
    if matches!(action, Action::Listen(_)) && revision.transport() == Transport::EventStream {
        problems.add(
            &keys.at("listen"),
            "in revision 2024-11-05 every session is such a stream",
            "remove the call, or name another revision",
        );
    }
    Some(action)
}

/// `arguments`, or what they are generated from.
fn arguments(keys: &mut Keys<'_>, problems: &mut Problems) -> Arguments {
    let given = keys.table("arguments", problems);
    let schema = keys.table("schema", problems);
    let generate = keys.flag("generate", problems).unwrap_or(false);
    match (given, schema, generate) {
        (None, None, false) => Arguments::None,
        (Some(given), None, false) => Arguments::Given(given.clone()),
        (None, Some(schema), false) => Arguments::Schema(Value::Object(schema.clone())),
        (None, None, true) => Arguments::Listed,
        _ => {
            problems.add(
                &keys.at("arguments"),
                "arguments come from two places",
                "keep one of `arguments`, `schema` and `generate`",
            );
            Arguments::None
        }
    }
}

/// A compiler for texts outside any call: they have no row.
pub(crate) fn without_row<'a>(
    config: &'a Config,
    feeds: &'a mut Feeds,
    problems: &'a mut Problems,
) -> Compiler<'a> {
    Compiler::new(&config.variables, None, feeds, None, problems)
}
