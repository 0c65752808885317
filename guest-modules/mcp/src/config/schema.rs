//! The configuration as types, for its JSON Schema alone: the guest carries the text that the test below derives
//! from them, and reads with messages better than a derived reader's.

use std::collections::BTreeMap;

use guest_config::testing::{Drawn, OneOrMany, Think, assert_committed, keys};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// Configuration of the mcp guest: a mix of calls of the Model Context Protocol.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Config {
    /// What users do; at least one call.
    #[schemars(length(min = 1, max = 1_000))]
    calls: Vec<Call>,
    /// Revision of the protocol; default auto.
    revision: Option<Revision>,
    /// Path at which the server is reached; default /mcp.
    endpoint: Option<String>,
    /// Headers of every request.
    #[schemars(default)]
    headers: BTreeMap<String, Scalar>,
    /// Credentials.
    auth: Option<Auth>,
    /// What the client says that it can do for the server; default nothing.
    capabilities: Option<OneOrMany<Capability>>,
    /// What is verified of answers; default full.
    verify: Option<Verify>,
    /// When a user ends its session and opens another; default never.
    session: Option<Session>,
    /// What a turn is; default call.
    turn: Option<TurnIs>,
    /// Which call comes next; default weights.
    order: Option<Order>,
    /// Hold the session's own stream beside its calls, with turn = "session"; default false.
    stream: Option<bool>,
    /// Opening a session reads the list of tools; default true.
    list_tools: Option<bool>,
    /// Deadline of each answer; default: the plan's.
    timeout: Option<String>,
    /// Pause of the user after its turn; default none.
    think: Option<Think>,
    /// Constants for placeholders.
    #[schemars(default)]
    variables: BTreeMap<String, Scalar>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only their schema is used")]
enum Revision {
    /// Found out at the first turn.
    #[schemars(rename = "auto")]
    Auto,
    #[schemars(rename = "2024-11-05")]
    V2024_11_05,
    #[schemars(rename = "2025-03-26")]
    V2025_03_26,
    #[schemars(rename = "2025-06-18")]
    V2025_06_18,
    #[schemars(rename = "2025-11-25")]
    V2025_11_25,
    #[schemars(rename = "2026-07-28")]
    V2026_07_28,
}

/// Credentials of every request.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Auth {
    /// A bearer token; {name} is a placeholder.
    bearer: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Capability {
    Roots,
    Sampling,
    Elicitation,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Verify {
    /// Everything that the revision says.
    Full,
    /// The HTTP status of calls.
    Status,
}

/// The life of a session.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Session {
    /// Calls after which it is ended; 0 = never.
    #[schemars(range(max = 1_000_000))]
    calls: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum TurnIs {
    /// One call of the mix, in a session that stays open; in 2024-11-05 a session.
    Call,
    /// A whole session: opened, its calls, ended.
    Session,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum Order {
    /// Drawn by weight.
    Weights,
    /// One after another as they stand.
    Sequence,
}

/// One kind of call. Exactly one of tool, prompt, resource, list, ping, listen.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only their schema is used")]
struct Call {
    /// Name of its series; default: method and name.
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    /// Its share among the weights of all calls; default 1.
    #[schemars(range(max = 1_000_000))]
    weight: Option<u32>,
    /// Name of a tool to call.
    tool: Option<String>,
    /// Name of a prompt to get.
    prompt: Option<String>,
    /// URI of a resource to read; {name} is a placeholder.
    resource: Option<String>,
    /// A list to read, page by page.
    list: Option<List>,
    /// Send a ping.
    ping: Option<bool>,
    /// Hold a stream of the server's messages for so long from when it is open.
    listen: Option<String>,
    /// Arguments of a tool or prompt; texts may have placeholders.
    arguments: Option<Map<String, Value>>,
    /// JSON Schema from which arguments are drawn.
    schema: Option<Map<String, Value>>,
    /// Draw arguments from the schema that the server lists; default false.
    generate: Option<bool>,
    /// File of rows (CSV or JSON lines); its columns are placeholders.
    feed: Option<String>,
    /// Which row an arrival gets; default sequential.
    feed_order: Option<FeedOrder>,
    /// Ask for progress; default false.
    progress: Option<bool>,
    /// Give the call up after so long; default never.
    cancel_after: Option<String>,
    /// Deadline of the answer; default: the scenario's.
    timeout: Option<String>,
    /// How the call is to end; default success.
    expect: Option<Expected>,
    /// Requests in one body (2025-03-26); default 1.
    #[schemars(range(max = 32))]
    batch: Option<u32>,
    /// Pages of the list that are read; default all.
    #[schemars(range(max = 100))]
    pages: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only their schema is used")]
enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
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
enum Expected {
    /// A result.
    Success,
    /// A result with isError.
    ToolError,
    /// A JSON-RPC error.
    ProtocolError,
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

/// What a turn before the load shows to be a mistake of the plan: no server that is only slow, down or overloaded does this.
fn trial() -> Value {
    let opening = json!(["initialize", "tools/list"]);
    let place =
        "check the target's `url`, and `endpoint` (default /mcp) and `revision` of the scenario's config";
    json!({
        // A session is ended with its turn.
        "config": { "session": { "calls": 1 } },
        "mistakes": [
            { "check": "401", "mend": "give `auth = { bearer = { from-environment = \"NAME\" } }` with a token that the server takes" },
            { "check": "403", "mend": "give `auth` with a token that may do this, or the `headers` that the server wants" },
            { "check": "version-unsupported", "mend": "write revision = \"auto\", or one that the server speaks" },
            { "check": "status", "steps": opening, "statuses": [301, 302, 307, 308, 400, 404, 405, 406], "mend": place },
            { "check": "content-type", "steps": opening, "mend": place },
            // Where there is no session, the first answer may be that to a call.
            { "check": "content-type", "statuses": [404], "mend": place },
            { "check": "json-rpc", "statuses": [404], "mend": place },
            { "check": "json-rpc", "steps": opening, "statuses": [400, 404, 405], "mend": place },
            { "check": "protocol-error", "steps": opening, "statuses": [400], "mend": place },
            { "check": "endpoint", "steps": opening, "content-type": "text/html", "mend": place },
            { "check": "arguments", "mend": "give the call `arguments` or a `schema` of its own" },
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
fn a_trial_speaks_of_checks_and_steps_that_there_are_and_of_a_configuration_that_is_read() {
    let mut problems = guest_config::Problems::default();
    let trial = trial();
    let mut config = trial["config"].clone();
    config["calls"] = json!([{ "tool": "a" }]);
    let config = super::read(&config.to_string(), &mut problems).unwrap();
    let (_, setup) = crate::program::compile(&config, &mut problems);
    assert!(problems.is_empty());
    for sign in trial["mistakes"].as_array().unwrap() {
        let class = format!("{}: ", sign["check"].as_str().unwrap());
        assert_eq!(setup.checks.iter().filter(|check| check.starts_with(&class)).count(), 1, "{sign}");
        let steps = sign["steps"].as_array().into_iter().flatten();
        assert!(
            steps.map(|step| step.as_str().unwrap()).all(|step| setup.steps.iter().any(|s| s == step)),
            "{sign}"
        );
    }
}

/// The keys that the reader names as known when it meets an unknown one.
fn known(config: &Value, path: &str) -> Vec<String> {
    guest_config::testing::known(super::read, config, path)
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let x = "xxxxxxxxxx";
    let call = json!({ "calls": [{ "tool": "a", x: 1 }] });
    assert_eq!(known(&json!({ "calls": [], x: 1 }), x), keys(schemars::schema_for!(Config)));
    assert_eq!(known(&call, "calls[0].xxxxxxxxxx"), keys(schemars::schema_for!(Call)));
    assert_eq!(known(&json!({ "auth": { x: 1 } }), "auth.xxxxxxxxxx"), keys(schemars::schema_for!(Auth)));
    assert_eq!(
        known(&json!({ "session": { x: 1 } }), "session.xxxxxxxxxx"),
        keys(schemars::schema_for!(Session))
    );
    assert_eq!(
        known(&json!({ "think": { x: 1, "max": "1s" } }), "think.xxxxxxxxxx"),
        keys(schemars::schema_for!(Drawn))
    );
}
