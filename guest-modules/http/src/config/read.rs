//! From JSON to [`Config`], with all problems at once.

use std::collections::BTreeMap;

use gauntlet_sdk::Connection;
use guest_config::{
    Keys, Problems, feed, headers, is_token, join, micros, scalar, scalars, statuses, think, whole,
};
use serde_json::{Map, Value};

use super::{Body, Check, Config, From, Order, Query, Step};

/// Steps that one scenario may have: the step's number takes 16 bits of a request's.
const MAX_STEPS: usize = 1_000;
/// Retries of one request at most.
const MAX_RETRIES: u32 = 20;
/// Wait before the first retry, unless the step says otherwise.
const BACKOFF_US: u32 = 100_000;

const METHODS: [(&str, &str); 7] = [
    ("get", "GET"),
    ("post", "POST"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
    ("head", "HEAD"),
    ("options", "OPTIONS"),
];

/// Reads a scenario's configuration. What cannot be read is named in `problems` and left out.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Config> {
    let table = whole(text, "write config.steps = [{ get = \"/\" }]", problems)?;
    let mut keys = Keys::new("", &table);
    let orders = [("weighted", Order::Weighted), ("sequence", Order::Sequence)];
    let order = keys.word("order", &orders, problems).unwrap_or_default();
    let cookies = keys.flag("cookies", problems).unwrap_or(false);
    let headers = headers(&mut keys, problems);
    let variables = scalars(&mut keys, "variables", problems);
    let list = match keys.get("steps") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(other) => {
            problems.kind("steps", "a list of steps", other, "write steps = [{ get = \"/\" }]");
            &[]
        }
        None => {
            problems.add("steps", "there are no steps", "write steps = [{ get = \"/\" }]");
            &[]
        }
    };
    if matches!(keys.get("steps"), Some(Value::Array(list)) if list.is_empty() || list.len() > MAX_STEPS) {
        problems.add(
            "steps",
            format!("expected 1 to {MAX_STEPS} steps, found {}", list.len()),
            "write steps = [{ get = \"/\" }]",
        );
    }
    let mut steps = Vec::with_capacity(list.len());
    for (index, value) in list.iter().take(MAX_STEPS).enumerate() {
        let path = format!("steps[{index}]");
        match value {
            Value::Object(table) => steps.extend(step(index, &path, table, order, problems)),
            other => problems.kind(&path, "a step", other, "write { get = \"/\" }"),
        }
    }
    keys.finish(problems);
    Some(Config { steps, order, headers, cookies, variables })
}

fn step(
    index: usize,
    path: &str,
    table: &Map<String, Value>,
    order: Order,
    problems: &mut Problems,
) -> Option<Step> {
    let mut keys = Keys::new(path, table);
    let request = request_line(&mut keys, problems);
    let name = keys.text("name", problems);
    if name.is_some_and(|name| name.is_empty() || name.len() > 100) {
        problems.add(&keys.at("name"), "a name has 1 to 100 bytes", "write name = \"item\", or leave it out");
    }
    let weight = keys.whole("weight", 1_000_000, problems);
    if order == Order::Sequence && weight.is_some() {
        problems.add(
            &keys.at("weight"),
            "in a sequence every step has its turn, so a weight says nothing",
            "remove it, or write order = \"weighted\"",
        );
    }
    let query = query(&mut keys, problems);
    let headers = headers(&mut keys, problems);
    let body = body(&mut keys, problems);
    let (feed, feed_order) = feed(&mut keys, problems);
    let check = keys.table("check", problems).map(|table| check(&join(path, "check"), table, problems));
    let extract = extract(&mut keys, problems);
    let think_us = think(&mut keys, problems);
    let timeout_us = micros(&mut keys, "timeout", problems).unwrap_or(0);
    let retries = keys.whole("retries", MAX_RETRIES, problems).unwrap_or(0);
    let backoff = micros(&mut keys, "backoff", problems);
    if backoff.is_some() && retries == 0 {
        problems.add(
            &keys.at("backoff"),
            "without retries there is nothing to wait for",
            "write retries = 1, too",
        );
    }
    let words = [("any", Connection::Any), ("own", Connection::Own), ("fresh", Connection::Fresh)];
    let connection = keys.word("connection", &words, problems).unwrap_or_default();
    keys.finish(problems);
    let (path_key, method, path) = request?;
    Some(Step {
        index,
        name: name.map_or_else(|| format!("{method} {path}"), str::to_owned),
        weight: weight.unwrap_or(1),
        method,
        path,
        path_key,
        query,
        headers,
        body,
        feed,
        feed_order,
        check: check.unwrap_or_default(),
        extract,
        think_us,
        timeout_us,
        retries,
        backoff_us: backoff.unwrap_or(BACKOFF_US),
        connection,
    })
}

/// (key of the path, method, path) from `get = "/x"` and its like, or from `method` and `path`.
fn request_line(keys: &mut Keys<'_>, problems: &mut Problems) -> Option<(&'static str, String, String)> {
    let mut found = Vec::new();
    for (key, method) in METHODS {
        if let Some(path) = keys.text(key, problems) {
            found.push((key, method.to_owned(), path.to_owned()));
        } else if keys.get(key).is_some() {
            // The wrong kind has been named; a second problem would be noise.
            return None;
        }
    }
    let (method, path) = (keys.text("method", problems), keys.text("path", problems));
    if let Some(method) = method.filter(|method| !is_token(method)) {
        problems.add(
            &keys.at("method"),
            format!("\"{method}\" is no HTTP method"),
            "write method = \"PURGE\"",
        );
    }
    match (method, path) {
        (Some(method), Some(path)) => found.push(("path", method.to_owned(), path.to_owned())),
        (Some(_), None) if found.is_empty() => {
            problems.add(&keys.at("path"), "a method needs a path", "write path = \"/\"");
            return None;
        }
        (None, Some(_)) if found.is_empty() => {
            problems.add(&keys.at("method"), "a path needs a method", "write get = \"/…\" in its place");
            return None;
        }
        (None, None) => {}
        _ => {
            let key = if method.is_some() { "method" } else { "path" };
            problems.add(
                &keys.at(key),
                format!("the step has its request in `{}` already", found[0].0),
                format!("remove `{key}`"),
            );
        }
    }
    if found.is_empty() {
        problems.add(
            &keys.at("get"),
            "the step has no request",
            "write get = \"/\", or post, put, patch, delete, …",
        );
    }
    for (key, ..) in found.iter().skip(1) {
        problems.add(
            &keys.at(key),
            format!("the step has two requests, `{}` and `{key}`", found[0].0),
            "make two steps of them",
        );
    }
    found.into_iter().next()
}

fn query(keys: &mut Keys<'_>, problems: &mut Problems) -> Query {
    let at = keys.at("query");
    match keys.get("query") {
        None => Query::None,
        Some(Value::String(text)) => Query::Text(text.clone()),
        Some(Value::Object(table)) => {
            let mut pairs = Vec::new();
            for (name, value) in table {
                let values = match value {
                    Value::Array(list) => list.as_slice(),
                    single => std::slice::from_ref(single),
                };
                let values = values.iter().filter_map(|value| scalar(&join(&at, name), value, problems));
                pairs.extend(values.map(|value| (name.clone(), value)));
            }
            Query::Table(pairs)
        }
        Some(other) => {
            problems.kind(&at, "a text or a table", other, "write query = { q = \"lamp\" }");
            Query::None
        }
    }
}

fn body(keys: &mut Keys<'_>, problems: &mut Problems) -> Body {
    let (text, json) = (keys.text("body", problems), keys.get("json"));
    match (text, json) {
        (None, None) => Body::None,
        (Some(text), None) => Body::Text(text.to_owned()),
        (None, Some(json)) => Body::Json(json.clone()),
        (Some(_), Some(_)) => {
            problems.add(&keys.at("json"), "the step has a body already", "remove `body` or `json`");
            Body::None
        }
    }
}

fn check(path: &str, table: &Map<String, Value>, problems: &mut Problems) -> Check {
    let mut keys = Keys::new(path, table);
    let status = keys.get("status").map(|value| statuses(&join(path, "status"), value, problems));
    let body_contains = texts(&mut keys, "body-contains", problems);
    let mut header = BTreeMap::new();
    match keys.get("header") {
        Some(Value::String(name)) => {
            header.insert(name.to_ascii_lowercase(), String::new());
        }
        _ => {
            for (name, part) in scalars(&mut keys, "header", problems) {
                header.insert(name.to_ascii_lowercase(), part);
            }
        }
    }
    for name in header.keys().filter(|name| !is_token(name)) {
        problems.add(
            &keys.at("header"),
            format!("\"{name}\" is no header name"),
            "use letters, digits and hyphens",
        );
    }
    let json = match keys.get("json") {
        Some(Value::Object(table)) => {
            table.iter().map(|(path, value)| (path.clone(), Some(value.clone()))).collect()
        }
        _ => texts(&mut keys, "json", problems).into_iter().map(|path| (path, None)).collect(),
    };
    let latency_us = micros(&mut keys, "latency", problems).unwrap_or(0);
    keys.finish(problems);
    Check { status: status.unwrap_or_default(), body_contains, header, json, latency_us }
}

/// A text or a list of texts, none of them empty.
fn texts(keys: &mut Keys<'_>, key: &'static str, problems: &mut Problems) -> Vec<String> {
    let values = match keys.get(key) {
        None => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    let mut all = Vec::with_capacity(values.len());
    for value in values {
        match value.as_str().filter(|text| !text.is_empty()) {
            Some(text) => all.push(text.to_owned()),
            None => problems.kind(
                &keys.at(key),
                "a text that is not empty",
                value,
                "write a text or a list of texts",
            ),
        }
    }
    all
}

fn extract(keys: &mut Keys<'_>, problems: &mut Problems) -> Vec<(String, From)> {
    let at = keys.at("extract");
    let mut all = Vec::new();
    for (name, value) in keys.table("extract", problems).into_iter().flatten() {
        let path = join(&at, name);
        let Some(table) = value.as_object() else {
            problems.kind(&path, "where the value comes from", value, "write { json = \"$.token\" }");
            continue;
        };
        let mut keys = Keys::new(&path, table);
        let mut sources = Vec::new();
        sources.extend(keys.text("json", problems).map(|path| From::Json(path.to_owned())));
        sources.extend(keys.text("header", problems).map(|name| From::Header(name.to_ascii_lowercase())));
        sources.extend(keys.text("cookie", problems).map(|name| From::Cookie(name.to_owned())));
        if let Some(between) = keys.get("between") {
            match between.as_array().map(Vec::as_slice) {
                Some([Value::String(a), Value::String(b)]) if !a.is_empty() && !b.is_empty() => {
                    sources.push(From::Between(a.clone(), b.clone()));
                }
                _ => problems.kind(
                    &keys.at("between"),
                    "two texts that are not empty",
                    between,
                    "write between = [\"name='token' value='\", \"'\"]",
                ),
            }
        }
        let given = table.len();
        keys.finish(problems);
        if given != 1 {
            problems.add(
                &path,
                format!("expected one source, found {given}"),
                "write { json = \"$.token\" }",
            );
        }
        all.extend(sources.pop().map(|source| (name.clone(), source)));
    }
    all
}
