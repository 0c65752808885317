//! What stands between the orchestrator and experts that fail.

use std::time::{Duration, Instant};

use circle_of_experts::Running;
use circle_of_experts::model::{Failure, Model};
use circle_of_experts::orchestrator::{Kind, Member, Orchestrator};
use serde_json::{Value, json};

use super::{Council, PATIENCE, agreeing, all, ask, circle, experts, options, ready, slow};

fn failing(failure: Failure) -> Model {
    Model { failure_rate: 1.0, failures: vec![failure], ..agreeing() }
}

#[tokio::test]
async fn a_dead_expert_abstains_and_opens_its_breaker() {
    let others = experts(circle(agreeing(), &[]), 4);
    let dead = Member {
        kind: Kind::ClaudeExpert,
        // Servers of tests listen on the first address of loopback: here is nobody.
        url: "http://127.0.0.9:9/v1/messages".into(),
        weight: 1.0,
        model: "m".into(),
        key: "k".into(),
    };
    let mut options = options(&others, json!({ "early": false, "retries": 0 }));
    options.members = vec![dead];
    let orchestrator = Running::<Orchestrator>::start(options).unwrap();
    let client = reqwest::Client::new();
    ready(&client, &orchestrator).await;
    for n in 0..7 {
        let (status, verdict) = ask(&client, &orchestrator.url(), &format!("{n}?")).await;
        assert_eq!((status, &verdict["outcome"]), (200, &json!("winner")), "{verdict}");
        let (cause, attempts) = if n < 5 { ("connect", 1) } else { ("breaker open", 0) };
        let first = &verdict["experts"][0];
        assert_eq!((&first["abstained"], &first["attempts"]), (&json!(cause), &json!(attempts)), "{verdict}");
        assert_eq!(verdict["coverage"], 0.8);
    }
}

#[tokio::test]
async fn a_breaker_closes_again_when_its_expert_is_well() {
    let sick = circle(agreeing(), &[(2, failing(Failure::Internal))]);
    let settings =
        json!({ "early": false, "retries": 0, "breaker": { "failures": 5, "open_ms": 200, "probes": 3 } });
    let council = Council::start(sick, 4, settings).await;
    for n in 0..5 {
        let (_, verdict) = council.ask(&format!("{n}?")).await;
        assert_eq!(verdict["experts"][2]["abstained"], "server error", "{verdict}");
    }
    let labels = "expert=\"2\",type=\"deepseek_expert\"";
    council.until(&format!("circuit_breaker_opened_total{{{labels}}} 1")).await;
    council.behave(&circle(agreeing(), &[])).await;
    let begin = Instant::now();
    let mut votes = 0;
    while votes < 4 {
        let (_, verdict) = council.ask("Well?").await;
        votes += u32::from(verdict["experts"][2]["vote"].is_string());
        assert!(begin.elapsed() < PATIENCE, "{verdict}");
    }
    council.until(&format!("circuit_breaker_state{{{labels}}} 0")).await;
    council.until(&format!("circuit_breaker_closed_total{{{labels}}} 1")).await;
}

#[tokio::test]
async fn nothing_is_sent_when_too_few_are_left_for_a_quorum() {
    let sick = circle(failing(Failure::Internal), &[(3, agreeing())]);
    let settings =
        json!({ "early": false, "retries": 0, "breaker": { "failures": 1, "open_ms": 600000, "probes": 1 } });
    let council = Council::start(sick, 4, settings).await;
    assert_eq!(council.ask("First?").await.1["attempts"], 4);
    let (status, verdict) = council.ask("Second?").await;
    assert_eq!((status, &verdict["outcome"], &verdict["attempts"]), (503, &json!("no_quorum"), &json!(0)));
}

#[tokio::test]
async fn a_slow_expert_is_given_up_at_the_timeout_of_an_attempt() {
    let council = Council::start(
        circle(agreeing(), &[(1, slow())]),
        4,
        json!({ "early": false, "retries": 0, "attempt_timeout_ms": 4000 }),
    )
    .await;
    let (status, verdict) = council.ask("Slow?").await;
    assert_eq!((status, &verdict["experts"][1]["abstained"]), (200, &json!("timeout")), "{verdict}");
    assert!(verdict["experts"][1]["ms"].as_f64().unwrap() >= 4_000.0, "{verdict}");
    assert_eq!(verdict["voters"], 3);
}

#[tokio::test]
async fn one_consensus_ends_at_its_timeout_with_all_attempts_in_it() {
    let council = Council::start(
        circle(slow(), &[]),
        4,
        json!({ "timeout_ms": 3000, "attempt_timeout_ms": 2000, "backoff_ms": 0, "max_backoff_ms": 0 }),
    )
    .await;
    let begin = Instant::now();
    let (status, verdict) = council.ask("Slow?").await;
    // Two attempts of 2 s and 1 s; a third has no time.
    assert_eq!((status, &verdict["outcome"]), (503, &json!("no_quorum")));
    let abstained = all(&verdict, "abstained").into_iter().filter(|cause| **cause == "timeout").count();
    assert!(abstained >= 3, "{verdict}");
    let took = begin.elapsed();
    assert!((Duration::from_secs(3)..PATIENCE).contains(&took), "{took:?}");
}

#[tokio::test]
async fn what_is_outstanding_is_cancelled_when_it_is_not_needed() {
    let council = Council::start(circle(agreeing(), &[(3, slow())]), 4, json!({})).await;
    let (status, verdict) = council.ask("Early?").await;
    assert_eq!((status, &verdict["early"]), (200, &json!(true)), "{verdict}");
    let last = &verdict["experts"][3];
    assert_eq!((&last["not_needed"], &last["attempts"]), (&json!(true), &json!(1)), "{verdict}");
    // The expert sees its client go.
    let cancelled = "experts_requests_total{expert=\"3\",type=\"openrouter_expert\",outcome=\"cancelled\"} 1";
    let begin = Instant::now();
    loop {
        let text = super::text(&council.client, &format!("{}/metrics", council.experts.url())).await;
        if text.lines().any(|line| line == cancelled) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn experts_say_when_to_come_again_and_are_obeyed() {
    let hurried = Model { per_second: 1, ..agreeing() };
    let settings = json!({ "early": false, "backoff_ms": 1, "max_backoff_ms": 1, "retry_budget": null });
    let council = Council::start(circle(hurried, &[]), 4, settings).await;
    let begin = Instant::now();
    // Of two questions in one second the second is told to come a second later, in a header or in the body.
    let mut waited = [false; 4];
    while waited.contains(&false) {
        let (_, verdict) = council.ask("Again?").await;
        for (waited, report) in waited.iter_mut().zip(verdict["experts"].as_array().unwrap()) {
            if report["vote"].is_string() && report["attempts"].as_u64().unwrap() > 1 {
                assert!(report["ms"].as_f64().unwrap() >= 1_000.0, "{verdict}");
                *waited = true;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "{waited:?} {verdict}");
    }
}

#[tokio::test]
async fn retries_are_no_more_than_their_budget() {
    let settings = json!({
        "early": false, "backoff_ms": 1, "max_backoff_ms": 1, "breaker": null,
        "retry_budget": { "percent": 25, "reserve": 4 },
    });
    let council = Council::start(circle(failing(Failure::Overloaded), &[]), 8, settings).await;
    for retries in [4, 2, 2] {
        // 4 are saved up at the start; 8 calls pay for 2.
        let (_, verdict) = council.ask("Budget?").await;
        assert_eq!(verdict["attempts"], 8 + retries, "{verdict}");
        assert_eq!(all(&verdict, "abstained"), [&json!("overloaded"); 8]);
        assert!(all(&verdict, "no_retry").contains(&&json!("retry budget")), "{verdict}");
    }
}

#[tokio::test]
async fn a_pause_that_would_end_too_late_is_not_begun() {
    // Drawn from ten minutes: with this seed none of them fits.
    let settings =
        json!({ "early": false, "timeout_ms": 20000, "backoff_ms": 600000, "max_backoff_ms": 600000 });
    let council = Council::start(circle(failing(Failure::Overloaded), &[]), 4, settings).await;
    let (_, verdict) = council.ask("Later?").await;
    assert_eq!(all(&verdict, "no_retry"), [&json!("no time for a retry"); 4], "{verdict}");
}

#[tokio::test]
async fn a_full_bulkhead_refuses_and_one_question_too_many_is_told_to_come_later() {
    let settings = json!({ "early": false, "bulkhead": { "concurrent": 1, "waiting": 0 } });
    let council = Council::start(circle(slow(), &[]), 4, settings).await;
    let first = council.ask("First?");
    let second = async {
        for (expert, kind) in ["claude", "gemini", "deepseek", "openrouter"].iter().enumerate() {
            let labels = format!("expert=\"{expert}\",type=\"{kind}_expert\"");
            council.until(&format!("bulkhead_in_progress{{{labels}}} 1")).await;
        }
        let (status, verdict) = council.ask("Second?").await;
        assert_eq!(
            (status, all(&verdict, "abstained")),
            (503, vec![&json!("bulkhead full"); 4]),
            "{verdict}"
        );
        council.tune(json!({ "questions": 1 })).await;
        let (status, refused) = council.ask("Third?").await;
        assert_eq!(status, 503);
        assert!(refused["error"].as_str().unwrap().contains("as many as may be"), "{refused}");
    };
    // Whoever asked first goes without an answer.
    tokio::select! {
        answered = first => panic!("{answered:?}"),
        () = second => {}
    }
    council.until("orchestrator_questions_total{outcome=\"refused\"} 1").await;
    council.until("orchestrator_questions_total{outcome=\"cancelled\"} 1").await;
    council.until("orchestrator_questions_in_progress 0").await;
}

#[tokio::test]
async fn text_and_numbers_can_be_votes_too() {
    let council = Council::start(circle(agreeing(), &[]), 4, json!({ "early": false, "vote": "text" })).await;
    let (_, verdict) = council.ask("What?").await;
    // Each has its own words after the answer: nobody agrees.
    assert_eq!((&verdict["outcome"], &verdict["voters"]), (&json!("tie"), &json!(4)), "{verdict}");
    council.tune(json!({ "early": false, "vote": "number" })).await;
    let (_, verdict) = council.ask("How many?").await;
    assert_eq!(all(&verdict, "abstained"), [&json!("no vote"); 4], "{verdict}");
    assert_eq!(verdict["winner"], Value::Null);
}
