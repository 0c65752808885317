//! A compiled configuration: what the hot path walks.

use gauntlet_sdk::{Connection, Interest, Rule, Setup};
use guest_config::{Compiler, Escape, Feeds, Problems, Template, duration_text, status_text};
use serde_json::Value;

use crate::config::{self, Body, Config, Order, Query};
use crate::extract;
use crate::json_path::Path;

/// Bytes of a body that checks and extraction see.
const BODY_LIMIT: u32 = 64 << 10;

/// A scenario, compiled.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) weights: Vec<u32>,
    pub(crate) order: Order,
    pub(crate) cookies: bool,
    /// How many values a user can have extracted.
    pub(crate) slots: usize,
}

/// A step, compiled.
#[derive(Debug)]
pub(crate) struct Step {
    /// Index in the setup.
    pub(crate) step: u32,
    pub(crate) method: u32,
    pub(crate) target: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<Template>,
    /// Where in the row the step's columns stand.
    pub(crate) columns: Vec<(usize, usize)>,
    /// Extracted values that the step uses, each with the check that it is there.
    pub(crate) needs: Vec<(usize, u32)>,
    pub(crate) json: Vec<JsonCheck>,
    pub(crate) extract: Vec<Extraction>,
    pub(crate) interest: Interest,
    pub(crate) connection: Connection,
    pub(crate) think_us: (u32, u32),
    pub(crate) timeout_us: u32,
    pub(crate) retries: u32,
    pub(crate) backoff_us: u32,
}

#[derive(Debug)]
pub(crate) struct JsonCheck {
    pub(crate) check: u32,
    pub(crate) path: Path,
    /// None = exists.
    pub(crate) wanted: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Extraction {
    /// Index of the user's value.
    pub(crate) slot: usize,
    pub(crate) check: u32,
    pub(crate) from: extract::From,
}

/// Compiles a configuration; what does not fit together is named in `problems`.
pub(crate) fn compile(config: &Config, problems: &mut Problems) -> (Program, Setup) {
    let extracted = extracted(config, problems);
    names(config, problems);
    if config.order == Order::Weighted
        && !config.steps.is_empty()
        && config.steps.iter().all(|s| s.weight == 0)
    {
        problems.add("steps[0].weight", "all weights are 0", "give at least one step a weight of 1 or more");
    }
    let (mut setup, mut feeds) = (Setup::default(), Feeds::default());
    let mut stateless = config.order == Order::Weighted && !config.cookies && extracted.is_empty();
    let mut steps = Vec::with_capacity(config.steps.len());
    for from in &config.steps {
        let path = format!("steps[{}]", from.index);
        let (step, asks_user) = step(&path, from, config, &extracted, &mut feeds, &mut setup, problems);
        stateless &= step.retries == 0 && step.connection != Connection::Own && !asks_user;
        steps.push(step);
    }
    setup.feeds = feeds.0;
    setup.stateless = stateless;
    if steps.iter().any(|step| step.interest.contains(Interest::BODY)) {
        setup.body_limit = BODY_LIMIT;
    }
    let weights = config.steps.iter().map(|step| step.weight).collect();
    let (order, cookies) = (config.order, config.cookies);
    (Program { steps, weights, order, cookies, slots: extracted.len() }, setup)
}

/// All names that steps extract, each once.
fn extracted(config: &Config, problems: &mut Problems) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for step in &config.steps {
        for (name, _) in &step.extract {
            let path = format!("steps[{}].extract.{name}", step.index);
            if ["arrival", "user", "uuid"].contains(&name.as_str()) || name.starts_with("random:") {
                problems.add(&path, format!("{{{name}}} is built in"), "give the value another name");
            } else if config.variables.contains_key(name) {
                problems.add(
                    &path,
                    format!("{name} is one of the variables, too"),
                    "give one of them another name",
                );
            }
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
    }
    all
}

/// Names of steps are names of series: two of the same would be one.
fn names(config: &Config, problems: &mut Problems) {
    for (index, step) in config.steps.iter().enumerate() {
        if let Some(first) = config.steps[..index].iter().find(|other| other.name == step.name) {
            problems.add(
                &format!("steps[{}].name", step.index),
                format!("step {} is named \"{}\", too", first.index, step.name),
                "give each step a name of its own",
            );
        }
    }
}

fn step(
    path: &str,
    from: &config::Step,
    config: &Config,
    extracted: &[String],
    feeds: &mut Feeds,
    setup: &mut Setup,
    problems: &mut Problems,
) -> (Step, bool) {
    let feed = from.feed.as_ref().map(|file| feeds.feed(file, from.feed_order));
    let mut compiler = Compiler::new(&config.variables, Some(extracted), feeds, feed, problems);
    let target = target(path, from, &mut compiler);
    let headers = headers(path, from, config, &mut compiler);
    let body = match &from.body {
        Body::None => None,
        Body::Text(text) => Some(compiler.text(&format!("{path}.body"), text, Escape::Raw)),
        Body::Json(value) => Some(compiler.json(&format!("{path}.json"), value)),
    };
    let Compiler { columns, needs, asks_user, .. } = compiler;
    if let (Some(file), true) = (&from.feed, columns.is_empty()) {
        problems.add(
            &format!("{path}.feed"),
            format!("no placeholder of the step takes a value from \"{file}\""),
            "write {column} where a value of the row belongs, or remove the feed",
        );
    }
    let index = setup.step(&from.name);
    expectations(index, from, setup);
    let name = &from.name;
    let needs: Vec<_> = needs
        .into_iter()
        .map(|slot| (slot, setup.check(&format!("{name}: needs {{{}}}", extracted[slot]))))
        .collect();
    let json = json_checks(path, from, setup, problems);
    let extract = extractions(path, from, extracted, setup, problems);
    let mut interest = if needs.is_empty() { Interest::NONE } else { Interest::END };
    if config.cookies || extract.iter().any(|e| e.from.needs_head()) || from.retries > 0 {
        interest = interest | Interest::END | Interest::HEAD;
    }
    if !json.is_empty() || extract.iter().any(|e| !e.from.needs_head()) {
        interest = interest | Interest::END | Interest::BODY;
    }
    let step = Step {
        step: index,
        method: setup.method(&from.method),
        target,
        headers,
        body,
        columns,
        needs,
        json,
        extract,
        interest,
        connection: from.connection,
        think_us: from.think_us,
        timeout_us: from.timeout_us,
        retries: from.retries,
        backoff_us: from.backoff_us,
    };
    (step, asks_user)
}

fn target(path: &str, from: &config::Step, compiler: &mut Compiler<'_>) -> Template {
    let at = format!("{path}.{}", from.path_key);
    if !from.path.starts_with('/') {
        let mend = match from.path.contains("://") {
            true => "the target's url stands in the plan: write the path only".to_owned(),
            false => format!("write \"/{}\"", from.path),
        };
        compiler.problems.add(&at, format!("the path \"{}\" does not begin with a slash", from.path), mend);
    }
    if from.path.contains('#') {
        compiler.problems.add(&at, "a fragment (#…) is never sent", "remove it, or write %23 for a #");
    }
    let mut target = compiler.text(&at, &from.path, Escape::Percent);
    let mut separator: &[u8] = if from.path.contains('?') { b"&" } else { b"?" };
    let at = format!("{path}.query");
    match &from.query {
        Query::None => {}
        Query::Text(text) => {
            target.raw(separator);
            compiler.append(&mut target, &at, text.trim_start_matches(['?', '&']));
        }
        Query::Table(pairs) => {
            for (name, value) in pairs {
                target.raw(separator);
                separator = b"&";
                query_part(&mut target, name, &at, compiler);
                target.raw(b"=");
                query_part(&mut target, value, &format!("{at}.{name}"), compiler);
            }
        }
    }
    target
}

/// A name or value of the query table: literal text is encoded, too, for `&` and `=` have no meaning in it.
fn query_part(target: &mut Template, text: &str, at: &str, compiler: &mut Compiler<'_>) {
    target.escape_literals = true;
    compiler.append(target, at, text);
    target.escape_literals = false;
}

fn headers(
    path: &str,
    from: &config::Step,
    config: &Config,
    compiler: &mut Compiler<'_>,
) -> Vec<(String, Template)> {
    let mut headers = Vec::new();
    for (name, text) in config.headers.iter().filter(|(name, _)| !from.headers.contains_key(*name)) {
        headers.push((name.clone(), compiler.text(&format!("headers.{name}"), text, Escape::Header)));
    }
    for (name, text) in &from.headers {
        let at = format!("{path}.headers.{name}");
        headers.push((name.clone(), compiler.text(&at, text, Escape::Header)));
    }
    if config.cookies && headers.iter().any(|(name, _)| name == "cookie") {
        compiler.problems.add(
            &format!("{path}.headers.cookie"),
            "with cookies = true the guest writes this header",
            "remove it, or write cookies = false",
        );
    }
    if matches!(from.body, Body::Json(_)) && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".into(), compiler.text(path, "application/json", Escape::Header)));
    }
    headers
}

/// The checks that the worker makes.
fn expectations(step: u32, from: &config::Step, setup: &mut Setup) {
    let (name, check) = (&from.name, &from.check);
    if !check.status.is_empty() {
        let text = format!("{name}: status is {}", status_text(&check.status));
        setup.expect(step, &text, Rule::Status(check.status.clone()));
    }
    for part in &check.body_contains {
        setup.expect(step, &format!("{name}: body contains \"{part}\""), Rule::BodyContains(part.clone()));
    }
    for (header, part) in &check.header {
        let text = match part.as_str() {
            "" => format!("{name}: has header {header}"),
            part => format!("{name}: header {header} contains \"{part}\""),
        };
        setup.expect(step, &text, Rule::HeaderContains { name: header.clone(), part: part.clone() });
    }
    if check.latency_us > 0 {
        let text = format!("{name}: answers within {}", duration_text(check.latency_us));
        setup.expect(step, &text, Rule::ServiceBelowUs(check.latency_us.into()));
    }
}

fn json_checks(
    path: &str,
    from: &config::Step,
    setup: &mut Setup,
    problems: &mut Problems,
) -> Vec<JsonCheck> {
    let mut checks = Vec::with_capacity(from.check.json.len());
    for (text, wanted) in &from.check.json {
        let name = match wanted {
            None => format!("{}: has {text}", from.name),
            Some(value) => format!("{}: {text} is {value}", from.name),
        };
        match Path::parse(text) {
            Ok(path) => checks.push(JsonCheck { check: setup.check(&name), path, wanted: wanted.clone() }),
            Err(message) => problems.add(&format!("{path}.check.json"), message, JSON_PATH),
        }
    }
    checks
}

const JSON_PATH: &str = "write $.key, $.list[0] or $[\"any key\"], in any depth";

fn extractions(
    path: &str,
    from: &config::Step,
    extracted: &[String],
    setup: &mut Setup,
    problems: &mut Problems,
) -> Vec<Extraction> {
    let mut all = Vec::with_capacity(from.extract.len());
    for (name, source) in &from.extract {
        let source = match source {
            config::From::Json(text) => match Path::parse(text) {
                Ok(path) => extract::From::Json(path),
                Err(message) => {
                    problems.add(&format!("{path}.extract.{name}.json"), message, JSON_PATH);
                    continue;
                }
            },
            config::From::Header(header) => extract::From::Header(header.clone()),
            config::From::Cookie(cookie) => extract::From::Cookie(cookie.clone()),
            config::From::Between(a, b) => extract::From::Between(a.clone().into(), b.clone().into()),
        };
        let check = setup.check(&format!("{}: extracts {name}", from.name));
        let slot = extracted.iter().position(|known| known == name).unwrap_or(0);
        all.push(Extraction { slot, check, from: source });
    }
    all
}
