//! What the tests of all our guests do with their configurations; feature `testing`, which no guest has in its component.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests may panic")]

use std::path::Path;

use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::Problems;

// One or several, in a schema.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(missing_docs, reason = "a text here would stand in the schema")]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

// Think time, in a schema: what `think` of this crate reads.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(missing_docs, reason = "a text here would stand in the schema")]
pub enum Think {
    Fixed(String),
    Drawn(Drawn),
}

/// Drawn evenly for each turn.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Drawn {
    /// Default 0.
    min: Option<String>,
    max: String,
}

/// Panics unless `config.schema.json` of the guest whose manifest is in `dir` is this schema. With `GAUNTLET_BLESS` in the
/// environment it is written first.
pub fn assert_committed(dir: &str, schema: Schema) {
    let derived = format!("{:#}\n", schema.to_value());
    let path = Path::new(dir).join("config.schema.json");
    if std::env::var_os("GAUNTLET_BLESS").is_some() {
        std::fs::write(&path, &derived).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == derived, "{} is stale: run the test with GAUNTLET_BLESS=1", path.display());
}

/// The keys that a reader names as known when it meets an unknown one at `path` of `config`.
pub fn known<T>(read: impl Fn(&str, &mut Problems) -> T, config: &Value, path: &str) -> Vec<String> {
    let mut problems = Problems::default();
    read(&config.to_string(), &mut problems);
    let all = problems.into_vec();
    let found = all.iter().find(|problem| problem.path == path).unwrap();
    found.mend.rsplit(": ").next().unwrap().split(", ").map(str::to_owned).collect()
}

/// The keys of a schema's table, in the order of the alphabet.
#[must_use]
pub fn keys(schema: Schema) -> Vec<String> {
    let value = schema.to_value();
    let mut keys: Vec<_> = value["properties"].as_object().unwrap().keys().cloned().collect();
    keys.sort_unstable();
    keys
}

/// The scenarios' configurations in the plans of a README, as a plan hands them over; each with its plan.
#[must_use]
pub fn examples(readme: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for block in readme.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let plan: toml_edit::DocumentMut = text.parse().unwrap();
        for scenario in plan["scenarios"].as_array_of_tables().unwrap() {
            found.push((value(&scenario["config"]).to_string(), text));
        }
    }
    found
}

/// TOML as JSON.
fn value(item: &toml_edit::Item) -> Value {
    use toml_edit::{Item, Value as Toml};
    match item {
        Item::Table(table) => table.iter().map(|(key, item)| (key.to_owned(), value(item))).collect(),
        Item::ArrayOfTables(list) => list.iter().map(|table| value(&Item::Table(table.clone()))).collect(),
        Item::Value(Toml::InlineTable(table)) => {
            table.iter().map(|(key, toml)| (key.to_owned(), value(&Item::Value(toml.clone())))).collect()
        }
        Item::Value(Toml::Array(list)) => list.iter().map(|toml| value(&Item::Value(toml.clone()))).collect(),
        Item::Value(Toml::String(text)) => json!(text.value()),
        Item::Value(Toml::Integer(number)) => json!(number.value()),
        Item::Value(Toml::Float(number)) => json!(number.value()),
        Item::Value(Toml::Boolean(flag)) => json!(flag.value()),
        Item::Value(Toml::Datetime(time)) => json!(time.value().to_string()),
        Item::None => Value::Null,
    }
}
