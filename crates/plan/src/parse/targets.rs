//! `[processes.*]` and `[targets.*]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::balancing::balancing;
use super::check_name;
use crate::model::{Http, Most, PlatformRef, Process, Resources, Target, Tls, TlsVersion};
use crate::proxy;
use crate::reader::{Field, Section};
use crate::spec;
use crate::tree::Content;
use crate::units;

/// Bytes of the path of a Unix socket (`sun_path` without the byte that ends it).
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn processes(root: &Section<'_>) -> BTreeMap<String, Process> {
    let mut found = BTreeMap::new();
    for (name, field) in root.get("processes").map(|field| field.named()).unwrap_or_default() {
        check_name(&field, &name);
        if let Some(section) = field.section(spec::PROCESS) {
            found.insert(name, process(section));
        }
    }
    found
}

fn process(section: Section<'_>) -> Process {
    let command = section.need("command").map(|field| {
        let words: Vec<String> = field.list("strings").iter().filter_map(Field::text_or_empty).collect();
        if words.first().is_none_or(|program| program.trim().is_empty()) {
            field.wrong::<()>("a program and its arguments", "such as [\"./shop\", \"--port\", \"8080\"]");
        }
        words
    });
    let process = Process {
        command: command.unwrap_or_default(),
        ready: section.get("ready").and_then(|field| url(&field, &["http", "https", "tcp"])),
        ready_timeout: section
            .get("ready-timeout")
            .and_then(|field| field.some_duration())
            .unwrap_or(Duration::from_secs(30)),
        env: section
            .get("env")
            .map(|field| field.named())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, field)| Some((name, field.text_or_empty()?)))
            .collect(),
        dir: section.get("dir").and_then(|field| field.text()).map(PathBuf::from),
        stop_timeout: section
            .get("stop-timeout")
            .and_then(|field| field.duration())
            .unwrap_or(Duration::from_secs(10)),
    };
    section.finish();
    process
}

pub(super) fn targets(root: &Section<'_>, processes: &BTreeMap<String, Process>) -> Vec<Target> {
    let Some(field) = root.need("targets") else { return Vec::new() };
    let named = field.named();
    if named.is_empty() && field.is_table() {
        field.problem::<()>("found no target, expected at least one", "add [targets.NAME] with its `url`");
    }
    let mut found: Vec<Target> = Vec::new();
    for (name, field) in named {
        check_name(&field, &name);
        let Some(section) = field.section(spec::TARGET) else { continue };
        let next = target(name, section, processes);
        for process in next.instances() {
            if let Some(other) = found.iter().find(|other| other.instances().contains(process)) {
                field.at("platform").at("process").problem::<()>(
                    format!("the process {process:?} runs the target {} already", other.name),
                    "a process is an instance of one target: leave `platform` of the other out",
                );
            }
        }
        found.push(next);
    }
    found
}

fn target(name: String, section: Section<'_>, processes: &BTreeMap<String, Process>) -> Target {
    let written = section.need("url").map(|field| field.texts()).unwrap_or_default();
    let urls = written.iter().filter_map(|(field, _)| url(field, &["http", "https"])).collect();
    let socket = section.get("socket").and_then(|field| socket(&field, written.len()));
    let platform =
        section.get("platform").and_then(|field| field.section(spec::PLATFORM)).and_then(|inner| {
            let found = inner.need("process").and_then(|field| instances(&field, processes, written.len()));
            inner.finish();
            found.map(PlatformRef::Processes)
        });
    let resources = section.get("resources").and_then(|field| resources(&field, processes));
    let metrics_url = section.get("metrics-url").and_then(|field| url(&field, &["http", "https"]));
    let metrics = metrics(&section, metrics_url.is_some());
    let proxy = section.get("proxy").and_then(|field| proxy(&field, socket.is_some()));
    let spoken = http(&section);
    if let (Some(_), Some(field), Http::Two { .. }) = (&proxy, section.get("proxy"), spoken)
        && written.iter().any(|(_, url)| url.starts_with("http://"))
    {
        field.misplaced(
            "HTTP/2 without TLS does not go through a proxy, which speaks HTTP/1.1",
            "leave out `http`, or let `url` begin with https://",
        );
    }
    let target = Target {
        urls,
        balancing: balancing(&section, written.len()),
        socket,
        proxy,
        chaos: section.get("chaos").and_then(|field| most(&field)),
        resources: resources.unwrap_or_else(|| match &platform {
            Some(PlatformRef::Processes(names)) => Resources::Processes(names.clone()),
            None => Resources::Absent,
        }),
        platform,
        metrics_url,
        metrics,
        health: section.get("health").and_then(|field| url(&field, &["http", "https"])),
        tls: tls(section.section("tls", spec::TLS)),
        http: spoken,
        keep_alive: section.get("keep-alive").and_then(|field| field.boolean()).unwrap_or(true),
        name,
    };
    section.finish();
    target
}

/// The path of a Unix socket, of a target with one URL.
fn socket(field: &Field<'_>, urls: usize) -> Option<PathBuf> {
    let path = field.text()?;
    if urls > 1 {
        return field.problem(
            format!("a socket is of one endpoint, and `url` names {urls}"),
            "write one URL, or a target for each socket",
        );
    }
    if !path.starts_with('/') || path.contains('\0') {
        return field.wrong("an absolute path, such as \"/run/app.sock\"", "begin it with a slash");
    }
    if path.len() > MAX_SOCKET_PATH {
        return field.wrong(
            &format!("a path of at most {MAX_SOCKET_PATH} bytes, which is what the system takes"),
            "let the target listen at a shorter path",
        );
    }
    Some(PathBuf::from(path))
}

/// `http://host:port` with or without `user:password@`: proxies have no port that goes without saying.
fn proxy(field: &Field<'_>, has_socket: bool) -> Option<String> {
    let text = field.text()?;
    let after = text.find("://").map_or(0, |at| at + 3);
    let end = text[after..].find(['/', '?', '#']).map_or(text.len(), |at| after + at);
    let Some(at) = text[after..end].rfind('@').map(|at| after + at) else {
        return bare_proxy(field, &text, has_socket);
    };
    // The words about it do not repeat the password.
    if let Err((problem, mend)) = proxy::check_credentials(&text[after..at]) {
        return field.problem(problem, mend);
    }
    let bare = format!("{}{}", &text[..after], &text[at + 1..]);
    let checked = bare_proxy(field, &bare, has_socket)?;
    Some(format!("{}{}@{}", &checked[..after], &text[after..at], &checked[after..]))
}

fn bare_proxy(field: &Field<'_>, text: &str, has_socket: bool) -> Option<String> {
    let expected = "http://host:port or http://user:password@host:port";
    let found = checked_url(field, text, &["http"])?;
    if has_socket {
        return field.problem(
            "a target on a Unix socket is not reached through a proxy",
            "leave out `proxy` or `socket`",
        );
    }
    let bare = found.trim_end_matches('/').to_owned();
    let wrong = |mend: &str| field.problem(format!("found the string {text:?}, expected {expected}"), mend);
    if bare.matches('/').count() > 2 || bare.contains(['?', '#']) {
        return wrong("leave out the path");
    }
    if bare.rsplit(':').next().is_none_or(|port| port.parse::<u16>().is_err()) {
        return wrong("name the port");
    }
    Some(bare)
}

/// The processes that serve a target's URLs: as many, each once.
fn instances(field: &Field<'_>, processes: &BTreeMap<String, Process>, urls: usize) -> Option<Vec<String>> {
    let names = process_names(field, processes)?;
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return field.problem(
                format!("the process {name:?} stands here twice: each instance is a process of its own"),
                "name another process, or leave `platform` out: then the target is not ours to touch",
            );
        }
    }
    if names.len() != urls && urls > 0 {
        return field.problem(
            format!("processes named: {}, expected one for each URL: {urls}", names.len()),
            "name the process of each URL, in their order",
        );
    }
    Some(names)
}

/// One name of a process or a list of them; `None` when one is wrong.
fn process_names(field: &Field<'_>, processes: &BTreeMap<String, Process>) -> Option<Vec<String>> {
    let texts = field.texts();
    let names: Vec<String> = texts.iter().filter_map(|(field, _)| process_name(field, processes)).collect();
    (!names.is_empty() && names.len() == texts.len()).then_some(names)
}

/// `true`, `{ most = 1 }`, `{ most = "50%" }`.
fn most(field: &Field<'_>) -> Option<Most> {
    if !field.is_table() {
        let expected = "true, false or { most = … }";
        let Content::Bool(value) = field.node.content else {
            return field.wrong(expected, "such as chaos = { most = 1 }");
        };
        return value.then_some(Most::All);
    }
    let section = field.section(spec::OPT_IN)?;
    let most = section.need("most").and_then(|field| match field.node.content {
        Content::Integer(_) => field.whole(1..=spec::MANY).map(Most::Fixed),
        _ => super::percent(&field).map(Most::Percent),
    });
    section.finish();
    most
}

fn metrics(section: &Section<'_>, has_url: bool) -> BTreeMap<String, String> {
    let Some(field) = section.get("metrics") else { return BTreeMap::new() };
    let Some(inner) = field.section(spec::METRIC_NAMES) else { return BTreeMap::new() };
    if !has_url && !section.has("metrics-url") {
        field.misplaced("there is no `metrics-url` to read these from", "add `metrics-url` to the target");
    }
    let read = |name: &&'static str| {
        let text = inner.get(name).and_then(|field| field.text())?;
        Some(((*name).to_owned(), text))
    };
    let found = spec::METRICS.iter().filter_map(read).collect();
    inner.finish();
    found
}

fn resources(field: &Field<'_>, processes: &BTreeMap<String, Process>) -> Option<Resources> {
    if !field.is_table() {
        return field.word(&["absent"]).map(|_| Resources::Absent);
    }
    let section = field.section(spec::RESOURCES)?;
    let process = section.get("process");
    let pid = section.get("pid");
    let prometheus = section.get("prometheus");
    section.finish();
    match (process, pid, prometheus) {
        (Some(names), None, None) => process_names(&names, processes).map(Resources::Processes),
        (None, Some(pid), None) => pid.whole(1..=i64::from(u32::MAX)).map(Resources::Pid),
        (None, None, Some(at)) => url(&at, &["http", "https"]).map(Resources::Prometheus),
        _ => field.problem(
            "expected exactly one of `process`, `pid` and `prometheus`",
            "write resources = \"absent\" when there is none",
        ),
    }
}

pub(super) fn process_name(field: &Field<'_>, processes: &BTreeMap<String, Process>) -> Option<String> {
    let name = field.text()?;
    if processes.contains_key(&name) {
        return Some(name);
    }
    let mend = units::nearest(&name, processes.keys().map(String::as_str))
        .map_or_else(|| format!("add [processes.{name}]"), |known| format!("did you mean {known:?}?"));
    field.problem(format!("there is no process {name:?} in the plan"), mend)
}

fn http(section: &Section<'_>) -> Http {
    let version = section.get("http").map_or(Some(0), |field| field.word(spec::HTTP_VERSIONS));
    let streams = section.get("streams");
    let number =
        streams.as_ref().and_then(|field| field.whole(1..=spec::MAX_STREAMS)).unwrap_or(spec::STREAMS);
    if version == Some(0) {
        if let Some(field) = streams {
            field.misplaced(
                "found `streams`, but HTTP/1.1 has one request on a connection at a time",
                "write http = \"2\", or leave `streams` out and set `connections` of the phase",
            );
        }
        return Http::One;
    }
    Http::Two { streams: number }
}

fn tls(section: Section<'_>) -> Tls {
    let path = |key| section.get(key).and_then(|field| field.text()).map(PathBuf::from);
    let (certificate, key) = (path("client-cert"), path("client-key"));
    for (given, missing) in [("client-cert", "client-key"), ("client-key", "client-cert")] {
        if section.has(given)
            && !section.has(missing)
            && let Some(field) = section.get(given)
        {
            field.misplaced(
                format!("`{missing}` is missing: a client has a certificate and its key"),
                "add it",
            );
        }
    }
    let version = |key| {
        let index = section.get(key).and_then(|field| field.word(spec::TLS_VERSIONS));
        index.and_then(|index| TlsVersion::ALL.get(index).copied())
    };
    let default = Tls::default();
    let (min_version, max_version) = (
        version("min-version").unwrap_or(default.min_version),
        version("max-version").unwrap_or(default.max_version),
    );
    if min_version > max_version
        && let Some(field) = section.get("min-version")
    {
        field.problem::<()>(
            format!("found {:?}, but `max-version` is {:?}", min_version.name(), max_version.name()),
            "lower this or raise `max-version`",
        );
    }
    let tls = Tls {
        min_version,
        max_version,
        resumption: section.get("resumption").and_then(|field| field.boolean()).unwrap_or(default.resumption),
        ca: path("ca"),
        client: certificate.zip(key),
        insecure: section.get("insecure").and_then(|field| field.boolean()).unwrap_or(false),
        server_name: section.get("server-name").and_then(|field| field.text()),
    };
    section.finish();
    tls
}

/// A URL of one of these schemes with a host and, if any, a port from 1 on.
pub(super) fn url(field: &Field<'_>, schemes: &[&str]) -> Option<String> {
    checked_url(field, &field.text()?, schemes)
}

/// The same of a text that the field has, or a part of it.
fn checked_url(field: &Field<'_>, text: &str, schemes: &[&str]) -> Option<String> {
    let expected = match schemes {
        [only] => format!("{only}://host:port"),
        [first @ .., last] => format!("a URL with {} or {last}", first.join(", ")),
        [] => String::new(),
    };
    let wrong = |mend: &str| field.problem(format!("found the string {text:?}, expected {expected}"), mend);
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong(&format!("did you mean \"{}://{text}\"?", schemes.first().unwrap_or(&"http")));
    };
    if !schemes.contains(&scheme) {
        return wrong("");
    }
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains('@') {
        return field.problem(
            "expected a URL without user and password",
            "secrets do not belong in a plan, which is copied into each run directory",
        );
    }
    if path.contains(['?', '#']) && schemes != ["http", "https"] {
        return wrong("leave out the query");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("leave out the white space");
    }
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => (&authority[..at], Some(&authority[at + 1..])),
        _ => (authority, None),
    };
    if host.is_empty() {
        return wrong("name the host");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return wrong("put an IPv6 address in [ ]");
    }
    let port_wrong =
        port.is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p == 0) || port.parse::<u16>().is_err());
    if port_wrong || (scheme == "tcp" && port.is_none()) {
        return wrong("a port is from 1 to 65535");
    }
    Some(text.to_owned())
}
