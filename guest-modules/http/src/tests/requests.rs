use super::*;
use gauntlet_sdk::testing::Finish;
use gauntlet_sdk::{Connection, Interest, RowOrder};

#[test]
fn the_smallest_step_is_fired_and_measured_only() {
    let mut bench = step(json!({ "get": "/" }));
    let said = bench.start(3, 1 << 40, &[]);
    let sent = only(&said);
    assert_eq!((sent.user, sent.method.as_str(), sent.target.as_str()), (3, "GET", "/"));
    assert_eq!((sent.step.as_str(), sent.interest, sent.operation), ("GET /", Interest::NONE, 0));
    assert!(sent.headers.is_empty() && sent.body.is_empty());
    assert_eq!(said.finished, [Finish { user: 3, think_us: 0 }]);
    assert!(said.verdicts.is_empty() && said.commands.is_empty());
}

#[test]
fn every_method_has_its_key() {
    for (key, method) in [
        ("get", "GET"),
        ("post", "POST"),
        ("put", "PUT"),
        ("patch", "PATCH"),
        ("delete", "DELETE"),
        ("head", "HEAD"),
        ("options", "OPTIONS"),
    ] {
        assert_eq!(request(&mut step(json!({ key: "/x" })), 0, 0).method, method);
    }
    assert_eq!(request(&mut step(json!({ "method": "PURGE", "path": "/x" })), 0, 0).method, "PURGE");
}

#[test]
fn a_step_says_how_it_is_sent() {
    let config =
        json!({ "get": "/", "name": "home", "timeout": "250ms", "connection": "fresh", "think": "1.5s" });
    let mut bench = step(config);
    let said = bench.start(0, 0, &[]);
    let sent = only(&said);
    assert_eq!((sent.step.as_str(), sent.timeout_us, sent.connection), ("home", 250_000, Connection::Fresh));
    assert_eq!(said.finished[0].think_us, 1_500_000);
    let own = step(json!({ "get": "/", "connection": "own" })).start(0, 0, &[]);
    assert_eq!(only(&own).connection, Connection::Own);
}

#[test]
fn values_of_the_row_are_escaped_for_where_they_stand() {
    let config = json!({
        "post": "/a/{id}/b?x={id}",
        "query": { "q": "{id}", "l&i t": [1, true, "{id}"] },
        "headers": { "X-Id": "<{id}>" },
        "json": { "id": "{id}", "list": [1, "{id}{id}", null], "q\"": "{{{id}}}" },
        "feed": "items.csv",
    });
    let mut bench = step(config);
    let sent = only(&bench.start(0, 0, &[&["a/b \"\\\r\nü"]]));
    let escaped = "a%2Fb%20%22%5C%0D%0A%C3%BC";
    let query = format!("l%26i%20t=1&l%26i%20t=true&l%26i%20t={escaped}&q={escaped}");
    assert_eq!(sent.target, format!("/a/{escaped}/b?x={escaped}&{query}"));
    assert_eq!(sent.header("x-id"), Some("<a/b \"\\ü>"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let id = "a/b \"\\\r\nü";
    assert_eq!(body, json!({ "id": id, "list": [1, format!("{id}{id}"), null], "q\"": format!("{{{id}}}") }));
}

#[test]
fn a_text_body_takes_values_as_they_are() {
    let config = json!({ "post": "/", "body": "{{\"n\": {n}}}", "headers": { "content-type": "application/json" },
        "feed": "n.jsonl" });
    let sent = only(&step(config).start(0, 0, &[&["12"]]));
    assert_eq!((sent.body_text().as_str(), sent.headers.len()), ("{\"n\": 12}", 1));
}

#[test]
fn literal_paths_are_made_fit_for_the_wire() {
    let sent = request(&mut step(json!({ "get": "/käse und brot/a%20b", "query": "?q=a b&c" })), 0, 0);
    assert_eq!(sent.target, "/k%C3%A4se%20und%20brot/a%20b?q=a%20b&c");
}

#[test]
fn built_ins_and_variables_fill_placeholders() {
    let config = json!({
        "variables": { "tenant": "a b", "version": 2 },
        "steps": [{ "get": "/{tenant}/v{version}/{arrival}/{user}/{random:5..9}/{random:3..3}/{uuid}" }],
    });
    let sent = request(&mut bench(config), 6, (2 << 40) + 9);
    let parts: Vec<_> = sent.target.split('/').skip(1).collect();
    assert_eq!(parts[..4], ["a%20b", "v2", "2199023255561", "6"]);
    assert!((5..=9).contains(&parts[4].parse::<u64>().unwrap()));
    assert_eq!(parts[5], "3");
    let uuid: Vec<_> = parts[6].split('-').map(str::len).collect();
    assert_eq!(uuid, [8, 4, 4, 4, 12]);
    assert!(parts[6].as_bytes()[14] == b'4' && b"89ab".contains(&parts[6].as_bytes()[19]), "{}", parts[6]);
}

#[test]
fn headers_of_the_step_replace_those_of_the_scenario() {
    let config = json!({
        "headers": { "Accept": "text/html", "X-Run": "{arrival}" },
        "steps": [{ "get": "/a" , "headers": { "ACCEPT": "application/json" } }],
    });
    let sent = request(&mut bench(config), 0, 5);
    let headers = [("x-run", "5"), ("accept", "application/json")];
    assert_eq!(sent.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let own =
        step(json!({ "post": "/", "json": 1, "headers": { "content-type": "text/x" } })).start(0, 0, &[]);
    assert_eq!(only(&own).headers.len(), 1);
}

#[test]
fn a_file_in_one_order_is_one_feed() {
    let setup = setup(json!({ "steps": [
        { "get": "/a/{id}/{id}/{name}", "feed": "items.csv" },
        { "get": "/b/{price}/{id}", "feed": "items.csv" },
        { "get": "/c/{id}", "feed": "items.csv", "feed-order": "random" },
        { "get": "/d/{id}", "feed": "other.csv" },
    ] }));
    let feeds: Vec<_> = setup.feeds.iter().map(|f| (f.file.as_str(), f.order, f.columns.join(" "))).collect();
    assert_eq!(
        feeds,
        [
            ("items.csv", RowOrder::Sequential, "id name price".to_owned()),
            ("items.csv", RowOrder::Random, "id".to_owned()),
            ("other.csv", RowOrder::Sequential, "id".to_owned()),
        ]
    );
}

#[test]
fn a_step_reads_its_own_feed() {
    let mut bench = bench(json!({ "order": "sequence", "steps": [
        { "get": "/a/{id}", "feed": "a.csv" },
        { "get": "/b/{x}/{id}", "feed": "b.csv" },
    ] }));
    let rows: [&[&str]; 2] = [&["a1"], &["b1", "b2"]];
    assert_eq!(only(&bench.start(0, 0, &rows)).target, "/a/a1");
    assert_eq!(only(&bench.start(0, 1, &rows)).target, "/b/b1/b2");
}

#[test]
fn what_depends_on_users_is_not_stateless() {
    let stateless = |config| setup(config).stateless;
    assert!(stateless(
        json!({ "steps": [{ "get": "/{arrival}/{uuid}", "check": { "json": "$.a", "status": 200 } }] })
    ));
    assert!(stateless(json!({ "steps": [{ "get": "/{id}", "feed": "a.csv", "connection": "fresh" }] })));
    assert!(!stateless(json!({ "order": "sequence", "steps": [{ "get": "/" }] })));
    assert!(!stateless(json!({ "cookies": true, "steps": [{ "get": "/" }] })));
    for step in [
        json!({ "get": "/", "connection": "own" }),
        json!({ "get": "/", "extract": { "a": { "header": "a" } } }),
        json!({ "get": "/", "retries": 1 }),
        json!({ "get": "/{user}" }),
    ] {
        assert!(!stateless(json!({ "steps": [{ "get": "/x" }, step] })));
    }
}

#[test]
fn many_turns_in_one_call_keep_their_order() {
    // Many turns in one call, in the order in which they came.
    let mut bench = step(json!({ "get": "/{arrival}" }));
    let starts: Vec<_> =
        (0..100).map(|n| gauntlet_sdk::testing::Start { user: 1, arrival: n, rows: &[] }).collect();
    let said = bench.play(&starts, &[]);
    assert_eq!((said.requests.len(), said.finished.len()), (100, 100));
    assert_eq!(said.requests[99].target, "/99");
}
