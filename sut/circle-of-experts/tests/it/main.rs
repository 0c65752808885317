//! The experts as their users meet them: over HTTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod fleet;
mod orchestrator;
mod traces;

use std::time::{Duration, Instant};

use circle_of_experts::model::{Failure, Model};
use circle_of_experts::plan::{plan, truth};
use circle_of_experts::shape::Shape;
use circle_of_experts::write_log::{Line, What};
use circle_of_experts::{Circle, Options, Running, Server};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

const TOKEN: &str = "let me in";
const QUESTION: &str = "Which of the four?";

fn start(all: Model) -> Running<Server> {
    let circle = Circle { seed: 5, all, ..Circle::default() };
    Running::start(Options { experts: 8, circle, admin_token: Some(TOKEN.into()), ..Options::default() })
        .unwrap()
}

/// Quick experts.
fn quick() -> Model {
    Model { first_token_ms: [0.0, 1.0], token_ms: [0.0, 0.1], ..Model::default() }
}

fn always(failure: Failure) -> Model {
    Model { failure_rate: 1.0, failures: vec![failure], ..quick() }
}

/// A question to an expert in its own API.
fn question(experts: &Running<Server>, expert: u32, text: &str, stream: bool) -> RequestBuilder {
    let messages = json!([{ "role": "user", "content": text }]);
    let (path, body) = match Shape::of(expert) {
        Shape::Anthropic => (
            "/v1/messages",
            json!({ "model": "m", "max_tokens": 100, "stream": stream, "messages": messages }),
        ),
        Shape::Gemini => (
            if stream {
                "/v1beta/models/m:streamGenerateContent?alt=sse"
            } else {
                "/v1beta/models/m:generateContent"
            },
            json!({ "contents": [{ "parts": [{ "text": text }] }] }),
        ),
        Shape::DeepSeek => {
            ("/chat/completions", json!({ "model": "m", "stream": stream, "messages": messages }))
        }
        Shape::OpenRouter => {
            ("/api/v1/chat/completions", json!({ "model": "m", "stream": stream, "messages": messages }))
        }
    };
    let request = reqwest::Client::new().post(format!("{}/experts/{expert}{path}", experts.url()));
    request.header("anthropic-version", "2023-06-01").json(&body)
}

async fn ask(experts: &Running<Server>, expert: u32, stream: bool) -> Response {
    question(experts, expert, QUESTION, stream).send().await.unwrap()
}

/// The text of an answer that is no stream, and its output tokens.
fn whole(expert: u32, answer: &Value) -> (String, u64) {
    let (text, tokens) = match Shape::of(expert) {
        Shape::Anthropic => (&answer["content"][0]["text"], &answer["usage"]["output_tokens"]),
        Shape::Gemini => (
            &answer["candidates"][0]["content"]["parts"][0]["text"],
            &answer["usageMetadata"]["candidatesTokenCount"],
        ),
        _ => (&answer["choices"][0]["message"]["content"], &answer["usage"]["completion_tokens"]),
    };
    (text.as_str().unwrap().to_owned(), tokens.as_u64().unwrap())
}

/// The tokens of a stream.
fn tokens(expert: u32, stream: &str) -> Vec<String> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let texts = data.filter_map(|data| {
        let event: Value = serde_json::from_str(data).unwrap();
        let text = match Shape::of(expert) {
            Shape::Anthropic => &event["delta"]["text"],
            Shape::Gemini => &event["candidates"][0]["content"]["parts"][0]["text"],
            _ => &event["choices"][0]["delta"]["content"],
        };
        text.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    });
    texts.collect()
}

fn is_whole(expert: u32, stream: &str) -> bool {
    match Shape::of(expert) {
        Shape::Anthropic => stream.contains("event: message_stop\n"),
        Shape::Gemini => stream.contains("\"finishReason\":\"STOP\""),
        _ => stream.ends_with("data: [DONE]\n\n"),
    }
}

#[tokio::test]
async fn every_expert_says_what_its_plan_says_streamed_or_not() {
    let experts = start(quick());
    for expert in 0..8 {
        let plan = plan(5, &quick(), expert, QUESTION);
        let said: Vec<&str> = plan.tokens.iter().map(|(_, token)| *token).collect();
        let answer = ask(&experts, expert, false).await;
        assert_eq!(answer.status(), 200);
        let (text, count) = whole(expert, &answer.json().await.unwrap());
        assert_eq!((text, count), (said.concat(), said.len() as u64));
        assert!(said.concat().starts_with(&format!("Answer: {}", plan.vote.unwrap())));

        let answer = ask(&experts, expert, true).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let stream = answer.text().await.unwrap();
        assert_eq!(tokens(expert, &stream), said);
        assert!(is_whole(expert, &stream), "{stream}");
    }
}

#[tokio::test]
async fn failures_are_those_of_the_plan() {
    let experts = start(quick());
    let put = |all: Model| {
        let circle = Circle { seed: 5, all, ..Circle::default() };
        let request = reqwest::Client::new().put(format!("{}/admin/circle", experts.url()));
        async move { request.bearer_auth(TOKEN).json(&circle).send().await.unwrap().status() }
    };
    assert_eq!(put(always(Failure::Overloaded)).await, 200);
    for (expert, status) in [(0, 529), (1, 503), (2, 503), (3, 503)] {
        assert_eq!(ask(&experts, expert, true).await.status(), status);
    }
    assert_eq!(put(always(Failure::RateLimited)).await, 200);
    for expert in 0..4 {
        let answer = ask(&experts, expert, false).await;
        let header = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(answer.status(), 429);
        let body = answer.text().await.unwrap();
        if Shape::of(expert) == Shape::Gemini {
            assert!(header.is_none() && body.contains("\"retryDelay\":\"1s\""), "{body}");
        } else {
            assert_eq!(header.as_deref(), Some("1"));
        }
    }
    assert_eq!(put(always(Failure::Truncated)).await, 200);
    for expert in 0..4 {
        let stream = ask(&experts, expert, true).await.text().await.unwrap();
        let planned = plan(5, &always(Failure::Truncated), expert, QUESTION).tokens.len();
        assert_eq!((tokens(expert, &stream).len(), is_whole(expert, &stream)), (planned / 2, false));
        // Before or behind its head: where the connection ends is the network's affair.
        let cut = async { question(&experts, expert, QUESTION, false).send().await?.text().await };
        cut.await.unwrap_err();
    }
    assert_eq!(put(always(Failure::Within)).await, 200);
    for expert in 0..4 {
        for stream in [true, false] {
            let answer = ask(&experts, expert, stream).await;
            assert_eq!(answer.status(), 200);
            let text = answer.text().await.unwrap();
            assert!(text.contains("\"error\"") && !is_whole(expert, &text), "{text}");
        }
    }
    assert_eq!(put(always(Failure::Refusal)).await, 200);
    let answer: Value = ask(&experts, 0, false).await.json().await.unwrap();
    assert_eq!((&answer["stop_reason"], whole(0, &answer).0.contains("Answer:")), (&json!("refusal"), false));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_the_vendor_does() {
    let options = Options { experts: 4, api_key: Some("right".into()), ..Options::default() };
    let experts = Running::<Server>::start(options).unwrap();
    for (expert, header, value) in
        [(0, "x-api-key", "right"), (1, "x-goog-api-key", "right"), (2, "authorization", "Bearer right")]
    {
        let without = ask(&experts, expert, false).await.status();
        assert_eq!(without, if expert == 1 { 400 } else { 401 });
        let with = question(&experts, expert, QUESTION, false).header(header, value);
        assert_eq!(with.send().await.unwrap().status(), 200);
    }
    let post = |path: &str, body: &'static str| {
        let request = reqwest::Client::new().post(format!("{}{path}", experts.url()));
        request.header("authorization", "Bearer right").body(body).send()
    };
    assert_eq!(post("/experts/3/v1/messages", "{}").await.unwrap().status(), 404);
    assert_eq!(post("/experts/3/api/v1/chat/completions", "no").await.unwrap().status(), 400);
    let answer = post("/experts/4/api/v1/chat/completions", "{}").await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("there are 4 of them"));
}

#[tokio::test]
async fn more_than_a_second_allows_are_told_to_come_later() {
    let experts = start(Model { per_second: 1, ..quick() });
    let begin = Instant::now();
    let mut limited = 0;
    while limited == 0 {
        limited += usize::from(ask(&experts, 0, false).await.status() == 429);
        assert!(begin.elapsed() < Duration::from_secs(60), "the limit was never reached");
    }
    while ask(&experts, 0, false).await.status() != 200 {
        assert!(begin.elapsed() < Duration::from_secs(60), "the next second never came");
    }
}

#[tokio::test]
async fn the_log_has_each_token_with_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("writes.log");
    let all =
        Model { first_token_ms: [200.0, 200.0], token_ms: [20.0, 20.0], tokens: [6, 6], ..Model::default() };
    let circle = Circle { all, ..Circle::default() };
    let options = Options { experts: 4, circle, write_log: Some(path.clone()), ..Options::default() };
    let experts = Running::<Server>::start(options).unwrap();
    for expert in 0..4 {
        let request = question(&experts, expert, QUESTION, true).header("x-gauntlet-arrival", 70 + expert);
        let stream = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(tokens(expert, &stream).len(), 6);
    }
    ask(&experts, 0, false).await.text().await.unwrap();
    experts.stop().unwrap();
    let lines = Line::read_all(&path).unwrap();
    for expert in 0..4 {
        let of: Vec<_> = lines.iter().filter(|line| line.arrival == Some(70 + u64::from(expert))).collect();
        assert!(of.iter().all(|line| line.expert == expert && line.request == of[0].request));
        assert_eq!(of[0].what, What::Asked);
        let times: Vec<u64> =
            of.iter().filter(|line| line.what == What::Token).map(|line| line.mono_ns).collect();
        assert_eq!(times.len(), 6);
        for (n, time) in (0..).zip(&times) {
            assert!(
                time - of[0].mono_ns >= (200 + n * 20) * 1_000_000,
                "token {n} of {expert} came too soon"
            );
        }
        assert_eq!(of.iter().any(|line| line.what == What::Close), Shape::of(expert) != Shape::Gemini);
    }
    let last: Vec<_> = lines.iter().filter(|line| line.request == 4).map(|line| line.what).collect();
    assert_eq!(last, [What::Asked, What::Whole]);
}

#[tokio::test]
async fn a_vote_has_a_right_answer_that_is_told() {
    let experts = start(Model { failure_rate: 0.4, quality: 0.9, ..quick() });
    let client = reqwest::Client::new();
    let planned = client.get(format!("{}/admin/plan?question=Which%20of%20the%20four%3F", experts.url()));
    assert_eq!(planned.try_clone().unwrap().send().await.unwrap().status(), 401);
    let planned: Value = planned.bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(planned["truth"], truth(5, QUESTION));
    for expert in 0..8 {
        let of = &planned["experts"][expert as usize];
        let answer = ask(&experts, expert, false).await;
        match of["failure"].as_str() {
            None => {
                let (text, _) = whole(expert, &answer.json().await.unwrap());
                assert!(
                    text.starts_with(&format!("Answer: {}", of["vote"].as_str().unwrap())),
                    "{text} {of}"
                );
            }
            Some("truncated" | "within" | "refusal") => assert_eq!(answer.status(), 200),
            Some(_) => assert_ne!(answer.status(), 200),
        }
    }
    let listed = client.get(format!("{}/experts", experts.url())).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["experts"].as_array().unwrap().len(), 8);
    assert_eq!(listed["experts"][7]["path"], "/experts/7/api/v1/chat/completions");
}

#[tokio::test]
async fn metrics_count_what_became_of_requests_and_who_goes_away_is_counted() {
    let experts = start(Model { first_token_ms: [60_000.0, 60_000.0], ..quick() });
    let client = reqwest::Client::new();
    let request = question(&experts, 2, QUESTION, true).timeout(Duration::from_secs(1));
    request.send().await.unwrap().text().await.unwrap_err();
    let begin = Instant::now();
    let cancelled = "experts_requests_total{expert=\"2\",type=\"deepseek_expert\",outcome=\"cancelled\"} 1\n";
    loop {
        let metrics = client.get(format!("{}/metrics", experts.url())).send().await.unwrap();
        let text = metrics.text().await.unwrap();
        if text.contains(cancelled) {
            assert!(text.contains("experts_requests_in_progress{expert=\"2\"} 0\n"), "{text}");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{text}");
    }
}

#[tokio::test]
async fn a_circle_needs_the_token_and_sensible_values() {
    let experts = start(quick());
    let client = reqwest::Client::new();
    let put = |body: Value| client.put(format!("{}/admin/circle", experts.url())).json(&body);
    assert_eq!(put(json!({})).send().await.unwrap().status(), 401);
    let wrong = json!({ "all": { "quality": 3 }, "experts": { "8": {} } });
    let refused = put(wrong).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let text = refused.text().await.unwrap();
    assert!(text.contains("all.quality: 3") && text.contains("experts.8: there are only the 8"), "{text}");
    let one = json!({ "experts": { "3": { "quality": 1.0, "weight": 2.5 } } });
    assert_eq!(put(one).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    let listed = client.get(format!("{}/experts", experts.url())).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(
        (&listed["experts"][3]["weight"], &listed["experts"][4]["weight"]),
        (&json!(2.5), &json!(1.0))
    );
}

#[tokio::test]
async fn a_bad_version_is_rolled_out_and_back() {
    let experts = start(quick());
    let client = reqwest::Client::new();
    let url = |name: &str| format!("{}/admin/versions{name}", experts.url());
    let version = async || {
        let answer = client.get(format!("{}/version", experts.url())).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["version"].clone()
    };
    let bad = Circle { seed: 5, all: always(Failure::Overloaded), ..Circle::default() };
    let bad = client.put(url("/2-bad")).json(&bad);
    assert_eq!(bad.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(version().await, "1");
    assert_eq!(bad.bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    assert_eq!((version().await, ask(&experts, 0, false).await.status().as_u16()), (json!("2-bad"), 529));

    let none = client.post(url("/3")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(none.status(), 404);
    assert!(none.text().await.unwrap().contains("there are: 1, 2-bad"));
    assert_eq!(client.post(url("/1")).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    assert_eq!((version().await, ask(&experts, 0, false).await.status().as_u16()), (json!("1"), 200));

    for (name, circle) in [("/a%20b", json!({})), ("/4", json!({ "all": { "quality": 3 } }))] {
        let wrong = client.put(url(name)).bearer_auth(TOKEN).json(&circle).send().await.unwrap();
        assert_eq!(wrong.status(), 422, "{name}");
    }
    let kept: Value = client.get(url("")).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!((&kept["active"], kept["kept"].as_array().unwrap().len()), (&json!("1"), 2), "{kept}");
    assert_eq!(kept["kept"][1]["circle"]["all"]["failure_rate"], 1.0);
}

#[tokio::test]
async fn the_memory_knob_holds_memory() {
    let experts = start(quick());
    let client = reqwest::Client::new();
    let resident = async || {
        let text =
            client.get(format!("{}/metrics", experts.url())).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = resident().await;
    let put = client.put(format!("{}/admin/circle", experts.url())).json(&json!({ "memory_mb": 300 }));
    assert_eq!(put.bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    // Tests beside this one in the process use and free some, too.
    let held = resident().await;
    assert!(held > before + 200_000_000, "{before} and then {held}");
}

#[test]
fn wrong_models_are_refused_before_anything_is_bound() {
    let all = Model { tokens: [9, 3], ..Model::default() };
    let circle = Circle { all, ..Circle::default() };
    let error = Running::<Server>::start(Options { circle, ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("all.tokens"), "{error}");
}
