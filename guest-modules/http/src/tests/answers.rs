use super::*;
use gauntlet_sdk::testing::{Answer, Command};
use gauntlet_sdk::{CompletionKind, Failure, Interest, Rule};

fn verdicts(said: &Said) -> Vec<(&str, bool)> {
    said.verdicts.iter().map(|verdict| (verdict.check.as_str(), verdict.pass)).collect()
}

#[test]
fn cheap_checks_are_the_workers() {
    let setup = setup(json!({ "steps": [{ "get": "/", "name": "home", "check": {
        "status": ["2xx", 304],
        "body-contains": ["a", "b"],
        "header": { "Content-Type": "json", "etag": "" },
        "latency": "50ms",
    } }] }));
    let rules: Vec<_> =
        setup.expectations.iter().map(|e| (setup.checks[e.check as usize].as_str(), &e.rule)).collect();
    let header = |name: &str, part: &str| Rule::HeaderContains { name: name.into(), part: part.into() };
    assert_eq!(
        rules,
        [
            ("home: status is 2xx, 304", &Rule::Status(vec![(200, 299), (304, 304)])),
            ("home: body contains \"a\"", &Rule::BodyContains("a".into())),
            ("home: body contains \"b\"", &Rule::BodyContains("b".into())),
            ("home: header content-type contains \"json\"", &header("content-type", "json")),
            ("home: has header etag", &header("etag", "")),
            ("home: answers within 50 ms", &Rule::ServiceBelowUs(50_000)),
        ]
    );
    assert_eq!(setup.body_limit, 0);
    assert!(setup.stateless);
}

#[test]
fn json_checks_are_verdicts() {
    let check = json!({ "json": { "$.price": 2, "$.tags[1]": "b" } });
    let mut bench = step(json!({ "get": "/", "name": "item", "check": check }));
    let sent = request(&mut bench, 1, 0);
    assert_eq!(sent.interest, Interest::END | Interest::BODY);
    let said = bench.answer(&[Answer::to(&sent).body(r#"{"price": 2.0, "tags": ["a"]}"#)]);
    assert_eq!(verdicts(&said), [("item: $.price is 2", true), ("item: $.tags[1] is \"b\"", false)]);
    assert!(said.verdicts.iter().all(|verdict| (verdict.user, verdict.seq) == (1, sent.seq)));

    let mut bench = step(json!({ "get": "/", "name": "item", "check": { "json": "$.price" } }));
    let sent = request(&mut bench, 1, 0);
    for (body, pass) in [(r#"{"price":null}"#, true), ("{}", false), ("", false), ("<html>", false)] {
        assert_eq!(
            verdicts(&bench.answer(&[Answer::to(&sent).body(body)])),
            [("item: has $.price", pass)],
            "{body}"
        );
    }
    let failed = bench.answer(&[Answer::to(&sent).failed(Failure::Timeout)]);
    assert!(failed.verdicts.is_empty(), "a request without an answer fails as such, not as a check");
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn login(source: Value) -> Bench<Http> {
    bench(json!({ "order": "sequence", "steps": [
        { "post": "/login", "name": "login", "extract": { "token": source } },
        { "get": "/me?t={token}", "name": "me", "headers": { "authorization": "Bearer {token}" } },
    ] }))
}

#[test]
fn values_are_extracted_per_user() {
    let mut bench = login(json!({ "json": "$.auth.token" }));
    let (one, two) = (request(&mut bench, 1, 0), request(&mut bench, 2, 1));
    assert_eq!(one.interest, Interest::END | Interest::BODY);
    let said = bench.answer(&[
        Answer::to(&two).body(r#"{"auth":{"token":"two\u0020"}}"#),
        Answer::to(&one).body(r#"{"auth":{"token":"one"}}"#),
    ]);
    assert_eq!(verdicts(&said), [("login: extracts token", true), ("login: extracts token", true)]);
    assert_eq!(said.finished.len(), 2);
    let me = request(&mut bench, 1, 2);
    assert_eq!((me.target.as_str(), me.header("authorization")), ("/me?t=one", Some("Bearer one")));
    assert_eq!(request(&mut bench, 2, 3).target, "/me?t=two%20");
}

#[test]
fn every_source_is_looked_at() {
    for (source, interest) in [
        (json!({ "header": "X-Token" }), Interest::HEAD),
        (json!({ "cookie": "sid" }), Interest::HEAD),
        (json!({ "between": ["value='", "'"] }), Interest::BODY),
    ] {
        let mut bench = login(source.clone());
        let sent = request(&mut bench, 0, 0);
        assert_eq!(sent.interest, Interest::END | interest, "{source}");
        let answer = Answer::to(&sent)
            .header("x-token", "found")
            .header("Set-Cookie", "other=x")
            .header("Set-Cookie", "sid=found; Path=/")
            .body("<input name='t' value='found'>");
        assert_eq!(verdicts(&bench.answer(&[answer])), [("login: extracts token", true)], "{source}");
        assert_eq!(request(&mut bench, 0, 1).target, "/me?t=found", "{source}");
    }
}

#[test]
fn a_missing_value_is_sent_empty_and_fails_a_check() {
    let mut bench = login(json!({ "json": "$.token" }));
    let sent = request(&mut bench, 0, 0);
    let said = bench.answer(&[Answer::to(&sent).status(500).body("oops")]);
    assert_eq!(verdicts(&said), [("login: extracts token", false)]);
    let me = request(&mut bench, 0, 1);
    assert_eq!((me.target.as_str(), me.header("authorization")), ("/me?t=", Some("Bearer ")));
    assert_eq!(verdicts(&bench.answer(&[Answer::to(&me)])), [("me: needs {token}", false)]);

    let sent = request(&mut bench, 0, 2);
    bench.answer(&[Answer::to(&sent).body(r#"{"token":"t"}"#)]);
    let me = request(&mut bench, 0, 3);
    assert_eq!(verdicts(&bench.answer(&[Answer::to(&me)])), [("me: needs {token}", true)]);
}

#[test]
fn a_failed_extraction_keeps_the_value_and_a_long_one_is_none() {
    let mut bench = login(json!({ "json": "$.token" }));
    for (body, found) in [
        ("{\"token\":\"first\"}".to_owned(), true),
        ("{}".to_owned(), false),
        (format!("{{\"token\":\"{}\"}}", "x".repeat(2_000)), false),
    ] {
        let sent = request(&mut bench, 0, 0);
        assert_eq!(
            verdicts(&bench.answer(&[Answer::to(&sent).body(body)])),
            [("login: extracts token", found)]
        );
        let me = request(&mut bench, 0, 1);
        assert_eq!(me.target, "/me?t=first");
        bench.answer(&[Answer::to(&me)]);
    }
}

#[test]
fn a_value_cannot_smuggle_a_header() {
    let mut bench = login(json!({ "json": "$.token" }));
    let sent = request(&mut bench, 0, 0);
    bench.answer(&[Answer::to(&sent).body(r#"{"token":"a\r\nx-evil: 1"}"#)]);
    assert_eq!(request(&mut bench, 0, 1).header("authorization"), Some("Bearer ax-evil: 1"));
}

#[test]
fn cookies_are_kept_per_user_and_sent_where_they_belong() {
    let mut bench = bench(json!({ "cookies": true, "order": "sequence", "steps": [
        { "post": "/login" }, { "get": "/shop/{user}" }, { "get": "/" },
    ] }));
    let sent = request(&mut bench, 1, 0);
    assert_eq!((sent.header("cookie"), sent.interest), (None, Interest::END | Interest::HEAD));
    let answer =
        Answer::to(&sent).header("set-cookie", "sid=1; HttpOnly").header("Set-Cookie", "cart=9; Path=/shop");
    let said = bench.answer(&[answer]);
    assert_eq!(said.finished.len(), 1);
    assert_eq!(request(&mut bench, 1, 1).header("cookie"), Some("sid=1; cart=9"));
    assert_eq!(request(&mut bench, 2, 2).header("cookie"), None, "another user has no cookies");
    let home = request(&mut bench, 1, 3);
    assert_eq!(home.header("cookie"), Some("sid=1"));
    bench.answer(&[Answer::to(&home).header("set-cookie", "sid=; Max-Age=0")]);
    assert_eq!(request(&mut bench, 1, 4).header("cookie"), None);
}

#[test]
fn retries_come_after_a_growing_pause_and_are_one_operation() {
    let config =
        json!({ "get": "/{id}/{uuid}", "feed": "a.csv", "retries": 2, "backoff": "100ms", "think": "1s" });
    let mut bench = step(config);
    let first = only(&bench.start(0, 9, &[&["x"]]));
    assert_eq!((first.operation, first.attempt), (1, 0));
    let said = bench.answer(&[Answer::to(&first).failed(Failure::Reset)]);
    let second = only(&said);
    assert!(said.finished.is_empty() && said.commands.is_empty());
    assert_eq!((second.operation, second.attempt, &second.target), (1, 1, &first.target));
    assert!(second.delay_us <= 100_000);
    let third = only(&bench.answer(&[Answer::to(&second).status(503).header("retry-after", "2")]));
    assert_eq!((third.attempt, third.delay_us), (2, 2_000_000));
    let end = bench.answer(&[Answer::to(&third).failed(Failure::Connect)]);
    assert_eq!(end.commands, [Command::EndOperation { user: 0, operation: 1, ok: false }]);
    assert_eq!(end.finished[0].think_us, 1_000_000);

    let sent = request(&mut bench, 0, 10);
    let end = bench.answer(&[Answer::to(&sent).status(500)]);
    assert_eq!(end.commands, [Command::EndOperation { user: 0, operation: 1, ok: true }]);
    assert!(end.requests.is_empty(), "500 is an answer, not an invitation");
}

#[test]
fn pauses_before_retries_are_bounded() {
    let mut bench = step(json!({ "get": "/", "retries": 20, "backoff": "30m" }));
    let mut sent = request(&mut bench, 0, 0);
    for attempt in 1..=20 {
        sent = only(&bench.answer(&[Answer::to(&sent).status(429).header("retry-after", "99999999999999")]));
        assert_eq!((sent.attempt, sent.delay_us), (attempt, 60_000_000));
    }
    let dated = Answer::to(&sent).status(429).header("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(bench.answer(&[dated]).finished.len(), 1);
}

#[test]
fn a_cancelled_request_ends_its_turn_without_verdicts() {
    let mut bench = step(json!({ "get": "/", "retries": 3, "check": { "json": "$.a" } }));
    let sent = request(&mut bench, 0, 0);
    let said = bench.answer(&[Answer::to(&sent).kind(CompletionKind::Cancelled)]);
    assert!(said.requests.is_empty() && said.verdicts.is_empty());
    assert_eq!(said.finished.len(), 1);
}

#[test]
fn other_news_changes_nothing() {
    let mut bench = step(json!({ "get": "/", "retries": 1 }));
    let sent = request(&mut bench, 0, 0);
    for kind in [CompletionKind::Head, CompletionKind::Event, CompletionKind::Timer] {
        let said = bench.answer(&[Answer::to(&sent).kind(kind)]);
        assert!(said.requests.is_empty() && said.finished.is_empty(), "{kind:?}");
    }
}

#[test]
fn a_json_check_alone_frees_the_user_with_the_request() {
    let mut bench =
        step(json!({ "get": "/", "check": { "json": "$.a" }, "think": { "min": "1s", "max": "2s" } }));
    let said = bench.start(0, 3, &[]);
    assert!((1_000_000..=2_000_000).contains(&said.finished[0].think_us));
    assert!(bench.answer(&[Answer::to(&only(&said)).body("{}")]).finished.is_empty(), "a turn ends once");
}
