//! The schema and the parser know the same keys.
//!
//! That each key in the spec is read, and no other, is asserted whenever a section is read in tests
//! (`Section::finish`); here the schema is held against the spec.

use serde_json::Value;

use crate::spec::{Key, Kind, ROOT};

fn keys_of_spec(prefix: &str, keys: &[Key], found: &mut Vec<String>) {
    for key in keys {
        found.push(format!("{prefix}{}", key.name));
        kind_of_spec(&format!("{prefix}{}.", key.name), key.kind, found);
    }
}

fn kind_of_spec(prefix: &str, kind: Kind, found: &mut Vec<String>) {
    match kind {
        Kind::Table(keys) => keys_of_spec(prefix, keys, found),
        Kind::List(of) | Kind::Named(of) => kind_of_spec(prefix, *of, found),
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| kind_of_spec(prefix, *kind, found)),
        _ => {}
    }
}

fn keys_of_schema(prefix: &str, schema: &Value, found: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            found.push(format!("{prefix}{name}"));
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{prefix}{name}");
            keys_of_schema(&format!("{prefix}{name}."), property, found);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            keys_of_schema(prefix, &schema[inner], found);
        }
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        keys_of_schema(prefix, inner, found);
    }
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let (mut spec, mut schema) = (Vec::new(), Vec::new());
    keys_of_spec("", ROOT, &mut spec);
    keys_of_schema("", &crate::schema(), &mut schema);
    spec.sort();
    schema.sort();
    assert_eq!(spec, schema);
    assert!(spec.contains(&"scenarios.timeout".to_owned()));
    assert!(spec.contains(&"phases.heavy.on-objective-failure.hold".to_owned()));
}

#[test]
fn unknown_keys_are_refused_by_the_schema_too() {
    let schema = crate::schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["targets", "scenarios"]));
    assert_eq!(schema["properties"]["phases"]["additionalProperties"], false);
}
