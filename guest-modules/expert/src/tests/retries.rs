use super::*;

/// One expert whose waits are never more than the floor that its answers name.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn without_jitter(api: &str, more: Value) -> Value {
    let mut config = one(api, json!({ "backoff": "1us", "max-backoff": "1us" }));
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// Answers each attempt with the same until no more come; gives the attempts, and what was said last.
fn attempts(config: &Value, answer: impl Fn(Answer) -> Answer) -> (Vec<Sent>, Said) {
    let mut bench = bench(config);
    let mut said = bench.start(0, 0, &[]);
    let mut sent = Vec::new();
    while let Some(request) = said.requests.first().cloned() {
        said = bench.answer(&[answer(Answer::to(&request))]);
        sent.push(request);
        assert!(sent.len() < 30, "{said:?}");
    }
    (sent, said)
}

#[test]
fn three_retries_make_four_attempts_of_one_operation() {
    let config = one("anthropic", json!({}));
    let (sent, said) = attempts(&config, |answer| answer.status(529).body("{}"));
    assert_eq!(sent.iter().map(|request| request.attempt).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(sent.iter().all(|request| request.operation == 1 && request.body == sent[0].body));
    // Full jitter: evenly up to half a second, doubled with each.
    for (request, ceiling) in sent.iter().zip([0, 500_000, 1_000_000, 2_000_000]) {
        assert!(request.delay_us <= ceiling, "{request:?}");
    }
    assert_eq!(checks(&said, false), ["anthropic: cause: overloaded", "anthropic: answers"]);
    assert_eq!((ended(&said), said.finished.len()), (Some(true), 1), "the status is the worker's to count");
    let (_, said) = attempts(&config, |answer| answer.failed(gauntlet_sdk::Failure::Reset));
    assert_eq!(ended(&said), Some(false));
}

#[test]
fn a_good_answer_after_a_retry_mends_it() {
    let mut bench = bench(&one("deepseek", json!({})));
    let first = only(&bench.start(0, 0, &[]));
    let said = bench.answer(&[Answer::to(&first).status(503)]);
    assert_eq!(checks(&said, false), ["deepseek: cause: overloaded"]);
    let second = only(&said);
    let said = bench.answer(&[Answer::to(&second).body(whole("deepseek", "x", 2))]);
    assert_eq!((checks(&said, false).len(), ended(&said)), (0, Some(true)));
}

#[test]
fn what_is_worth_another_attempt_is_a_table() {
    let retried = |api: &str, status: u32| {
        let (sent, _) =
            attempts(&without_jitter(api, json!({ "retries": 1 })), |answer| answer.status(status));
        sent.len() == 2
    };
    for (api, worth, not) in [
        ("anthropic", &[408, 409, 429, 500, 503, 504, 529][..], &[400, 401, 402, 403, 404, 413][..]),
        ("gemini", &[408, 429, 500, 502, 503, 504], &[400, 402, 403, 404]),
        ("deepseek", &[429, 500, 503], &[400, 401, 402, 422]),
        ("openrouter", &[408, 429, 502, 503], &[400, 401, 402, 403]),
    ] {
        assert!(worth.iter().all(|&status| retried(api, status)), "{api}: {worth:?}");
        assert!(!not.iter().any(|&status| retried(api, status)), "{api}: {not:?}");
    }
}

#[test]
fn retry_after_is_a_floor() {
    let wait = |api: &str, answer: &dyn Fn(Answer) -> Answer| {
        let (sent, _) = attempts(&without_jitter(api, json!({ "retries": 1 })), answer);
        sent.get(1).map(|request| request.delay_us)
    };
    let near = |wait: Option<u32>, us: u32| wait.is_some_and(|wait| (us..=us + 1).contains(&wait));
    let limited = |answer: Answer| answer.status(429);
    assert!(near(wait("anthropic", &|a| limited(a).header("Retry-After", "1")), 1_000_000));
    assert!(near(
        wait("deepseek", &|a| limited(a).header("retry-after-ms", "250").header("retry-after", "9")),
        250_000
    ));
    let info = r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.Help","links":[]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.837906927s"}]}}"#;
    assert!(near(wait("gemini", &|a| limited(a).body(info)), 2_837_906));
    // A balance that is being filled up.
    assert!(near(wait("openrouter", &|a| a.status(402).header("retry-after", "3")), 3_000_000));
    assert_eq!(wait("anthropic", &|a| limited(a).header("x-should-retry", "false")), None);
    assert!(wait("anthropic", &|a| a.status(400).header("x-should-retry", "true")).is_some());
}

#[test]
fn a_date_in_retry_after_is_told_and_not_waited_for() {
    let config = without_jitter("anthropic", json!({ "retries": 1 }));
    let mut bench = bench(&config);
    let first = only(&bench.start(0, 0, &[]));
    let answer = Answer::to(&first).status(503).header("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT");
    let said = bench.answer(&[answer]);
    assert_eq!(checks(&said, false), ["anthropic: cause: overloaded", "anthropic: Retry-After in seconds"]);
    assert!(only(&said).delay_us <= 1);
}

#[test]
fn limits_of_spending_and_quotas_of_a_day_are_final() {
    let spent = r#"{"type":"error","error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    let day = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]}]}}"#;
    for (api, body) in [("anthropic", spent), ("gemini", day)] {
        let (sent, said) = attempts(&one(api, json!({})), |answer| answer.status(429).body(body));
        assert_eq!(sent.len(), 1, "{api}");
        assert!(checks(&said, false).contains(&format!("{api}: cause: billing").as_str()), "{said:?}");
    }
}

#[test]
fn all_attempts_share_the_querys_time() {
    let mut bench = bench(&without_jitter("anthropic", json!({})));
    bench.set_now_us(1_000_000);
    let first = only(&bench.start(0, 0, &[]));
    assert_eq!(first.timeout_us, 10_000_000);
    bench.set_now_us(25_000_000);
    let second = only(&bench.answer(&[Answer::to(&first).status(529)]));
    assert!(
        (5_999_999..=6_000_000).contains(&second.timeout_us),
        "what is left of 30 s: {}",
        second.timeout_us
    );
    let said = bench.answer(&[Answer::to(&second).status(529).header("retry-after", "6")]);
    assert_eq!(said.requests.len(), 0);
    let failed =
        ["anthropic: cause: overloaded", "anthropic: cause: no time for a retry", "anthropic: answers"];
    assert_eq!(checks(&said, false), failed);
}

#[test]
fn retries_are_a_share_of_requests() {
    let config = without_jitter("anthropic", json!({ "retry-budget": { "percent": 0, "reserve": 2 } }));
    let (sent, said) = attempts(&config, |answer| answer.status(500));
    assert_eq!(sent.len(), 3);
    assert!(checks(&said, false).contains(&"anthropic: cause: retry budget"), "{said:?}");
    let unlimited = without_jitter("anthropic", json!({ "retry-budget": false, "retries": 20 }));
    assert_eq!(attempts(&unlimited, |answer| answer.status(500)).0.len(), 21);
}

#[test]
fn a_breaker_opens_after_five_failures_for_thirty_seconds_and_lets_three_probe() {
    let mut bench = bench(&one("gemini", json!({ "retries": 0, "breaker": true })));
    for arrival in 0..5 {
        let request = only(&bench.start(0, arrival, &[]));
        bench.answer(&[Answer::to(&request).status(500)]);
    }
    let said = bench.start(0, 5, &[]);
    assert_eq!((said.requests.len(), said.finished.len()), (0, 1));
    assert_eq!(checks(&said, false), ["gemini: cause: breaker open", "gemini: answers"]);
    bench.set_now_us(30_000_000);
    let probes: Vec<_> = (0..3).map(|user| only(&bench.start(user, 6, &[]))).collect();
    assert_eq!(bench.start(3, 7, &[]).requests.len(), 0, "three at a time");
    for probe in &probes {
        bench.answer(&[Answer::to(probe).body(whole("gemini", "x", 1))]);
    }
    only(&bench.start(3, 8, &[]));
}

#[test]
fn rate_limits_and_our_own_faults_open_no_breaker() {
    for status in [429, 400, 401] {
        let mut bench = bench(&one("gemini", json!({ "retries": 0, "breaker": { "failures": 1 } })));
        let request = only(&bench.start(0, 0, &[]));
        bench.answer(&[Answer::to(&request).status(status)]);
        only(&bench.start(0, 1, &[]));
    }
}
