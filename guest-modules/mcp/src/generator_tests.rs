use gauntlet_sdk::Rng;
use proptest::prelude::{prop_assert, proptest};
use serde_json::{Value, json};

use super::Generator;

fn draw(schema: &Value, arrival: u64) -> Value {
    let generator = Generator::new(schema).unwrap();
    let mut out = Vec::new();
    generator.write(&mut out, &mut Rng::for_arrival(7, arrival, 0));
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn refused(schema: &Value) -> String {
    let error = Generator::new(schema).unwrap_err();
    format!("{}: {}", error.place, error.message)
}

#[test]
fn a_draw_has_what_is_required() {
    let schema = json!({ "type": "object", "required": ["a", "kind"], "properties": {
        "a": { "type": "number", "minimum": 5, "maximum": 6 },
        "kind": { "enum": ["x", "y"] },
        "list": { "type": "array", "items": { "$ref": "#/$defs/point" }, "minItems": 1 },
        "when": { "type": "string", "format": "date-time" },
        "odd": { "type": "string", "pattern": "^a$" },
    }, "$defs": { "point": { "type": "object", "required": ["x"], "properties": { "x": { "type": "integer" } } } } });
    let mut lists = 0;
    for arrival in 0..200 {
        let value = draw(&schema, arrival);
        assert!((5.0..=6.0).contains(&value["a"].as_f64().unwrap()), "{value}");
        assert!(["x", "y"].contains(&value["kind"].as_str().unwrap()), "{value}");
        assert!(value.get("odd").is_none(), "what cannot be drawn and need not be there is left out");
        if let Some(list) = value.get("list") {
            lists += 1;
            assert!(list.as_array().unwrap().iter().all(|point| point["x"].is_i64() || point["x"].is_u64()));
        }
    }
    assert!((60..140).contains(&lists), "{lists} of 200: optional properties come in half of the draws");
}

#[test]
fn draws_are_functions_of_the_arrival() {
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
    assert_eq!(draw(&schema, 3), draw(&schema, 3));
    assert!((0..20).any(|arrival| draw(&schema, arrival) != draw(&schema, 3)));
}

#[test]
fn what_cannot_be_satisfied_is_refused_with_its_place() {
    for (schema, expected) in [
        (json!({ "type": "integer", "minimum": 3, "maximum": 2 }), "no whole number"),
        (json!({ "type": "integer", "exclusiveMinimum": 2, "maximum": 2 }), "no whole number"),
        (json!({ "type": "string", "pattern": "a" }), "`pattern`"),
        (json!({ "enum": [] }), "no values"),
        (json!({ "type": "string", "minLength": 4, "maxLength": 3 }), "no length"),
        (json!({ "$ref": "#/nowhere" }), "leads nowhere"),
        (json!({ "$ref": "#" }), "refers to itself"),
        (json!({ "type": "object", "required": ["a"] }), "no property says"),
        (
            json!({ "type": "array", "minItems": 60_000, "items": { "type": "string", "minLength": 60_000 } }),
            "1 MiB",
        ),
        (json!({ "type": "thing" }), "no type"),
        (json!(false), "no schema"),
    ] {
        assert!(refused(&schema).contains(expected), "{schema}: {}", refused(&schema));
    }
    let nested = json!({ "type": "object", "required": ["a"], "properties": { "a": { "not": {} } } });
    assert!(refused(&nested).starts_with("/properties/a: "), "{}", refused(&nested));
}

#[test]
fn a_schema_that_grows_without_end_is_refused_soon() {
    let mut definitions = json!({ "d0": { "type": "string" } });
    for depth in 1..20 {
        let below = json!({ "$ref": format!("#/$defs/d{}", depth - 1) });
        definitions[format!("d{depth}")] =
            json!({ "type": "object", "properties": { "a": below, "b": below, "c": below } });
    }
    let schema = json!({ "$ref": "#/$defs/d19", "$defs": definitions });
    assert!(refused(&schema).contains("10000 parts"), "{}", refused(&schema));
}

#[test]
fn what_refers_to_itself_is_left_out_where_it_need_not_be_there() {
    let schema = json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "left": { "$ref": "#" }, "all": { "type": "array", "items": { "$ref": "#" } } } });
    for arrival in 0..20 {
        assert_eq!(draw(&schema, arrival).as_object().unwrap().len(), 1);
    }
}

#[test]
fn texts_of_a_format_look_like_it() {
    for (format, part) in [("email", "@example.com"), ("uri", "https://"), ("uuid", "-4"), ("date-time", "T")]
    {
        let value = draw(&json!({ "type": "string", "format": format }), 1);
        assert!(value.as_str().unwrap().contains(part), "{format}: {value}");
    }
}

proptest! {
    #[test]
    fn numbers_keep_to_their_ends(low in -1000_i32..1000, width in 0_i32..1000, step in 1_i32..20, arrival: u64) {
        let high = low + width;
        let schema = json!({ "type": "integer", "minimum": low, "maximum": high, "multipleOf": step });
        if let Ok(generator) = Generator::new(&schema) {
            let mut out = Vec::new();
            generator.write(&mut out, &mut Rng::for_arrival(1, arrival, 0));
            let number: i32 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert!(low <= number && number <= high && number % step == 0, "{number} of {schema}");
        } else {
            prop_assert!((low..=high).all(|number| number % step != 0), "{schema}");
        }
    }

    #[test]
    fn lengths_keep_to_their_ends(least in 0_u64..50, more in 0_u64..50, arrival: u64) {
        let schema = json!({ "type": "string", "minLength": least, "maxLength": least + more });
        let length = draw(&schema, arrival).as_str().unwrap().len() as u64;
        prop_assert!(least <= length && length <= least + more);
        let schema = json!({ "type": "array", "items": { "const": 1 }, "minItems": least, "maxItems": least + more });
        let length = draw(&schema, arrival).as_array().unwrap().len() as u64;
        prop_assert!(least <= length && length <= least + more);
    }
}
