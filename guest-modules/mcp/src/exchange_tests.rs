use super::*;

fn judge() -> Judge<'static> {
    Judge { stateless: false, expect: Expected::Success, unlisted: false, limit: 1 << 20, tool: "add" }
}

fn call() -> Exchange {
    let mut exchange = Exchange::default();
    exchange.begin(0, 1, Method::CallTool, 7, 1);
    exchange.wants_progress = true;
    exchange
}

fn failures(texts: &[&str]) -> Vec<Failure> {
    failures_with(judge(), texts)
}

fn failures_with(judge: Judge<'_>, texts: &[&str]) -> Vec<Failure> {
    let mut exchange = call();
    for (index, text) in texts.iter().enumerate() {
        exchange.hear(text.as_bytes(), index as u32 * 1000 + 1, judge);
    }
    exchange.failures.each().collect()
}

const GOOD: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;

fn progress(token: &str, progress: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress}}}}}"#
    )
}

#[test]
fn each_way_to_be_wrong_is_a_class_of_its_own() {
    use Failure::*;
    for (texts, expected) in [
        (vec![GOOD], vec![]),
        (vec![r#"{"jsonrpc":"2.0","id":7,"resu"#], vec![CorruptFrame]),
        (vec![r#"{"id":7,"result":{"content":[]}}"#], vec![NotJsonRpc]),
        (vec![r#"{"jsonrpc":"2.0","id":8,"result":{"content":[]}}"#], vec![IdMismatch]),
        (vec![r#"{"jsonrpc":"2.0","id":"7","result":{"content":[]}}"#], vec![IdMismatch]),
        (vec![GOOD, GOOD], vec![RepeatedResponse]),
        (vec![r#"{"jsonrpc":"2.0","id":7,"result":{}}"#], vec![ResultShape]),
        (vec![r#"{"jsonrpc":"2.0","id":7,"result":7}"#], vec![ResultShape]),
        (vec![r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#], vec![ToolError]),
        (
            vec![
                r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"Tool add not found"}],"isError":true}}"#,
            ],
            vec![ToolUnknown],
        ),
        (
            vec![r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool: add"}}"#],
            vec![ToolUnknown],
        ),
        (vec![r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"oops"}}"#], vec![ProtocolError]),
        (
            vec![r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"oops"}}"#],
            vec![ProtocolError],
        ),
    ] {
        assert_eq!(failures(&texts), expected, "{texts:?}");
    }
}

#[test]
fn progress_has_our_token_and_increases_until_the_response() {
    use Failure::*;
    let p = |n: &str| progress("7", n);
    for (texts, expected) in [
        (vec![p("1"), p("2.5"), GOOD.into()], vec![]),
        (vec![p("2"), p("2"), GOOD.into()], vec![ProgressOrder]),
        (vec![p("-1"), p("-2")], vec![ProgressOrder]),
        (vec![progress("\"7\"", "1"), GOOD.into()], vec![ProgressToken]),
        (vec![GOOD.into(), p("1")], vec![ProgressLate]),
    ] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(failures(&texts), expected, "{texts:?}");
    }
}

#[test]
fn times_are_of_the_first_message_the_first_progress_and_the_response() {
    let mut exchange = call();
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    for (text, at) in [(log, 10), (&progress("7", "1"), 20), (&progress("7", "2"), 30), (GOOD, 40)] {
        exchange.hear(text.as_bytes(), at, judge());
    }
    assert_eq!((exchange.first_message_us, exchange.first_progress_us, exchange.final_us), (10, 20, 40));
    assert!(exchange.is_answered() && exchange.failures.is_empty());
}

#[test]
fn what_is_expected_decides() {
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"bad"}}"#;
    let tool_error = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#;
    let with = |expect| Judge { expect, ..judge() };
    assert_eq!(failures_with(with(Expected::ToolError), &[tool_error]), []);
    assert_eq!(failures_with(with(Expected::ToolError), &[GOOD]), [Failure::UnexpectedSuccess]);
    assert_eq!(failures_with(with(Expected::ProtocolError), &[error]), []);
    assert_eq!(failures_with(with(Expected::ProtocolError), &[GOOD]), [Failure::UnexpectedSuccess]);
}

#[test]
fn without_a_handshake_other_codes_mean_something_and_requests_may_not_come() {
    use Failure::*;
    let stateless = Judge { stateless: true, ..judge() };
    for (code, expected) in [
        (-32020, HeaderMismatch),
        (-32021, CapabilityMissing),
        (-32022, VersionUnsupported),
        (-32601, ProtocolError),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"m"}}}}"#);
        assert_eq!(failures_with(stateless, &[&text]), [expected], "{code}");
        let legacy = failures(&[&text]);
        assert_eq!(legacy, [ProtocolError], "before, servers gave these codes any meaning: {code}");
    }
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(failures_with(stateless, &[ping]), [ServerRequest]);
    assert_eq!(failures(&[ping]), []);
}

#[test]
fn a_message_that_was_cut_is_not_called_corrupt() {
    let cut = Judge { limit: 10, ..judge() };
    assert_eq!(failures_with(cut, &[r#"{"jsonrpc""#]), [Failure::TooLarge]);
}

#[test]
fn a_batch_is_answered_when_each_request_is() {
    let mut exchange = Exchange::default();
    exchange.begin(0, 1, Method::CallTool, 7, 3);
    for id in [9, 7, 8] {
        assert!(!exchange.is_answered());
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
        exchange.hear(text.as_bytes(), 1, judge());
    }
    assert!(exchange.is_answered() && exchange.failures.is_empty());
}

#[test]
fn a_subscription_begins_with_its_acknowledgement() {
    let note = |method: &str, id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        )
    };
    let (ack, changed) = ("notifications/subscriptions/acknowledged", "notifications/tools/list_changed");
    let wrong = vec![Failure::Acknowledgement];
    for (texts, expected) in [
        (vec![note(ack, 7), note(changed, 7)], vec![]),
        (vec![note(changed, 7)], wrong.clone()),
        (vec![note(ack, 8)], wrong.clone()),
        (vec![note(ack, 7), note(ack, 7)], wrong),
    ] {
        let mut exchange = Exchange::default();
        exchange.begin(0, 1, Method::Listen, 7, 1);
        for text in &texts {
            exchange.hear(text.as_bytes(), 1, Judge { stateless: true, ..judge() });
        }
        assert_eq!(exchange.failures.each().collect::<Vec<_>>(), expected, "{texts:?}");
    }
}

#[test]
fn what_comes_of_a_call_that_was_given_up_is_no_failure() {
    let mut exchange = call();
    exchange.give_up();
    exchange.begin(0, 2, Method::CallTool, 8, 1);
    for text in [GOOD, &progress("7", "3")] {
        exchange.hear(text.as_bytes(), 1, judge());
    }
    assert!(exchange.failures.is_empty() && !exchange.is_answered());
    exchange.hear(br#"{"jsonrpc":"2.0","id":9,"result":{"content":[]}}"#, 1, judge());
    assert!(exchange.failures.has(Failure::IdMismatch));
}
