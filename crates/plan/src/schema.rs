//! The JSON Schema of plans, from the same tree of keys that the parser checks against.

use serde_json::{Map, Value, json};

use crate::spec::{Key, Kind, ROOT};

/// JSON Schema (2020-12) of a plan; editors complete and check TOML with it.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    if let Value::Object(entries) = &mut schema {
        entries.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        entries.insert("title".to_owned(), json!("Gauntlet plan"));
    }
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut property = kind(key.kind);
            if let Value::Object(entries) = &mut property {
                entries.insert("description".to_owned(), json!(key.doc));
            }
            (key.name.to_owned(), property)
        })
        .collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn kind(of: Kind) -> Value {
    match of {
        Kind::Text => json!({ "type": "string" }),
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Duration => {
            json!({ "type": "string", "pattern": r"^\s*([0-9.]+(ns|us|µs|ms|s|m|h|d)\s*)+$" })
        }
        Kind::Share => json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "string", "pattern": r"^\s*[0-9.]+\s*%?\s*$" },
        ] }),
        Kind::Rate => json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^\s*[0-9.]+\s*(req)?\s*(/\s*(s|sec|second|m|min|minute|h|hour))?\s*$" },
        ] }),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": r"^\s*[0-9.]+\s*(B|kB|KiB|MB|MiB|GB|GiB|TiB)$" },
        ] }),
        Kind::Any => json!({}),
        Kind::List(of) => json!({ "type": "array", "items": kind(*of) }),
        Kind::Table(keys) => table(keys),
        Kind::Named(of) => json!({ "type": "object", "additionalProperties": kind(*of) }),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(|k| kind(*k)).collect::<Vec<_>>() }),
    }
}
