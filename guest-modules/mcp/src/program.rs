//! A compiled configuration: what the hot path walks.

use gauntlet_sdk::{Headers, Setup};
use guest_config::{Compiler, Escape, Feeds, Problems, Template};
use serde_json::Value;

use crate::answers::Capabilities;
use crate::config::{self, Action, Arguments, Config, Expected};
use crate::dialect::{self, stateless};
use crate::failure::Checks;
use crate::generator::Generator;
use crate::result::Method;
use crate::revision::Revision;
use crate::tools::coded;

/// Bytes of a message that are verified; a longer one is counted as too large for it.
pub(crate) const BODY_LIMIT: u32 = 1 << 20;

/// A scenario, compiled.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) revision: Option<Revision>,
    pub(crate) endpoint: String,
    /// Of every POST over HTTP that is streamable.
    pub(crate) post_headers: Headers,
    /// What the plan adds to every request.
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) capabilities: Capabilities,
    /// As `initialize` declares them.
    pub(crate) declared: String,
    /// Where there is no `initialize`: as each request says it.
    pub(crate) about_us: String,
    pub(crate) verifies: bool,
    /// A turn is a whole session.
    pub(crate) whole_sessions: bool,
    pub(crate) in_sequence: bool,
    /// The server's own stream is open beside the calls of a session.
    pub(crate) stream: bool,
    /// Calls that a session has; 0 = it has no end.
    pub(crate) session_calls: u32,
    /// Some call takes values from the turn's row.
    pub(crate) has_columns: bool,
    pub(crate) lists_tools: bool,
    pub(crate) timeout_us: u32,
    pub(crate) think_us: (u32, u32),
    pub(crate) calls: Vec<Call>,
    pub(crate) weights: Vec<u32>,
    pub(crate) checks: Checks,
    pub(crate) steps: Steps,
    pub(crate) metrics: Metrics,
    pub(crate) methods: HttpMethods,
}

/// Indexes of the steps that are not calls.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) initialize: u32,
    pub(crate) list_tools: u32,
    pub(crate) end_session: u32,
    pub(crate) stream: u32,
    pub(crate) cancelled: u32,
    pub(crate) response: u32,
}

/// Indexes of the metrics; milliseconds from the send.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) first_message: u32,
    pub(crate) first_progress: u32,
    pub(crate) final_answer: u32,
}

#[derive(Debug)]
pub(crate) struct HttpMethods {
    pub(crate) post: u32,
    pub(crate) get: u32,
    pub(crate) delete: u32,
}

/// A call, compiled.
#[derive(Debug)]
pub(crate) struct Call {
    /// Index in the setup.
    pub(crate) step: u32,
    pub(crate) method: Method,
    /// Of a tool or a prompt.
    pub(crate) name: String,
    /// Headers where there are no sessions.
    pub(crate) headers: Headers,
    /// What comes after the id of its request.
    pub(crate) begin: String,
    pub(crate) arguments: Source,
    /// Where in the row its columns stand.
    pub(crate) columns: Vec<(usize, usize)>,
    /// Columns of the calls before it.
    pub(crate) columns_before: usize,
    /// Microseconds for which a stream is held.
    pub(crate) hold_us: u32,
    pub(crate) progress: bool,
    pub(crate) cancel_after_us: u32,
    pub(crate) timeout_us: u32,
    pub(crate) expect: Expected,
    pub(crate) batch: u32,
    /// Pages of a list that are read; none = all.
    pub(crate) pages: Option<u32>,
}

/// Where a call's arguments come from.
#[derive(Debug)]
pub(crate) enum Source {
    None,
    /// JSON with placeholders: a table of arguments, or a URI.
    Template(Template),
    Schema(Generator),
    /// The schema that the server lists.
    Listed,
}

impl Program {
    /// Calls of a session that is a turn.
    pub(crate) fn calls_of_whole_session(&self) -> u32 {
        match self.session_calls {
            0 if self.in_sequence => u32::try_from(self.calls.len()).unwrap_or(u32::MAX),
            calls => calls.max(1),
        }
    }
}

/// Compiles a configuration; what does not fit together is named in `problems`.
pub(crate) fn compile(config: &Config, problems: &mut Problems) -> (Program, Setup) {
    let mut setup = Setup { body_limit: BODY_LIMIT, ..Setup::default() };
    let mut feeds = Feeds::default();
    let headers = headers(config, &mut feeds, problems);
    // The calls' series come first: a turn in which nothing was asked for is counted in the first.
    let mut calls: Vec<_> =
        config.calls.iter().map(|from| call(from, config, &mut feeds, &mut setup, problems)).collect();
    calls.iter_mut().fold(0, |before, call| {
        call.columns_before = before;
        before + call.columns.len()
    });
    let needs_list = calls.iter().any(|call| matches!(call.arguments, Source::Listed));
    if needs_list && !config.lists_tools {
        problems.add(
            "list-tools",
            "arguments are generated from schemas that the server lists",
            "remove list-tools = false, or give the call a `schema`",
        );
    }
    let calls_tools = calls.iter().any(|call| call.method == Method::CallTool);
    let program = Program {
        revision: config.revision,
        endpoint: config.endpoint.clone(),
        post_headers: dialect::post_headers(),
        headers,
        capabilities: config.capabilities,
        declared: config.capabilities.text(),
        about_us: stateless::about_us(&config.capabilities.text()),
        verifies: config.verifies,
        whole_sessions: config.whole_sessions,
        in_sequence: config.in_sequence,
        stream: config.stream,
        session_calls: config.session_calls,
        has_columns: calls.iter().any(|call| !call.columns.is_empty()),
        lists_tools: config.lists_tools && calls_tools,
        timeout_us: config.timeout_us,
        think_us: config.think_us,
        weights: config.calls.iter().map(|call| call.weight).collect(),
        calls,
        checks: Checks::new(&mut setup),
        steps: Steps {
            initialize: setup.step("initialize"),
            list_tools: setup.step("tools/list"),
            end_session: setup.step("end of session"),
            stream: setup.step("session stream"),
            cancelled: setup.step("notifications/cancelled"),
            response: setup.step("answer to the server"),
        },
        metrics: Metrics {
            first_message: setup.metric("first message (ms)"),
            first_progress: setup.metric("first progress (ms)"),
            final_answer: setup.metric("final answer (ms)"),
        },
        methods: HttpMethods {
            post: setup.method("POST"),
            get: setup.method("GET"),
            delete: setup.method("DELETE"),
        },
    };
    for call in &config.calls {
        let reserved = [
            program.steps.initialize,
            program.steps.list_tools,
            program.steps.end_session,
            program.steps.stream,
            program.steps.cancelled,
            program.steps.response,
        ];
        let step =
            setup.steps.iter().position(|name| *name == call.name).and_then(|at| u32::try_from(at).ok());
        if step.is_some_and(|step| reserved.contains(&step)) {
            let path = format!("calls[{}].name", call.index);
            problems.add(
                &path,
                format!("\"{}\" is a series of the guest's own", call.name),
                "give it another name",
            );
        }
    }
    setup.feeds = feeds.0;
    (program, setup)
}

fn headers(config: &Config, feeds: &mut Feeds, problems: &mut Problems) -> Vec<(String, Template)> {
    let mut compiler = config::without_row(config, feeds, problems);
    let mut headers: Vec<_> = config
        .headers
        .iter()
        .map(|(name, text)| (name.clone(), compiler.text(&format!("headers.{name}"), text, Escape::Header)))
        .collect();
    if let Some(bearer) = &config.bearer {
        let mut value = Template::new(Escape::Header);
        value.raw(b"Bearer ");
        compiler.append(&mut value, "auth.bearer", bearer);
        headers.push(("authorization".into(), value));
    }
    headers
}

fn call(
    from: &config::Call,
    config: &Config,
    feeds: &mut Feeds,
    setup: &mut Setup,
    problems: &mut Problems,
) -> Call {
    let path = format!("calls[{}]", from.index);
    let feed = from.feed.as_ref().map(|file| feeds.feed(file, from.feed_order));
    let mut compiler = Compiler::new(&config.variables, None, feeds, feed, problems);
    let mut arguments = match &from.arguments {
        Arguments::None => Source::None,
        Arguments::Given(table) => {
            Source::Template(compiler.json(&format!("{path}.arguments"), &Value::Object(table.clone())))
        }
        Arguments::Schema(schema) => match Generator::new(schema) {
            Ok(generator) => Source::Schema(generator),
            Err(error) => {
                compiler.problems.add(
                    &format!("{path}.schema"),
                    format!("no arguments can be generated from it: #{} {}", error.place, error.message),
                    "mend the schema, or write `arguments`",
                );
                Source::None
            }
        },
        Arguments::Listed => Source::Listed,
    };
    let (method, name, hold_us) = match &from.action {
        Action::Tool(name) => (Method::CallTool, name.as_str(), 0),
        Action::Prompt(name) => (Method::GetPrompt, name.as_str(), 0),
        Action::Resource(uri) => {
            let uri = compiler.json(&format!("{path}.resource"), &Value::String(uri.clone()));
            arguments = Source::Template(uri);
            (Method::ReadResource, "", 0)
        }
        Action::List(method) => (*method, "", 0),
        Action::Ping => (Method::Ping, "", 0),
        Action::Listen(hold_us) => (Method::Listen, "", *hold_us),
    };
    let columns = compiler.columns;
    if let (Some(file), true) = (&from.feed, columns.is_empty()) {
        problems.add(
            &format!("{path}.feed"),
            format!("no placeholder of the call takes a value from \"{file}\""),
            "write {column} where a value of the row belongs, or remove the feed",
        );
    }
    Call {
        step: setup.step(&from.name),
        method,
        name: name.to_owned(),
        headers: stateless::headers(method.name(), coded(name).as_ref()),
        begin: dialect::begin(method, &Value::String(name.to_owned()).to_string()),
        arguments,
        columns,
        columns_before: 0,
        hold_us,
        progress: from.progress,
        cancel_after_us: from.cancel_after_us,
        timeout_us: from.timeout_us,
        expect: from.expect,
        batch: from.batch,
        pages: from.pages,
    }
}
