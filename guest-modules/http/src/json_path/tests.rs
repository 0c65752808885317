use super::*;

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
