use super::*;
use proptest::prelude::*;

const DOCUMENT: &str = r#" { "id" : 7, "a b": {"x.y": [10, {"z": "deep"}, []]}, "esc\"aped": "l\u00e4mp \"on\"",
    "list": [1, 2.50, true, null, "five"], "empty": {}, "nested": [[[]], {"a": {"b": {}}}], "last": "}]," } "#;

fn find(path: &str) -> Option<&'static str> {
    Path::parse(path).unwrap().find(DOCUMENT.as_bytes()).map(|found| std::str::from_utf8(found).unwrap())
}

#[test]
fn values_are_found_at_any_depth() {
    for (path, value) in [
        ("$.id", Some("7")),
        ("$['a b'][\"x.y\"][0]", Some("10")),
        ("$['a b']['x.y'][1].z", Some("\"deep\"")),
        ("$['a b']['x.y'][2]", Some("[]")),
        ("$.list[1]", Some("2.50")),
        ("$.list[4]", Some("\"five\"")),
        ("$.list[5]", None),
        ("$.empty", Some("{}")),
        ("$.empty.x", None),
        ("$.nested[1].a.b", Some("{}")),
        ("$.nested[0][0][0]", None),
        ("$.last", Some("\"}],\"")),
        ("$.id.x", None),
        ("$.nowhere", None),
        ("$.list.x", None),
        ("$.id[0]", None),
        ("$['esc\"aped']", Some(r#""l\u00e4mp \"on\"""#)),
    ] {
        assert_eq!(find(path), value, "{path}");
    }
    assert_eq!(find("$"), Some(DOCUMENT.trim()));
}

#[test]
fn wrong_paths_say_what_is_wrong() {
    for (path, message) in [
        ("price", "does not begin with $"),
        ("$.", "no plain key"),
        ("$..a", "no plain key"),
        ("$.*", "no plain key"),
        ("$[x]", "[x]"),
        ("$[-1]", "[-1]"),
        ("$a", "from \"a\" on"),
        ("$[0", "from \"[0\" on"),
    ] {
        let error = Path::parse(path).unwrap_err();
        assert!(error.contains(message), "{path}: {error}");
    }
}

#[test]
fn texts_lose_quotes_and_escapes() {
    let read = |found: &str| text(found.as_bytes()).map(|text| String::from_utf8(text.into_owned()).unwrap());
    assert_eq!(read("\"abc\"").as_deref(), Some("abc"));
    assert_eq!(read(r#""l\u00e4mp \"on\"""#).as_deref(), Some("lämp \"on\""));
    assert_eq!(read("12.5").as_deref(), Some("12.5"));
    assert_eq!(read("[1]").as_deref(), Some("[1]"));
    assert_eq!(read("null"), None);
    assert_eq!(read(r#""\x""#), None);
}

#[test]
fn equal_is_what_means_the_same() {
    for (found, wanted, equal) in [
        ("1", "1.0", true),
        ("[1, 2]", "[1.0,2]", true),
        ("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true),
        ("9.50", "9.5", true),
        ("9.51", "9.5", false),
        ("413575000.22955364", "413575000.229553640", true),
        ("9007199254740993", "9007199254740992", false),
        ("\"1\"", "1", false),
        ("true", "true", true),
        ("null", "null", true),
        ("nul", "null", false),
        ("[1]", "[1,2]", false),
    ] {
        assert_eq!(
            equals(found.as_bytes(), &serde_json::from_str(wanted).unwrap()),
            equal,
            "{found} {wanted}"
        );
    }
}

#[test]
fn broken_documents_have_no_value_and_do_no_harm() {
    let path = Path::parse("$.a[1].b").unwrap();
    let whole = br#"{"x":"\"","a":[{"c":[]},{"b":"found"}]}"#;
    assert_eq!(path.find(whole), Some(&br#""found""#[..]));
    for end in 0..whole.len() - 3 {
        assert_eq!(path.find(&whole[..end]), None, "{}", String::from_utf8_lossy(&whole[..end]));
    }
    for broken in ["", "{", "[}", "{\"a\"}", "{\"a\":}", "{a:1}", "\\", "\"\\", "]]", "{\"a\":[1,,{}]}"] {
        let _ = path.find(broken.as_bytes());
        let _ = Path::parse("$").unwrap().find(broken.as_bytes());
    }
    let deep = "[".repeat(1_000_000);
    assert_eq!(Path::parse("$").unwrap().find(deep.as_bytes()), None);
}

/// Documents of any shape, keys with quotes and escapes among them.
fn documents() -> impl Strategy<Value = Value> {
    let text = "[a-c\"\\\\\\[\\]{},:. \u{e4}\n]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// All paths of a document with their values, as a parser that builds a tree finds them.
fn paths(value: &Value, path: &Path, all: &mut Vec<(Path, Value)>) {
    all.push((path.clone(), value.clone()));
    let below = |part| Path(path.0.iter().cloned().chain([part]).collect());
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| paths(value, &below(Part::Index(index)), all));
        }
        Value::Object(table) => {
            table.iter().for_each(|(key, value)| paths(value, &below(Part::Key(key.clone())), all));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn the_scanner_finds_what_a_parser_finds(document in documents(), pretty in any::<bool>()) {
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        let mut all = Vec::new();
        paths(&document, &Path(Vec::new()), &mut all);
        for (path, value) in all {
            let found = path.find(text.as_bytes());
            prop_assert!(found.is_some_and(|found| equals(found, &value)), "{path:?} in {text}");
            let beyond = |part| Path(path.0.iter().cloned().chain([part]).collect());
            if let Value::Array(list) = &value {
                prop_assert_eq!(beyond(Part::Index(list.len())).find(text.as_bytes()), None);
            }
            prop_assert_eq!(beyond(Part::Key("no such key".into())).find(text.as_bytes()), None);
        }
    }

    #[test]
    fn no_bytes_lead_the_scanner_astray(bytes in prop::collection::vec(prop::sample::select(&b"{}[],:\"\\ a1n-.u\xff"[..]), 0..40)) {
        for path in ["$", "$.a", "$[1].a", "$.a[0][0]"] {
            if let Some(found) = Path::parse(path).unwrap().find(&bytes) {
                let _ = text(found);
                let _ = equals(found, &Value::Null);
            }
        }
    }
}
