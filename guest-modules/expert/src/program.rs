//! A compiled configuration: what the hot path walks.

use std::collections::BTreeMap;

use consensus::{Rules, Vote};
use expert_apis::{Api, Asked, Cause, Envelope};
use gauntlet_sdk::{Interest, Setup};
use guest_config::{Compiler, Escape, Feeds, Problems, Template};
use resilience::{backoff, breaker, budget};

use crate::config::{self, Config, Conversation, Size, Slo};

/// Bytes of an answer, or of an event, that are looked at: a whole answer of 16 000 tokens.
const BODY_LIMIT: u32 = 64 << 10;

/// A scenario, compiled.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) experts: Vec<Expert>,
    pub(crate) weights: Vec<u32>,
    pub(crate) prompt: Template,
    pub(crate) size: Size,
    /// Where in a row the columns in use stand.
    pub(crate) columns: Vec<(usize, usize)>,
    /// Which of these has the right answer.
    pub(crate) expect: Option<usize>,
    pub(crate) timeout_us: u32,
    pub(crate) attempt_timeout_us: u32,
    pub(crate) backoff: backoff::Settings,
    pub(crate) budget: Option<budget::Settings>,
    pub(crate) breaker: Option<breaker::Settings>,
    pub(crate) slo: Option<Slo>,
    /// Answers are read; else only their HTTP status is looked at.
    pub(crate) verifies: bool,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) circle: Option<Circle>,
    pub(crate) think_us: (u32, u32),
    pub(crate) metrics: Metrics,
}

/// An expert, compiled.
#[derive(Debug)]
pub(crate) struct Expert {
    pub(crate) api: Api,
    pub(crate) stream: bool,
    pub(crate) step: u32,
    /// Index into the scenario's targets.
    pub(crate) endpoint: u32,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) envelope: Envelope,
    pub(crate) interest: Interest,
    pub(crate) checks: Checks,
}

/// Indexes of an expert's checks.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) answers: u32,
    pub(crate) stop: Option<u32>,
    pub(crate) usage: Option<u32>,
    pub(crate) objectives: Option<u32>,
    pub(crate) right: Option<u32>,
    pub(crate) dated: u32,
    /// By [`Cause`].
    pub(crate) causes: [u32; Cause::ALL.len()],
}

impl Checks {
    pub(crate) fn cause(&self, cause: Cause) -> u32 {
        // `ALL` is in the order of the variants, which a test holds to.
        self.causes[cause as usize]
    }
}

/// Indexes of the metrics of single answers.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) ttft: Option<u32>,
    pub(crate) tpot: Option<u32>,
    pub(crate) itl: Option<u32>,
    pub(crate) e2e: u32,
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) per_second: u32,
}

/// A circle, compiled.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) step: u32,
    pub(crate) rules: Rules,
    pub(crate) early: bool,
    pub(crate) vote: Vote,
    pub(crate) quorum: u32,
    pub(crate) winner: u32,
    pub(crate) no_tie: u32,
    pub(crate) unanimous: u32,
    pub(crate) right: Option<u32>,
    pub(crate) support: u32,
    pub(crate) margin: u32,
    pub(crate) coverage: u32,
    pub(crate) agreement: u32,
    pub(crate) voters: u32,
    pub(crate) not_needed: u32,
}

/// Name of the one step of a circle, and of what is wrong with its outcomes.
const CIRCLE: &str = "circle";

/// Compiles a configuration; what does not fit together is named in `problems`.
pub(crate) fn compile(config: &Config, problems: &mut Problems) -> (Program, Setup) {
    let (mut setup, mut feeds, none) = (Setup::default(), Feeds::default(), BTreeMap::new());
    setup.method("POST");
    setup.body_limit = BODY_LIMIT;
    let feed = config.feed.as_ref().map(|file| feeds.feed(file, config.feed_order));
    let mut compiler = Compiler::new(&none, None, &mut feeds, feed, problems);
    let prompt = compiler.text("prompt", &config.prompt, Escape::Json);
    let headers: Vec<_> = config.experts.iter().map(|expert| headers(expert, &mut compiler)).collect();
    let mut columns = compiler.columns;
    let expect = config.expect.as_ref().map(|column| {
        let mut compiler = Compiler::new(&none, None, &mut feeds, feed, problems);
        compiler.text("expect", &format!("{{{column}}}"), Escape::Raw);
        expected(column, &compiler.columns, &mut columns, compiler.problems)
    });
    if let (Some(file), true) = (&config.feed, columns.is_empty()) {
        let message = format!("nothing takes a value from \"{file}\"");
        problems.add("feed", message, "write {column} in the prompt, or remove the feed");
    }
    let circle = config.circle.as_ref().map(|circle| self::circle(circle, config, &mut setup));
    let streams = config.verifies && config.experts.iter().any(|expert| expert.stream);
    let experts = config.experts.iter().zip(headers);
    let experts: Vec<_> = experts.map(|(from, headers)| expert(from, headers, config, &mut setup)).collect();
    let program = Program {
        weights: config.experts.iter().map(|expert| expert.weight).collect(),
        experts,
        prompt,
        size: config.size,
        columns,
        expect,
        timeout_us: config.timeout_us,
        attempt_timeout_us: config.attempt_timeout_us,
        backoff: config.backoff,
        budget: config.budget,
        breaker: config.breaker,
        slo: config.slo,
        verifies: config.verifies,
        conversation: config.conversation,
        circle,
        think_us: config.think_us,
        metrics: metrics(streams, &mut setup),
    };
    setup.feeds = feeds.0;
    (program, setup)
}

/// Where among the columns the right answer stands.
fn expected(
    column: &str,
    found: &[(usize, usize)],
    columns: &mut Vec<(usize, usize)>,
    problems: &mut Problems,
) -> usize {
    let Some(&wanted) = found.first() else {
        // Without a feed that is a problem already, and a built-in value is no column.
        if problems.is_empty() {
            let message = format!("\"{column}\" is no column of a feed");
            problems.add("expect", message, "write expect = \"answer\", a column of the feed");
        }
        return 0;
    };
    columns.iter().position(|&known| known == wanted).unwrap_or_else(|| {
        columns.push(wanted);
        columns.len() - 1
    })
}

fn headers(expert: &config::Expert, compiler: &mut Compiler<'_>) -> Vec<(String, Template)> {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(expert.api.headers(&expert.key));
    let path = format!("experts[{}].key", expert.index);
    headers
        .into_iter()
        .map(|(name, value)| {
            let value = compiler.text(&path, &value, Escape::Header);
            (name, value)
        })
        .collect()
}

fn expert(
    from: &config::Expert,
    headers: Vec<(String, Template)>,
    config: &Config,
    setup: &mut Setup,
) -> Expert {
    let name = &from.name;
    let mut check = |what: &str| setup.check(&format!("{name}: {what}"));
    let checks = Checks {
        answers: check("answers"),
        stop: config.verifies.then(|| check("known reason to stop")),
        usage: config.verifies.then(|| check("token counts")),
        objectives: config.slo.map(|_| check("within its objectives")),
        right: config.expect.as_ref().map(|_| check("right answer")),
        dated: check("Retry-After in seconds"),
        causes: Cause::ALL.map(|cause| check(&format!("cause: {}", cause.name()))),
    };
    let asked = Asked {
        model: &from.model,
        system: config.system.as_deref(),
        max_tokens: from.max_tokens,
        stream: from.stream,
        options: &from.options,
    };
    // Of answers with an error the head says when to come again.
    let mut interest = Interest::END | Interest::HEAD;
    if config.verifies {
        interest = interest | Interest::BODY;
    }
    if config.verifies && from.stream {
        interest = interest | Interest::EVENTS;
    }
    Expert {
        api: from.api,
        stream: from.stream,
        // A query to a circle is one operation, whichever of its experts it is counted for.
        step: setup.step(if config.circle.is_some() { CIRCLE } else { name }),
        endpoint: from.target,
        target: from.api.target(&from.model, from.stream, from.path.as_deref()),
        headers,
        envelope: from.api.envelope(&asked),
        interest,
        checks,
    }
}

/// What a metric is stands in its name: the same words mean different numbers elsewhere.
fn metrics(streams: bool, setup: &mut Setup) -> Metrics {
    let mut of_streams = |name: &str| streams.then(|| setup.metric(name));
    Metrics {
        ttft: of_streams("TTFT: send to first content, ms"),
        tpot: of_streams("TPOT: (E2E - TTFT) / (output tokens - 1), ms"),
        itl: of_streams("ITL: gaps between contents, pooled, ms"),
        e2e: setup.metric("E2E: send to last content, ms"),
        input: setup.metric("input tokens, as counted by the API"),
        output: setup.metric("output tokens, as counted by the API"),
        per_second: setup.metric("output tokens / E2E, tokens per second"),
    }
}

fn circle(from: &config::Circle, config: &Config, setup: &mut Setup) -> Circle {
    let weights: Vec<u32> = config.experts.iter().map(|expert| expert.weight).collect();
    // At most 100 experts.
    let half = (weights.len() as u32).div_ceil(2);
    let rules = Rules {
        min_experts: from.min_experts.unwrap_or(half),
        coverage: from.coverage,
        support: from.support,
        tie: from.tie,
        weights,
    };
    Circle {
        step: setup.step(CIRCLE),
        rules,
        early: from.early,
        vote: from.vote.clone(),
        quorum: setup.check("circle: quorum"),
        winner: setup.check("circle: consensus"),
        no_tie: setup.check("circle: no tie"),
        unanimous: setup.check("circle: unanimous"),
        right: config.expect.as_ref().map(|_| setup.check("circle: right outcome")),
        support: setup.metric("support: the leader's weight / weight of voters"),
        margin: setup.metric("margin: (leader - runner-up) / weight of voters"),
        coverage: setup.metric("coverage: weight of voters / weight of all"),
        agreement: setup.metric("agreement: pairs of voters who agree / pairs"),
        voters: setup.metric("experts who voted"),
        not_needed: setup.metric("experts cancelled, not needed"),
    }
}
