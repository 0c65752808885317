//! The configuration as types, for its JSON Schema alone: the guest carries the text that the test below derives
//! from them, and reads with messages better than a derived reader's.

use guest_config::Problems;
use guest_config::testing::{Drawn, Think, assert_committed, keys};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// Configuration of the expert guest: who is asked what, and what a good answer is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Config {
    /// Who is asked.
    #[schemars(length(min = 1, max = 100))]
    experts: Vec<Expert>,
    /// What is asked; {name} is a placeholder.
    prompt: String,
    /// What the model is told before; literal.
    system: Option<String>,
    /// File of rows (CSV or JSON lines); its columns are placeholders.
    feed: Option<String>,
    /// Which row an arrival gets; default sequential.
    feed_order: Option<FeedOrder>,
    /// Bytes that prompts are filled up to: a number, or how it is drawn for each arrival. Default: as long as they are.
    size: Option<Size>,
    /// The column that has the right answer.
    expect: Option<String>,
    /// Stream answers; default false.
    stream: Option<bool>,
    /// Tokens of an answer at most; default 256.
    #[schemars(range(min = 1, max = 1_048_576))]
    max_tokens: Option<u32>,
    /// Further members of each request's body.
    options: Option<Map<String, Value>>,
    /// Longest time of a query, all attempts and pauses in it; default 30s.
    timeout: Option<String>,
    /// Longest time of an attempt; default 10s.
    attempt_timeout: Option<String>,
    /// Further attempts; default 3.
    #[schemars(range(max = 20))]
    retries: Option<u32>,
    /// Ceiling of the pause before the first retry, doubled with each; default 500ms.
    backoff: Option<String>,
    /// Ceiling of all pauses; default 8s.
    max_backoff: Option<String>,
    /// Retries as a share of requests; default { percent = 10, reserve = 10 }.
    retry_budget: Option<Budget>,
    /// When an expert is not asked for a while; default: in a circle { failures = 5, open = "30s", probes = 3 }, else false.
    breaker: Option<Breaker>,
    /// What a good answer keeps.
    slo: Option<Slo>,
    /// What is verified of answers; default full.
    verify: Option<Verify>,
    /// Turns of a user that know of each other.
    conversation: Option<Conversation>,
    /// Every query goes to all experts, who vote.
    circle: Option<Circle>,
    /// Pause of the user after its turn; default none.
    think: Option<Think>,
}

/// One expert.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Expert {
    /// Name in reports; default: expert and its number.
    #[schemars(length(min = 1, max = 60))]
    name: Option<String>,
    /// The API that it speaks.
    api: Api,
    /// The model, as the API names it.
    model: String,
    /// The API key; {column} takes it from the feed.
    key: String,
    /// Share of the queries, in a circle weight of the vote, in thousandths; default 1.
    #[schemars(range(min = 0, max = 1_000_000))]
    weight: Option<f64>,
    /// Index into the scenario's targets; default 0.
    #[schemars(range(max = 999))]
    target: Option<u32>,
    /// Path and query in the place of the API's own.
    path: Option<String>,
    /// Tokens of an answer at most.
    #[schemars(range(min = 1, max = 1_048_576))]
    max_tokens: Option<u32>,
    /// Stream its answers.
    stream: Option<bool>,
    /// Further members of the request's body.
    options: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only their schema is used")]
enum Api {
    Anthropic,
    Gemini,
    DeepSeek,
    OpenRouter,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum FeedOrder {
    Sequential,
    Random,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Size {
    Fixed(u32),
    Drawn(Distribution),
}

/// Evenly from min to max, or log-normal with median and sigma, cut at max.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Distribution {
    #[schemars(range(max = 1_048_576))]
    min: Option<u32>,
    #[schemars(range(max = 1_048_576))]
    max: Option<u32>,
    #[schemars(range(min = 1, max = 1_048_576))]
    median: Option<u32>,
    /// Default 1.
    #[schemars(range(min = 0, max = 5))]
    sigma: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Budget {
    Flag(bool),
    Share(Share),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Share {
    /// Retries that a hundred requests pay for; default 10.
    #[schemars(range(max = 2_000))]
    percent: Option<u32>,
    /// Retries that can be saved up; default 10.
    #[schemars(range(max = 1_000_000))]
    reserve: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Breaker {
    Flag(bool),
    Settings(BreakerSettings),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct BreakerSettings {
    /// Failures in a row that open it; default 5.
    #[schemars(range(min = 1, max = 1_000_000))]
    failures: Option<u32>,
    /// How long it stays open; default 30s.
    open: Option<String>,
    /// Calls that probe at a time, and successes that close it; default 3.
    #[schemars(range(min = 1, max = 1_000))]
    probes: Option<u32>,
}

/// At least one of them.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Slo {
    /// Send to first content; of streams.
    ttft: Option<String>,
    /// Time per output token after the first; of streams.
    tpot: Option<String>,
    /// Send to last content.
    e2e: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Verify {
    /// All of an answer.
    Full,
    /// Of an answer the HTTP status.
    Status,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Conversation {
    /// Turns until a new one begins.
    #[schemars(range(min = 1, max = 1_000))]
    turns: u32,
    /// Bytes of what was said that are kept and sent again; default 1024.
    #[schemars(range(max = 2_048))]
    history: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Circle {
    /// Votes without which there is no outcome; default: half of the experts, rounded up.
    #[schemars(range(min = 1, max = 100))]
    min_experts: Option<u32>,
    /// Weight of those who voted, as a share of all, that is needed at least; default 0.5.
    #[schemars(range(min = 0, max = 1))]
    coverage: Option<f64>,
    /// Weight of the winner's voters, as a share of all who voted, that has to be exceeded; default 0.5.
    #[schemars(range(min = 0, max = 1))]
    support: Option<f64>,
    /// What equal scores at the top mean; default tie.
    tie: Option<Tie>,
    /// Cancel the rest as soon as it cannot change the outcome; default true.
    early: Option<bool>,
    /// What of an answer is the vote; default text.
    vote: Option<Vote>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Tie {
    /// There is no winner.
    Tie,
    /// The heaviest single voter decides, then the order of the experts.
    Heaviest,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Vote {
    Form(VoteForm),
    /// The choice that the text names.
    Choices(#[schemars(length(min = 2))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum VoteForm {
    /// The whole text.
    Text,
    /// The last number.
    Number,
}

/// What a turn before the load shows to be a mistake of the plan: no API that is only slow, down or overloaded does this.
fn trial() -> Value {
    let place = "check the target's `url`, and `api`, `path` and `model` of the expert";
    json!({
        // Nothing is waited for.
        "config": { "retries": 0 },
        "mistakes": [
            { "check": "cause: denied", "mend": "give the expert a `key` that the API takes: `key = { from-environment = \"NAME\" }`" },
            { "check": "cause: bad request", "statuses": [404, 405], "mend": place },
            { "check": "cause: shape", "statuses": [301, 302, 307, 308], "mend": place },
            { "check": "cause: shape", "content-type": "text/html", "mend": place },
        ],
    })
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("x-gauntlet-trial".into(), trial());
    assert_committed(env!("CARGO_MANIFEST_DIR"), schema);
}

#[test]
fn a_trial_speaks_of_checks_that_there_are_and_of_a_configuration_that_is_read() {
    let mut problems = Problems::default();
    let trial = trial();
    let mut config = trial["config"].clone();
    config["prompt"] = json!("x");
    config["experts"] = json!([{ "api": "gemini", "model": "m", "key": "k" }]);
    let config = super::read(&config.to_string(), &mut problems).unwrap();
    assert_eq!(config.backoff.retries, 0);
    let (_, setup) = crate::program::compile(&config, &mut problems);
    assert!(problems.is_empty());
    for sign in trial["mistakes"].as_array().unwrap() {
        let class = format!(": {}", sign["check"].as_str().unwrap());
        assert_eq!(setup.checks.iter().filter(|check| check.ends_with(&class)).count(), 1, "{sign}");
    }
}

/// The keys that the reader names as known when it meets an unknown one.
fn known(config: &Value, path: &str) -> Vec<String> {
    guest_config::testing::known(super::read, config, path)
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let x = "xxxxxxxxxxxxxxxxxxxx";
    let at = |place: &str| format!("{place}.{x}");
    let table = |key: &str| known(&json!({ key: { x: 1 } }), &at(key));
    assert_eq!(known(&json!({ x: 1 }), x), keys(schemars::schema_for!(Config)));
    assert_eq!(
        known(&json!({ "experts": [{ x: 1 }] }), &at("experts[0]")),
        keys(schemars::schema_for!(Expert))
    );
    assert_eq!(table("size"), keys(schemars::schema_for!(Distribution)));
    assert_eq!(table("retry-budget"), keys(schemars::schema_for!(Share)));
    assert_eq!(table("breaker"), keys(schemars::schema_for!(BreakerSettings)));
    assert_eq!(table("slo"), keys(schemars::schema_for!(Slo)));
    assert_eq!(table("conversation"), keys(schemars::schema_for!(Conversation)));
    assert_eq!(table("circle"), keys(schemars::schema_for!(Circle)));
    assert_eq!(table("think"), keys(schemars::schema_for!(Drawn)));
}

/// Defaults stand in the schema's texts, in the README and here, so that none changes by accident.
#[test]
fn defaults() {
    let text = r#"{"prompt":"x","experts":[{"api":"gemini","model":"m","key":"k"}]}"#;
    let mut problems = Problems::default();
    let config = super::read(text, &mut problems).unwrap();
    assert_eq!((config.timeout_us, config.attempt_timeout_us), (30_000_000, 10_000_000));
    let backoff = config.backoff;
    assert_eq!((backoff.retries, backoff.base.as_millis(), backoff.cap.as_secs()), (3, 500, 8));
    assert_eq!(config.budget.map(|budget| (budget.percent, budget.reserve)), Some((10, 10)));
    assert!(config.breaker.is_none() && config.slo.is_none() && config.size == super::Size::Text);
    assert!(config.verifies);
    let expert = &config.experts[0];
    assert_eq!((expert.name.as_str(), expert.weight, expert.target), ("expert 0", 1000, 0));
    assert_eq!((expert.max_tokens, expert.stream), (256, false));
    let text = text.replace(r#""prompt""#, r#""circle":{},"prompt""#);
    let config = super::read(&text, &mut problems).unwrap();
    let breaker = config.breaker.unwrap();
    assert_eq!((breaker.failures, breaker.open_for.as_secs(), breaker.probes), (5, 30, 3));
    let circle = config.circle.unwrap();
    assert_eq!((circle.min_experts, circle.coverage, circle.support), (None, 500_000, 500_000));
    assert_eq!((circle.tie, circle.early, circle.vote), (consensus::Tie::Tie, true, consensus::Vote::Text));
    assert!(problems.is_empty());
}
