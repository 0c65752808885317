//! Settings, versions and knobs at run time.

use std::time::{Duration, Instant};

use circle_of_experts::orchestrator::Settings;
use serde_json::{Value, json};

use super::{Council, agreeing, circle, text};
use crate::TOKEN;

async fn council() -> Council {
    Council::start(circle(agreeing(), &[]), 4, json!({})).await
}

fn resident(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn settings_need_the_token_and_sensible_values() {
    let council = council().await;
    let url = format!("{}/admin/settings", council.orchestrator.url());
    let put = |body: Value| council.client.put(&url).json(&body);
    assert_eq!(put(json!({})).send().await.unwrap().status(), 401);
    assert_eq!(council.client.get(&url).bearer_auth("other").send().await.unwrap().status(), 401);
    let refused = put(json!({ "coverage": 2, "questions": 0 })).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let why = refused.text().await.unwrap();
    assert!(why.contains("coverage: 2") && why.contains("questions: 0"), "{why}");
    let unknown = put(json!({ "timeout": 1 })).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(unknown.status(), 422);
    council.tune(json!({ "retries": 7 })).await;
    let found: Settings =
        council.client.get(&url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(found, Settings { retries: 7, ..Settings::default() });
}

#[tokio::test]
async fn a_bad_version_is_rolled_out_and_back() {
    let council = council().await;
    let url = |name: &str| format!("{}/admin/versions/{name}", council.orchestrator.url());
    let bad = json!({ "knobs": { "error_rate": 1 } });
    let put = council.client.put(url("2-bad")).bearer_auth(TOKEN).json(&bad);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let active = text(&council.client, &format!("{}/version", council.orchestrator.url())).await;
    assert!(active.contains("2-bad"), "{active}");
    assert_eq!(council.ask("Bad?").await.0, 500);
    let none = council.client.post(url("3")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(none.status(), 404);
    assert!(none.text().await.unwrap().contains("there are: 1, 2-bad"));
    let back = council.client.post(url("1")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(back.status(), 200);
    assert_eq!(council.ask("Good?").await.0, 200);
    council.until("orchestrator_questions_total{outcome=\"failed\"} 1").await;
    let listed = council.client.get(format!("{}/admin/versions", council.orchestrator.url()));
    let listed: Value = listed.bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!((&listed["active"], listed["kept"].as_array().unwrap().len()), (&json!("1"), 2));
    let wrong = council.client.put(url("a%20b")).bearer_auth(TOKEN).json(&bad).send().await.unwrap();
    assert_eq!(wrong.status(), 422);
}

#[tokio::test]
async fn knobs_delay_questions_and_hold_memory() {
    let council = council().await;
    let before = resident(&council.metrics().await);
    council.tune(json!({ "knobs": { "latency": { "kind": "fixed", "ms": 1500 }, "memory_mb": 300 } })).await;
    let begin = Instant::now();
    assert_eq!(council.ask("Late?").await.0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(1_500));
    // Tests beside this one in the process use and free some, too.
    let held = resident(&council.metrics().await);
    assert!(held > before + 200_000_000, "{before} and then {held}");
}

#[tokio::test]
async fn what_is_no_question_is_refused_in_words() {
    let council = council().await;
    let url = format!("{}/v1/consensus", council.orchestrator.url());
    for (body, status) in
        [("{}", 422), (r#"{"question":" "}"#, 422), (r#"{"question":"?","quorum":1}"#, 422), ("no", 400)]
    {
        let request = council.client.post(&url).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
        let why: Value = answer.json().await.unwrap();
        assert!(!why["error"].as_str().unwrap().is_empty(), "{why}");
    }
}
