use super::*;
use gauntlet_sdk::Failure;

/// The checks that fail when the call is answered like this.
fn failed(revision: &'static str, server: impl Fn(&Sent) -> Vec<Answer>) -> Vec<String> {
    let turned = turn(&mut bench(echo(revision)), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => server(sent),
        "GET" => vec![Answer::to(sent).status(405)],
        _ => sound_as(revision)(sent),
    });
    assert_eq!(turned.finished.len(), 1, "every turn ends");
    let valid = turned.verdicts.iter().rfind(|(name, _)| name == "valid").unwrap();
    let failed: Vec<_> = turned.failed().into_iter().map(str::to_owned).collect();
    assert_eq!(valid.1, failed.is_empty());
    failed
}

#[test]
fn answers_of_http_are_judged() {
    let good = |sent: &Sent| response(sent, result("tools/call"));
    assert_eq!(failed("2025-11-25", |sent| vec![as_json(sent, &good(sent))]), [""; 0]);
    assert_eq!(failed("2025-11-25", |sent| as_stream(sent, &["", &good(sent)])), [""; 0]);
    let html = |sent: &Sent| vec![Answer::to(sent).header("content-type", "text/html").body("<html>")];
    assert_eq!(failed("2025-11-25", html), ["content-type"]);
    assert_eq!(failed("2025-11-25", |sent| vec![Answer::to(sent)]), ["content-type"]);
    assert_eq!(failed("2025-11-25", |sent| vec![as_json(sent, "")]), ["missing-response"]);
    assert_eq!(failed("2025-11-25", |sent| vec![as_json(sent, "{\"jsonr")]), ["corrupt-frame"]);
    assert_eq!(failed("2025-11-25", |sent| vec![Answer::to(sent).status(403)]), ["403"]);
    assert_eq!(failed("2025-11-25", |sent| vec![Answer::to(sent).status(500)]), ["status"]);
    assert_eq!(failed("2025-11-25", |sent| vec![Answer::to(sent).status(202)]), ["status"]);
    assert_eq!(failed("2025-11-25", |sent| vec![Answer::to(sent).status(401)]), ["401"]);
    assert_eq!(failed("2025-06-18", |sent| vec![Answer::to(sent).status(401)]), ["401", "challenge"]);
    let challenge = |sent: &Sent| vec![Answer::to(sent).status(401).header("WWW-Authenticate", "Bearer")];
    assert_eq!(failed("2025-06-18", challenge), ["401"]);
    let array = |sent: &Sent| vec![as_json(sent, &format!("[{}]", good(sent)))];
    assert_eq!(failed("2025-11-25", array), ["batch"]);
    assert_eq!(failed("2025-03-26", array), [""; 0]);
}

#[test]
fn a_stream_ends_with_the_response() {
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    // Without ids there is nothing to take up again.
    let mute = |sent: &Sent| {
        let head = |answer: Answer| answer.header("content-type", "text/event-stream");
        vec![
            head(Answer::to(sent).kind(CompletionKind::Head)),
            Answer::event(sent, 1, "", log),
            head(Answer::to(sent)).events(1),
        ]
    };
    assert_eq!(failed("2025-11-25", mute), ["missing-response"]);
}

#[test]
fn a_stream_that_falls_silent_is_a_class_of_its_own() {
    let server = |sent: &Sent| {
        let mut all = as_stream(sent, &[]);
        all.pop();
        all.push(Answer::to(sent).failed(Failure::Timeout));
        all
    };
    assert_eq!(failed("2025-11-25", server), ["silent-stream"]);
}

#[test]
fn a_request_without_an_answer_fails_as_such() {
    let turned = turn(&mut bench(echo("2025-11-25")), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => vec![Answer::to(sent).failed(Failure::Reset)],
        _ => sound(sent),
    });
    assert_eq!((turned.failed(), turned.ended().last()), (vec![], Some(&(3, false))));
}

#[test]
fn a_notification_is_answered_with_202_and_nothing() {
    for (answer, expected) in [(200, vec!["notification"]), (202, vec![])] {
        let turned = turn(&mut bench(echo("2025-11-25")), 0, 0, |sent| match method(sent).as_str() {
            "notifications/initialized" => vec![Answer::to(sent).status(answer)],
            _ => sound(sent),
        });
        assert_eq!(turned.failed(), expected);
        assert_eq!(turned.methods().len(), 4, "the turn goes on");
    }
}

#[test]
fn a_session_id_that_cannot_be_sent_back_is_told() {
    let turned = turn(&mut bench(echo("2025-11-25")), 0, 0, |sent| match method(sent).as_str() {
        "initialize" => {
            vec![as_json(sent, &response(sent, result("initialize"))).header("mcp-session-id", "a b")]
        }
        _ => sound(sent),
    });
    assert_eq!((turned.failed(), turned.methods().len()), (vec!["session-id"], 1));
}

#[test]
fn only_statuses_are_looked_at_where_the_plan_says_so() {
    let mut config = echo("2025-11-25");
    config["verify"] = json!("status");
    for (status, expected) in [(200, vec![]), (500, vec!["status"])] {
        let turned = turn(&mut bench(config.clone()), 0, 0, |sent| match method(sent).as_str() {
            "tools/call" => vec![Answer::to(sent).status(status)],
            _ => sound(sent),
        });
        assert_eq!(turned.failed(), expected);
        assert_eq!(turned.last().interest, gauntlet_sdk::Interest::END);
    }
}

/// Whatever a server writes into its answers, every turn ends and nothing panics.
#[test]
fn any_text_is_survived() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::default();
    let text = prop_oneof![
        ".{0,80}",
        r#"\{"jsonrpc":"2\.0","id":[0-9]{1,2},"(result|error|method)":[\[{"a-z0-9:}\],.-]{0,40}\}"#,
    ];
    let case = (
        text,
        0_u32..600,
        any::<bool>(),
        prop::sample::select(vec!["2024-11-05", "2025-03-26", "2026-07-28"]),
    );
    let played = runner.run(&case, |(text, status, stream, revision)| {
        let mut bench = bench(echo(revision));
        let mut count = 0;
        let turned = turn(&mut bench, 0, 0, |sent| {
            count += 1;
            let mut all = if stream { as_stream(sent, &[&text]) } else { vec![as_json(sent, &text)] };
            if count > 3
                && let Some(last) = all.pop()
            {
                all.push(last.status(status));
            }
            all
        });
        prop_assert!(turned.finished.len() == 1);
        Ok(())
    });
    played.unwrap();
}
