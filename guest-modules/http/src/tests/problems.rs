use super::*;
use gauntlet_sdk::Problem;

fn problems(config: &str) -> Vec<Problem> {
    Http::configure(config, 7, USERS).err().unwrap_or_default()
}

/// The one problem of a step.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn wrong(step: Value, path: &str, message: &str) {
    let config = json!({ "steps": [step] }).to_string();
    let found = problems(&config);
    assert_eq!(found.len(), 1, "{config}: {found:#?}");
    assert_eq!(found[0].path, path, "{found:#?}");
    assert!(found[0].message.contains(message), "{found:#?}");
    assert!(!found[0].mend.is_empty());
}

#[test]
fn what_is_no_configuration_is_said() {
    for (config, message) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "expected a table, found a list"),
        ("null", "found nothing"),
        ("{}", "there are no steps"),
        (r#"{"steps":[]}"#, "expected 1 to 1000 steps, found 0"),
        (r#"{"steps":{}}"#, "expected a list of steps, found a table"),
        (r#"{"steps":["/"]}"#, "expected a step, found the text \"/\""),
    ] {
        let found = problems(config);
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].message.contains(message), "{config}: {found:?}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let config = json!({
        "order": "random", "cookies": "yes", "step": [],
        "headers": { "content-length": 3, "a b": "x" },
        "steps": [
            { "get": "items", "wieght": 1, "timeout": "5", "check": { "status": 700, "json": "price" } },
            { "post": "/{who}", "body": "{", "json": {}, "think": { "min": "2s", "max": "1s" } },
            {},
        ],
    });
    let found = problems(&config.to_string());
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "order",
        "cookies",
        "step",
        "headers.content-length",
        "headers.a b",
        "steps[0].get",
        "steps[0].wieght",
        "steps[0].timeout",
        "steps[0].check.status",
        "steps[0].check.json",
        "steps[1].post",
        "steps[1].json",
        "steps[1].think",
        "steps[2].get",
    ] {
        assert!(paths.contains(&path), "{path} is missing in {paths:?}");
    }
    assert_eq!(paths.len(), 14, "{found:#?}");
}

#[test]
fn unknown_keys_come_with_what_was_meant() {
    let found = problems(r#"{"steps":[{"get":"/","check":{"statu":200}}]}"#);
    assert_eq!(found[0].path, "steps[0].check.statu");
    assert!(found[0].mend.contains("did you mean `status`?"), "{found:?}");
}

#[test]
fn requests_are_one_a_step() {
    wrong(json!({ "name": "x" }), "steps[0].get", "no request");
    wrong(json!({ "get": "/", "post": "/" }), "steps[0].post", "two requests");
    wrong(json!({ "get": "/", "method": "PUT" }), "steps[0].method", "already");
    wrong(json!({ "get": "/", "path": "/" }), "steps[0].path", "already");
    wrong(json!({ "method": "PUT" }), "steps[0].path", "needs a path");
    wrong(json!({ "path": "/" }), "steps[0].method", "needs a method");
    wrong(json!({ "method": "P T", "path": "/" }), "steps[0].method", "no HTTP method");
    wrong(json!({ "get": 7 }), "steps[0].get", "expected a text, found the number 7");
}

#[test]
fn paths_are_paths() {
    wrong(json!({ "get": "items" }), "steps[0].get", "does not begin with a slash");
    wrong(json!({ "put": "http://shop/items" }), "steps[0].put", "does not begin with a slash");
    wrong(json!({ "get": "/a#b" }), "steps[0].get", "fragment");
    let found = problems(r#"{"steps":[{"get":"http://shop/"}]}"#);
    assert!(found[0].mend.contains("write the path only"));
}

#[test]
fn placeholders_have_someone_who_provides_them() {
    wrong(json!({ "get": "/{id}" }), "steps[0].get", "nothing provides {id}");
    wrong(json!({ "get": "/", "query": { "q": "{id}" } }), "steps[0].query.q", "nothing provides {id}");
    wrong(json!({ "get": "/", "query": "a={id}" }), "steps[0].query", "nothing provides {id}");
    wrong(json!({ "get": "/", "headers": { "A": "{id}" } }), "steps[0].headers.a", "nothing provides {id}");
    wrong(json!({ "get": "/", "body": "{id}" }), "steps[0].body", "nothing provides {id}");
    wrong(json!({ "get": "/", "json": { "a": [0, "{id}"] } }), "steps[0].json.a[1]", "nothing provides {id}");
    wrong(json!({ "get": "/{random:9..1}" }), "steps[0].get", "no range");
    wrong(json!({ "get": "/{random:a}" }), "steps[0].get", "no range");
    wrong(json!({ "get": "/", "body": "{\"a\":1}" }), "steps[0].body", "not followed by a name");
    wrong(json!({ "get": "/", "feed": "a.csv" }), "steps[0].feed", "no placeholder");
    wrong(json!({ "get": "/", "feed-order": "random" }), "steps[0].feed-order", "no feed");
    wrong(json!({ "get": "/{a}", "feed": "" }), "steps[0].feed", "empty");
}

#[test]
fn names_are_given_once() {
    let found = problems(r#"{"steps":[{"get":"/"},{"get":"/"}]}"#);
    assert_eq!((found[0].path.as_str(), found.len()), ("steps[1].name", 1));
    let found = problems(
        r#"{"variables":{"t":1},"steps":[{"get":"/{t}","extract":{"t":{"json":"$"},"uuid":{"json":"$"}}}]}"#,
    );
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["steps[0].extract.t", "steps[0].extract.uuid"]);
}

#[test]
fn values_have_their_kinds_and_ranges() {
    wrong(json!({ "get": "/", "weight": -1 }), "steps[0].weight", "whole number from 0 to 1000000");
    wrong(json!({ "get": "/", "weight": 1.5 }), "steps[0].weight", "found the number 1.5");
    wrong(json!({ "get": "/", "weight": 0 }), "steps[0].weight", "all weights are 0");
    wrong(json!({ "get": "/", "retries": 21 }), "steps[0].retries", "0 to 20");
    wrong(json!({ "get": "/", "backoff": "1s" }), "steps[0].backoff", "without retries");
    wrong(json!({ "get": "/", "think": 1 }), "steps[0].think", "a duration");
    wrong(json!({ "get": "/", "think": { "min": "1s" } }), "steps[0].think.max", "missing");
    wrong(json!({ "get": "/", "connection": "new" }), "steps[0].connection", "\"any\", \"own\", \"fresh\"");
    wrong(json!({ "get": "/", "name": "" }), "steps[0].name", "1 to 100");
    wrong(json!({ "get": "/", "query": 3 }), "steps[0].query", "a text or a table");
    wrong(json!({ "get": "/", "query": { "a": {} } }), "steps[0].query.a", "found a table");
    wrong(
        json!({ "get": "/", "headers": { "Connection": "close" } }),
        "steps[0].headers.Connection",
        "frames",
    );
    wrong(json!({ "get": "/", "headers": { "a": 1, "A": 2 } }), "steps[0].headers.a", "twice");
    wrong(json!({ "get": "/", "check": { "status": [] } }), "steps[0].check.status", "empty");
    wrong(
        json!({ "get": "/", "check": { "body-contains": "" } }),
        "steps[0].check.body-contains",
        "not empty",
    );
    wrong(json!({ "get": "/", "check": { "header": "a:" } }), "steps[0].check.header", "no header name");
    wrong(json!({ "get": "/", "check": { "json": "a" } }), "steps[0].check.json", "does not begin with $");
    wrong(json!({ "get": "/", "check": true }), "steps[0].check", "expected a table, found true");
}

#[test]
fn extraction_has_one_source() {
    let extract = |source: Value| json!({ "get": "/", "extract": { "t": source } });
    wrong(extract(json!({})), "steps[0].extract.t", "found 0");
    wrong(extract(json!({ "json": "$.a", "header": "b" })), "steps[0].extract.t", "found 2");
    wrong(extract(json!("$.a")), "steps[0].extract.t", "where the value comes from");
    wrong(extract(json!({ "json": "a" })), "steps[0].extract.t.json", "does not begin with $");
    wrong(extract(json!({ "between": ["a"] })), "steps[0].extract.t.between", "two texts");
    wrong(extract(json!({ "between": ["", "b"] })), "steps[0].extract.t.between", "two texts");
}

#[test]
fn what_excludes_each_other_is_said() {
    let found = problems(r#"{"order":"sequence","steps":[{"get":"/","weight":2}]}"#);
    assert_eq!(found[0].path, "steps[0].weight");
    let found = problems(r#"{"cookies":true,"steps":[{"get":"/","headers":{"Cookie":"a=1"}}]}"#);
    assert_eq!(found[0].path, "steps[0].headers.cookie");
    wrong(json!({ "post": "/", "body": "a", "json": 1 }), "steps[0].json", "a body already");
}

#[test]
fn the_schema_is_part_of_the_description() {
    let schema: Value = serde_json::from_str(&Http::describe().config_schema).unwrap();
    assert!(schema["properties"]["steps"].is_object());
    assert_eq!(schema["additionalProperties"], json!(false));
}
