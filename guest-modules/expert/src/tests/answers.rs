use super::*;

#[test]
fn a_good_answer_is_verified_and_measured() {
    for api in APIS {
        let config = one(api, json!({ "think": "2s" }));
        let (setup, mut bench) = (setup(&config), bench(&config));
        let request = only(&bench.start(1, 0, &[]));
        let said = bench.answer(&[Answer::to(&request).last_byte_us(500_000).body(whole(api, "Hello", 25))]);
        let names =
            ["answers", "known reason to stop", "token counts"].map(|check| format!("{api}: {check}"));
        assert_eq!(
            (checks(&said, true), checks(&said, false)),
            (names.iter().map(String::as_str).collect(), vec![])
        );
        assert_eq!(said.finished[0].think_us, 2_000_000);
        assert_eq!(ended(&said), Some(true));
        for (metric, value) in
            [("E2E", 500.0), ("input tokens", 11.0), ("output tokens,", 25.0), ("output tokens /", 50.0)]
        {
            assert_eq!(observed(&setup, &said, metric), [value], "{api}: {metric}");
        }
        assert!(!setup.metrics.iter().any(|metric| metric.starts_with("TTFT")), "only streams have it");
    }
}

/// What becomes of an answer without retries: the causes that are counted.
fn causes(api: &str, answer: impl Fn(Answer) -> Answer) -> Vec<String> {
    let mut bench = bench(&one(api, json!({ "retries": 0 })));
    let request = only(&bench.start(0, 0, &[]));
    let said = bench.answer(&[answer(Answer::to(&request))]);
    assert_eq!(said.finished.len(), 1, "{said:?}");
    let failed = checks(&said, false);
    assert!(failed.contains(&format!("{api}: answers").as_str()), "{failed:?}");
    failed.iter().filter_map(|check| Some(check.split_once("cause: ")?.1.to_owned())).collect()
}

#[test]
fn failures_have_their_causes() {
    use gauntlet_sdk::Failure;
    for (failure, cause) in [
        (Failure::Connect, "connect"),
        (Failure::Tls, "tls"),
        (Failure::Reset, "reset"),
        (Failure::Timeout, "timeout"),
        (Failure::Malformed, "no HTTP"),
        (Failure::TooLarge, "no HTTP"),
    ] {
        assert_eq!(causes("gemini", |answer| answer.failed(failure)), [cause]);
    }
    for (api, status, cause) in [
        ("anthropic", 401, "denied"),
        ("anthropic", 402, "billing"),
        ("anthropic", 413, "bad request"),
        ("anthropic", 429, "rate limited"),
        ("anthropic", 500, "server error"),
        ("anthropic", 529, "overloaded"),
        ("gemini", 403, "denied"),
        ("gemini", 503, "overloaded"),
        ("gemini", 504, "server error"),
        ("deepseek", 402, "billing"),
        ("deepseek", 422, "bad request"),
        ("openrouter", 408, "server error"),
        ("openrouter", 302, "shape"),
    ] {
        assert_eq!(causes(api, |answer| answer.status(status).body("<html>")), [cause], "{api} {status}");
    }
}

#[test]
fn gemini_says_of_a_wrong_key_that_the_request_is_bad() {
    let answered = |reason: &str| {
        let detail = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason });
        let error = json!({ "code": 400, "message": "x", "status": "INVALID_ARGUMENT", "details": [detail] });
        causes("gemini", |answer| answer.status(400).body(json!({ "error": error }).to_string()))
    };
    assert_eq!(answered("API_KEY_INVALID"), ["denied"]);
    assert_eq!(answered("FIELD_VIOLATION"), ["bad request"]);
}

#[test]
fn an_error_inside_status_200_is_found() {
    let anthropic = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "x" }, "request_id": "r" });
    let gemini = json!({ "error": { "code": 503, "message": "x", "status": "UNAVAILABLE" } });
    let top = json!({ "error": { "code": 429, "message": "x", "metadata": {} } });
    let choice =
        json!({ "choices": [{ "finish_reason": "error", "error": { "code": 502, "message": "x" } }] });
    let unknown = json!({ "error": { "message": "x", "type": "strange", "code": null } });
    for (api, body, cause) in [
        ("anthropic", anthropic, "overloaded"),
        ("gemini", gemini, "overloaded"),
        ("openrouter", top, "rate limited"),
        ("openrouter", choice, "server error"),
        ("deepseek", unknown, "error in the answer"),
    ] {
        assert_eq!(causes(api, |answer| answer.body(body.to_string())), [cause], "{api}");
    }
}

#[test]
fn what_is_not_of_the_apis_shape_is_found() {
    for api in APIS {
        for body in ["", "{", "[]", "{}", "null", "Hello", r#"{"choices":null}"#, r#"{"type":"message"}"#] {
            assert_eq!(causes(api, |answer| answer.body(body)), ["shape"], "{api}: {body}");
        }
        let truncated = whole(api, "Hello", 3);
        assert_eq!(causes(api, |answer| answer.body(&truncated[..truncated.len() - 2])), ["shape"], "{api}");
        assert_eq!(causes(api, |answer| answer.body(whole(api, "", 3))), ["empty"], "{api}");
    }
}

#[test]
fn refusals_are_no_answers() {
    let refused = |api: &str, from: &str, to: &str| {
        let body = whole(api, "no", 3).replace(from, to);
        assert_eq!(causes(api, |answer| answer.body(body.clone())), ["refused"], "{api}");
    };
    refused("anthropic", "end_turn", "refusal");
    refused("gemini", "STOP", "SAFETY");
    refused("openrouter", r#""finish_reason":"stop""#, r#""finish_reason":"content_filter""#);
    let blocked =
        json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 4 } });
    assert_eq!(causes("gemini", |answer| answer.body(blocked.to_string())), ["refused"]);
}

#[test]
fn blank_lines_before_an_answer_are_noise() {
    let mut bench = bench(&one("deepseek", json!({})));
    let request = only(&bench.start(0, 0, &[]));
    let said = bench.answer(&[Answer::to(&request).body(format!("\n\n\n{}", whole("deepseek", "x", 1)))]);
    assert_eq!(checks(&said, false), [""; 0]);
}

#[test]
fn missing_token_counts_and_strange_reasons_to_stop_are_told_of_good_answers() {
    let mut bench = bench(&one("anthropic", json!({})));
    let request = only(&bench.start(0, 0, &[]));
    let body = whole("anthropic", "x", 0).replace("end_turn", "tired");
    let said = bench.answer(&[Answer::to(&request).body(body)]);
    assert_eq!(checks(&said, true), ["anthropic: answers"]);
    assert_eq!(checks(&said, false), ["anthropic: known reason to stop", "anthropic: token counts"]);
}

#[test]
fn reasoning_counts_as_output_where_it_is_counted_apart() {
    let config = one("gemini", json!({}));
    let (setup, mut bench) = (setup(&config), bench(&config));
    let request = only(&bench.start(0, 0, &[]));
    let body = whole("gemini", "x", 5)
        .replace("\"totalTokenCount\"", "\"thoughtsTokenCount\":7,\"totalTokenCount\"");
    let said = bench.answer(&[Answer::to(&request).body(body)]);
    assert_eq!(observed(&setup, &said, "output tokens,"), [12.0]);
}

#[test]
fn the_right_answer_is_a_column() {
    let config = one("deepseek", json!({ "prompt": "{q}", "feed": "q.csv", "expect": "a" }));
    let mut bench = bench(&config);
    for (answer, pass) in [("It is Paris, of course", true), ("Lyon", false)] {
        let request = only(&bench.start(0, 0, &[&["Capital?", "paris"]]));
        let said = bench.answer(&[Answer::to(&request).body(whole("deepseek", answer, 5))]);
        assert!(checks(&said, pass).contains(&"deepseek: right answer"), "{answer}: {said:?}");
    }
}

#[test]
fn objectives_are_a_check_that_failures_do_not_keep() {
    let mut bench = bench(&one("deepseek", json!({ "retries": 0, "slo": { "e2e": "1s" } })));
    let good = whole("deepseek", "x", 5);
    for (us, status, kept) in [(900_000, 200, true), (1_100_000, 200, false), (900_000, 500, false)] {
        let request = only(&bench.start(0, 0, &[]));
        let said = bench.answer(&[Answer::to(&request).status(status).last_byte_us(us).body(good.clone())]);
        assert!(checks(&said, kept).contains(&"deepseek: within its objectives"), "{said:?}");
    }
}

#[test]
fn a_request_that_the_worker_gave_up_leaves_the_turn_to_it() {
    let mut bench = bench(&one("gemini", json!({ "breaker": true })));
    let request = only(&bench.start(0, 0, &[]));
    let cancelled = Answer::to(&request).kind(gauntlet_sdk::CompletionKind::Cancelled);
    let said = bench.answer(&[cancelled]);
    assert_eq!((said.finished.len(), said.commands.len(), said.verdicts.len()), (0, 0, 0));
    only(&bench.start(0, 1, &[]));
}

#[test]
fn only_statuses_are_looked_at_where_the_plan_says_so() {
    let config =
        one("anthropic", json!({ "verify": "status", "stream": true, "retries": 1, "slo": { "e2e": "5s" } }));
    let mut bench = bench(&config);
    let sent = only(&bench.start(0, 0, &[]));
    assert_eq!(sent.interest, gauntlet_sdk::Interest::END | gauntlet_sdk::Interest::HEAD);
    // Who comes too early is told so by the head, whatever the body says.
    let said = bench.answer(&[Answer::to(&sent).status(429).header("retry-after", "3")]);
    assert_eq!(checks(&said, false), ["anthropic: cause: rate limited"]);
    let again = only(&said);
    assert!(again.delay_us >= 3_000_000, "{again:?}");
    let said = bench.answer(&[Answer::to(&again).last_byte_us(4_000_000)]);
    assert_eq!(checks(&said, true), ["anthropic: answers", "anthropic: within its objectives"]);
    assert_eq!((checks(&said, false).len(), ended(&said)), (0, Some(true)));
    let setup = setup(&config);
    assert_eq!(observed(&setup, &said, "E2E"), [4_000.0]);
    assert!(!setup.metrics.iter().any(|metric| metric.starts_with("TTFT")), "{:?}", setup.metrics);
}
