//! Who is in the circle.

use std::time::{Duration, Instant};

use circle_of_experts::Running;
use circle_of_experts::model::Model;
use circle_of_experts::orchestrator::{Error, Options, Orchestrator};
use serde_json::json;

use super::{PATIENCE, agreeing, all, ask, circle, experts, options, ready, text};
use crate::TOKEN;

#[tokio::test]
async fn it_is_ready_when_every_list_has_been_read_and_asks_them_all() {
    let (first, second) = (experts(circle(agreeing(), &[]), 2), experts(circle(agreeing(), &[]), 3));
    // A server without a list.
    let other = Running::<Orchestrator>::start(options(&first, json!({}))).unwrap();
    let mut options = options(&first, json!({ "early": false }));
    options.lists.push(other.url());
    let waiting = Running::<Orchestrator>::start(options.clone()).unwrap();
    let client = reqwest::Client::new();
    let begin = Instant::now();
    loop {
        let why = text(&client, &format!("{}/ready", waiting.url())).await;
        if why.contains("/experts: status 404") {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{why}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ask(&client, &waiting.url(), "Ready?").await.0, 503);
    let alive = client.get(format!("{}/health", waiting.url())).send().await.unwrap();
    assert_eq!(alive.status(), 200);

    options.lists = vec![first.url(), second.url()];
    let both = Running::<Orchestrator>::start(options).unwrap();
    ready(&client, &both).await;
    let (_, verdict) = ask(&client, &both.url(), "Who?").await;
    let kinds = ["claude_expert", "gemini_expert", "claude_expert", "gemini_expert", "deepseek_expert"];
    assert_eq!(all(&verdict, "type"), kinds.map(|kind| json!(kind)).iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn weights_follow_the_lists_and_counts_stay() {
    let experts = experts(circle(agreeing(), &[]), 4);
    let mut options = options(&experts, json!({ "early": false }));
    options.refresh = Duration::from_millis(20);
    let orchestrator = Running::<Orchestrator>::start(options).unwrap();
    let client = reqwest::Client::new();
    ready(&client, &orchestrator).await;
    assert_eq!(ask(&client, &orchestrator.url(), "Weight?").await.1["experts"][3]["weight"], 1.0);
    let heavy = circle(agreeing(), &[(3, Model { weight: 2.5, ..agreeing() })]);
    let put = client.put(format!("{}/admin/circle", experts.url())).bearer_auth(TOKEN).json(&heavy);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let begin = Instant::now();
    let mut asked = 1;
    loop {
        let (_, verdict) = ask(&client, &orchestrator.url(), "Weight?").await;
        asked += 1;
        if verdict["experts"][3]["weight"] == 2.5 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{verdict}");
    }
    let metrics = text(&client, &format!("{}/metrics", orchestrator.url())).await;
    let voted = format!(
        "orchestrator_expert_calls_total{{expert=\"3\",type=\"openrouter_expert\",end=\"voted\"}} {asked}"
    );
    assert!(metrics.lines().any(|line| line == voted), "{voted} in\n{metrics}");
}

#[test]
fn a_circle_without_experts_is_refused_before_anything_is_bound() {
    let error = Running::<Orchestrator>::start(Options::default()).err().unwrap();
    assert!(matches!(&error, Error::Options(why) if why.contains("--experts URL")), "{error}");
    let options = Options { lists: vec!["https://h".into()], ..Options::default() };
    let error = Running::<Orchestrator>::start(options).err().unwrap();
    assert!(error.to_string().contains("\"https://h\" is not http://"), "{error}");
}
