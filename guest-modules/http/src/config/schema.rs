//! The configuration as types, for its JSON Schema alone: the guest carries the text that the test below derives
//! from them, and reads with messages better than a derived reader's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Value, json};

use guest_config::testing::{Drawn, OneOrMany, Think, assert_committed, keys};

/// Configuration of the http guest: steps, each of which is one request.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Config {
    /// What users do; at least one step.
    #[schemars(length(min = 1, max = 1_000))]
    steps: Vec<Step>,
    /// Which step a turn takes.
    #[schemars(default)]
    order: Order,
    /// Headers of every step that does not set them itself.
    #[schemars(default)]
    headers: BTreeMap<String, Scalar>,
    /// Keep the target's cookies per user and send them.
    #[schemars(default)]
    cookies: bool,
    /// Constants for placeholders.
    #[schemars(default)]
    variables: BTreeMap<String, Scalar>,
}

/// Which step a turn takes.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Order {
    /// Each arrival draws a step by weight.
    #[default]
    Weighted,
    /// Each turn of a user takes its next step.
    Sequence,
}

/// One request. Exactly one of get, post, put, patch, delete, head, options, or method with path.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Step {
    /// Name of its series; default: method and path.
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    /// Its share among the weights of all steps (order weighted); default 1.
    #[schemars(range(max = 1_000_000))]
    weight: Option<u32>,
    /// Path of a GET request; {name} is a placeholder.
    get: Option<String>,
    /// Path of a POST request.
    post: Option<String>,
    /// Path of a PUT request.
    put: Option<String>,
    /// Path of a PATCH request.
    patch: Option<String>,
    /// Path of a DELETE request.
    delete: Option<String>,
    /// Path of a HEAD request.
    head: Option<String>,
    /// Path of an OPTIONS request.
    options: Option<String>,
    /// Any other method, with path.
    method: Option<String>,
    /// Path of a request with method.
    path: Option<String>,
    /// Query: its text, or names with values.
    query: Option<Query>,
    /// Headers of this step.
    #[schemars(default)]
    headers: BTreeMap<String, Scalar>,
    /// Body as text.
    body: Option<String>,
    /// Body as JSON; its texts may have placeholders.
    json: Option<Value>,
    /// File of rows (CSV or JSON lines); its columns are placeholders.
    feed: Option<String>,
    /// Which row an arrival gets; default sequential.
    feed_order: Option<FeedOrder>,
    /// What must hold of each answer.
    check: Option<Check>,
    /// Values for later steps, by name.
    #[schemars(default)]
    extract: BTreeMap<String, Extract>,
    /// Pause of the user after the answer; default none.
    think: Option<Think>,
    /// Deadline of the whole answer; default: the plan's.
    timeout: Option<String>,
    /// Further attempts after no answer or 429, 502, 503, 504; default 0.
    #[schemars(range(max = 20))]
    retries: Option<u32>,
    /// Ceiling of the wait before the first retry, doubled with each; default 100ms.
    backoff: Option<String>,
    /// Which connection carries it; default any.
    connection: Option<Connection>,
}

/// A single value.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Query {
    Text(String),
    Table(BTreeMap<String, OneOrMany<Scalar>>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum FeedOrder {
    Sequential,
    Random,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Connection {
    /// Any of the pool.
    Any,
    /// The user's own.
    Own,
    /// A new one, closed after the answer.
    Fresh,
}

/// What must hold of each answer.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Check {
    /// 200, "2xx", "200-204", or a list of them.
    status: Option<OneOrMany<Status>>,
    /// Texts that the body contains.
    body_contains: Option<OneOrMany<String>>,
    /// A header that is there, or headers with parts of their values.
    header: Option<Header>,
    /// JSON paths that exist, or with the values that they have.
    json: Option<Json>,
    /// Longest time from the send to the last byte.
    latency: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Status {
    Number(u16),
    Range(String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Header {
    Name(String),
    Parts(BTreeMap<String, Scalar>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only their schema is used")]
enum Json {
    Paths(OneOrMany<String>),
    Values(BTreeMap<String, Value>),
}

/// Where a value comes from; exactly one.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Extract {
    /// JSON path in the body.
    json: Option<String>,
    /// Name of a header.
    header: Option<String>,
    /// Name of a cookie that the answer sets.
    cookie: Option<String>,
    /// The text before and the text after the value in the body.
    #[schemars(length(equal = 2))]
    between: Option<Vec<String>>,
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    assert_committed(env!("CARGO_MANIFEST_DIR"), schemars::schema_for!(Config));
}

/// The keys that the reader names as known when it meets an unknown one.
fn known(config: &Value, path: &str) -> Vec<String> {
    guest_config::testing::known(super::read, config, path)
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let x = "xxxxxxxxxx";
    let step = |key: &str, value: Value| json!({ "steps": [{ "get": "/", key: value }] });
    assert_eq!(known(&json!({ "steps": [], x: 1 }), x), keys(schemars::schema_for!(Config)));
    assert_eq!(known(&step(x, json!(1)), "steps[0].xxxxxxxxxx"), keys(schemars::schema_for!(Step)));
    let check = step("check", json!({ x: 1 }));
    assert_eq!(known(&check, "steps[0].check.xxxxxxxxxx"), keys(schemars::schema_for!(Check)));
    let extract = step("extract", json!({ "v": { x: 1 } }));
    assert_eq!(known(&extract, "steps[0].extract.v.xxxxxxxxxx"), keys(schemars::schema_for!(Extract)));
    let think = step("think", json!({ x: 1, "max": "1s" }));
    assert_eq!(known(&think, "steps[0].think.xxxxxxxxxx"), keys(schemars::schema_for!(Drawn)));
}
