use gauntlet_sdk::CompletionKind;

use super::*;

/// Four experts, one of each API, who answer yes or no.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn circle(circle: Value, more: Value) -> Value {
    let experts = (0..).zip(APIS).map(|(target, api)| {
        let mut expert = expert(api);
        expert["target"] = json!(target);
        expert
    });
    let mut table = json!({ "vote": ["yes", "no"] });
    table.as_object_mut().unwrap().extend(circle.as_object().unwrap().clone());
    let mut config = json!({ "experts": experts.collect::<Vec<_>>(), "prompt": "{arrival}?", "circle": table, "retries": 0 });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// One query, answered in this order: expert and text, or nothing for status 500.
fn query(config: &Value, answers: &[(usize, Option<&str>)]) -> Vec<Said> {
    let mut bench = bench(config);
    let said = bench.start(0, 0, &[]);
    let requests = said.requests.clone();
    assert_eq!(requests.len(), 4);
    let mut all = vec![said];
    for &(expert, text) in answers {
        let answer = Answer::to(&requests[expert]);
        let answer = match text {
            Some(text) => answer.body(whole(APIS[expert], text, 2)),
            None => answer.status(500),
        };
        bench.set_now_us(1_000 * (all.len() as u64));
        all.push(bench.answer(&[answer]));
    }
    all
}

#[test]
fn a_query_goes_to_all_experts_as_one_operation() {
    let said = query(&circle(json!({}), json!({})), &[]);
    for (index, request) in said[0].requests.iter().enumerate() {
        assert_eq!((request.step.as_str(), request.operation), ("circle", 1));
        assert_eq!(request.endpoint as usize, index);
    }
}

#[test]
fn the_outcome_is_told_and_measured_when_all_have_spoken() {
    let config = circle(json!({ "early": false }), json!({}));
    let setup = setup(&config);
    let said = query(&config, &[(2, Some("Yes.")), (0, Some("yes")), (3, None), (1, Some("No"))]);
    assert!(said[..4].iter().all(|said| said.finished.is_empty()));
    let last = &said[4];
    assert_eq!((last.finished.len(), ended(last)), (1, Some(true)));
    let held = checks(last, true);
    for check in ["circle: quorum", "circle: consensus", "circle: no tie", "gemini: answers"] {
        assert!(held.contains(&check), "{check}: {held:?}");
    }
    assert_eq!(checks(last, false), ["circle: unanimous"]);
    assert_eq!(checks(&said[3], false), ["openrouter: cause: server error", "openrouter: answers"]);
    for (metric, value) in [
        ("support", 2.0 / 3.0),
        ("margin", 1.0 / 3.0),
        ("coverage", 0.75),
        ("agreement", 1.0 / 3.0),
        ("experts who voted", 3.0),
    ] {
        let found = observed(&setup, last, metric);
        assert!(found.len() == 1 && (found[0] - value).abs() < 1e-9, "{metric}: {found:?}");
    }
    assert_eq!(observed(&setup, last, "experts cancelled"), [0.0]);
}

#[test]
fn single_failures_spoil_no_operation() {
    // Their checks are counted for a request that is not there, so that the worker takes no answer for a bad one.
    let said = query(&circle(json!({ "early": false }), json!({})), &[(0, None), (1, Some("yes"))]);
    let all = said.iter().flat_map(|said| &said.verdicts);
    assert!(all.clone().count() > 2 && all.clone().all(|verdict| verdict.seq == u32::MAX), "{said:?}");
}

#[test]
fn what_cannot_change_any_more_is_decided_early_and_the_rest_cancelled() {
    let config = circle(json!({}), json!({}));
    let said = query(&config, &[(1, Some("yes")), (0, Some("yes")), (3, Some("yes"))]);
    assert!(said[2].finished.is_empty(), "two of four may still become a tie");
    let last = &said[3];
    assert_eq!((last.finished.len(), ended(last)), (1, Some(true)));
    let cancelled: Vec<_> =
        last.commands.iter().filter(|command| matches!(command, Command::Cancel { .. })).collect();
    assert_eq!(cancelled, [&Command::Cancel { user: 0, seq: 2 }]);
    assert_eq!(observed(&setup(&config), last, "experts cancelled"), [1.0]);
}

#[test]
fn answers_after_the_decision_say_nothing() {
    let mut bench = bench(&circle(json!({}), json!({})));
    let requests = bench.start(0, 0, &[]).requests;
    bench.set_now_us(5);
    let yes = |at: usize| Answer::to(&requests[at]).body(whole(APIS[at], "yes", 2));
    bench.answer(&[yes(0), yes(1), yes(2)]);
    let late = bench.answer(&[Answer::to(&requests[3]).kind(CompletionKind::Cancelled), yes(3)]);
    assert_eq!((late.verdicts.len(), late.finished.len(), late.commands.len()), (0, 0, 0), "{late:?}");
    assert_eq!(bench.start(0, 1, &[]).requests.len(), 4);
}

#[test]
fn a_retry_that_was_just_sent_is_cancelled_when_the_worker_has_it() {
    let config = circle(json!({}), json!({ "retries": 1 }));
    let mut bench = bench(&config);
    let requests = bench.start(0, 0, &[]).requests;
    bench.set_now_us(9);
    let yes = |at: usize| Answer::to(&requests[at]).body(whole(APIS[at], "yes", 2));
    let said = bench.answer(&[Answer::to(&requests[3]).status(500), yes(0), yes(1), yes(2)]);
    let retry = only(&said);
    assert_eq!((retry.attempt, said.finished.len()), (1, 0));
    let wake = said.commands.iter().find_map(|command| match command {
        Command::WakeAt { seq, .. } => Some(*seq),
        _ => None,
    });
    bench.set_now_us(10);
    let said = bench.answer(&[Answer::timer(0, wake.unwrap())]);
    assert!(said.commands.contains(&Command::Cancel { user: 0, seq: retry.seq }), "{said:?}");
    assert_eq!((said.finished.len(), ended(&said)), (1, Some(true)));
}

/// One consensus has 30 s with all attempts and pauses in it: who would have to be asked again after that abstains.
#[test]
fn a_retry_after_the_end_of_the_consensus_is_an_abstention() {
    let config = circle(json!({}), json!({ "retries": 3 }));
    let mut bench = bench(&config);
    bench.set_now_us(1_000_000);
    let requests = bench.start(0, 0, &[]).requests;
    bench.set_now_us(2_000_000);
    let yes = |at: usize| Answer::to(&requests[at]).body(whole(APIS[at], "yes", 2));
    let said = bench.answer(&[yes(1), yes(2)]);
    assert!(said.finished.is_empty(), "two of four may still become a tie");
    // Of 30 s, 6 are left, for the pause and the next attempt.
    bench.set_now_us(25_000_000);
    let overloaded =
        |at: usize, wait: &str| Answer::to(&requests[at]).status(529).header("retry-after", wait);
    let said = bench.answer(&[overloaded(3, "2")]);
    let retry = only(&said);
    assert!(retry.delay_us >= 2_000_000 && retry.delay_us + retry.timeout_us == 6_000_000, "{retry:?}");
    // The other one is asked to come back when it is too late: it takes no part, and its abstention decides.
    let said = bench.answer(&[overloaded(0, "6")]);
    assert_eq!(said.requests.len(), 0, "{said:?}");
    let failed = checks(&said, false);
    for check in ["cause: overloaded", "cause: no time for a retry", "answers"] {
        assert!(failed.contains(&format!("anthropic: {check}").as_str()), "{check}: {failed:?}");
    }
    // The retry was sent at this very moment, so it is given up a moment later.
    assert!(said.finished.is_empty(), "{said:?}");
    let wake = said.commands.iter().find_map(|command| match command {
        Command::WakeAt { seq, .. } => Some(*seq),
        _ => None,
    });
    bench.set_now_us(25_000_001);
    let said = bench.answer(&[Answer::timer(0, wake.unwrap())]);
    assert!(said.commands.contains(&Command::Cancel { user: 0, seq: retry.seq }), "{said:?}");
    assert_eq!((said.finished.len(), ended(&said)), (1, Some(true)));
    assert_eq!(observed(&setup(&config), &said, "experts who voted"), [2.0]);
}

/// Nobody is left who could change it: the outcome stands when the last one has no time for a retry.
#[test]
fn without_time_for_retries_a_circle_ends_without_quorum() {
    let mut bench = bench(&circle(json!({}), json!({ "retries": 3, "breaker": false })));
    let requests = bench.start(0, 0, &[]).requests;
    bench.set_now_us(29_000_000);
    let late = |at: usize| Answer::to(&requests[at]).status(529).header("retry-after", "2");
    let said = bench.answer(&[late(0), late(1), late(2)]);
    assert_eq!((said.requests.len(), said.finished.len(), ended(&said)), (0, 1, Some(false)));
    let failed = checks(&said, false);
    let untimely = failed.iter().filter(|check| check.ends_with("cause: no time for a retry")).count();
    assert!(untimely == 3 && failed.contains(&"circle: quorum"), "{failed:?}");
    assert!(said.commands.contains(&Command::Cancel { user: 0, seq: requests[3].seq }), "{said:?}");
}

#[test]
fn without_quorum_or_winner_the_operation_fails() {
    let config = circle(json!({ "early": false }), json!({}));
    let none = query(&config, &[(0, Some("yes")), (1, None), (2, Some("hm")), (3, None)]);
    let last = &none[4];
    assert_eq!((checks(last, false).contains(&"circle: quorum"), ended(last)), (true, Some(false)));
    assert!(checks(&none[3], false).contains(&"deepseek: cause: no vote"), "{:?}", none[3]);
    let tie = query(&config, &[(0, Some("yes")), (1, Some("no")), (2, Some("yes")), (3, Some("no"))]);
    assert_eq!(checks(&tie[4], false), ["circle: consensus", "circle: no tie", "circle: unanimous"]);
    assert_eq!(ended(&tie[4]), Some(false));
    // Early, too few are known to be too few as soon as nobody can help it.
    let early = query(&circle(json!({}), json!({})), &[(0, None), (1, None), (2, None)]);
    assert_eq!((early[3].finished.len(), ended(&early[3])), (1, Some(false)));
}

#[test]
fn the_right_outcome_is_a_check_of_the_operation() {
    let config = circle(json!({}), json!({ "prompt": "{q}", "feed": "q.csv", "expect": "a" }));
    for (right, pass) in [("Yes", true), ("no", false)] {
        let mut bench = bench(&config);
        let requests = bench.start(0, 0, &[&["?", right]]).requests;
        bench.set_now_us(1);
        let yes = |at: usize| Answer::to(&requests[at]).body(whole(APIS[at], "yes", 2));
        let said = bench.answer(&[yes(0), yes(1), yes(2)]);
        let verdict = said.verdicts.iter().find(|verdict| verdict.check == "circle: right outcome").unwrap();
        assert_eq!((verdict.pass, verdict.seq), (pass, 2));
    }
}

#[test]
fn open_breakers_abstain_and_a_circle_that_cannot_decide_sends_nothing() {
    let mut bench = bench(&circle(json!({ "early": false }), json!({ "breaker": { "failures": 1 } })));
    let requests = bench.start(0, 0, &[]).requests;
    let bad: Vec<_> = requests[..3].iter().map(|request| Answer::to(request).status(500)).collect();
    bench.answer(&bad);
    bench.answer(&[Answer::to(&requests[3]).body(whole(APIS[3], "yes", 2))]);
    let said = bench.start(0, 1, &[]);
    assert_eq!((said.requests.len(), said.finished.len()), (0, 1), "one of four is no quorum");
    assert!(checks(&said, false).contains(&"gemini: cause: breaker open"), "{said:?}");
    // The probe that was admitted and not sent is given back.
    bench.set_now_us(30_000_000);
    assert_eq!(bench.start(0, 2, &[]).requests.len(), 4);
}

/// The same votes give the same outcome, whatever their order and whether it is decided early.
#[test]
fn any_order_gives_the_same_outcome() {
    let texts = [Some("yes"), None, Some("no"), Some("yes")];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
    for early in [false, true] {
        for order in orders {
            let config = circle(json!({ "early": early }), json!({}));
            let answers: Vec<_> = order.iter().map(|&at| (at, texts[at])).collect();
            let said = query(&config, &answers);
            let end = said.iter().find(|said| !said.finished.is_empty()).unwrap();
            assert_eq!(ended(end), Some(true), "{order:?}");
        }
    }
}
