//! Whole scenarios, as a worker would play them.

mod answers;
mod circle;
mod problems;
mod requests;
mod retries;
mod streams;

use gauntlet_sdk::testing::{Answer, Bench, Command, Said, Sent};
use gauntlet_sdk::{Scenario, Setup};
use serde_json::{Value, json};

use crate::Experts;

const USERS: u32 = 8;

/// The four APIs, by the names of their experts.
const APIS: [&str; 4] = ["anthropic", "gemini", "deepseek", "openrouter"];

fn bench(config: &Value) -> Bench<Experts> {
    Bench::new(&config.to_string(), 7, USERS).unwrap()
}

fn setup(config: &Value) -> Setup {
    Experts::configure(&config.to_string(), 7, USERS).unwrap().1
}

fn expert(api: &str) -> Value {
    json!({ "name": api, "api": api, "model": "model-1", "key": "secret" })
}

/// One expert, with further keys of the scenario.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn one(api: &str, more: Value) -> Value {
    let mut config = json!({ "experts": [expert(api)], "prompt": "Say {arrival}." });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// The one request of what was said.
#[track_caller]
fn only(said: &Said) -> Sent {
    assert_eq!(said.requests.len(), 1, "{said:?}");
    said.requests[0].clone()
}

/// An answer in one piece.
fn whole(api: &str, text: &str, tokens: u32) -> String {
    match api {
        "anthropic" => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "model-1",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 11, "output_tokens": tokens, "service_tier": "standard" },
        }),
        "gemini" => json!({
            "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" }, "finishReason": "STOP", "index": 0 }],
            "usageMetadata": { "promptTokenCount": 11, "candidatesTokenCount": tokens, "totalTokenCount": 11 + tokens },
            "modelVersion": "model-1",
        }),
        _ => json!({
            "id": "gen-1", "object": "chat.completion", "model": "model-1",
            "choices": [{
                "index": 0, "message": { "role": "assistant", "content": text, "reasoning_content": null },
                "finish_reason": "stop", "native_finish_reason": "stop", "logprobs": null,
            }],
            "usage": { "prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 11 + tokens },
        }),
    }
    .to_string()
}

/// Names of the checks of what was said that failed, or held.
fn checks(said: &Said, pass: bool) -> Vec<&str> {
    said.verdicts
        .iter()
        .filter(|verdict| verdict.pass == pass)
        .map(|verdict| verdict.check.as_str())
        .collect()
}

/// Values of a metric, whose name begins with this.
fn observed(setup: &Setup, said: &Said, name: &str) -> Vec<f64> {
    let index = setup.metrics.iter().position(|metric| metric.starts_with(name)).unwrap();
    let values = said.commands.iter().filter_map(|command| match command {
        Command::Observe { metric, value, .. } if *metric as usize == index => Some(*value),
        _ => None,
    });
    values.collect()
}

/// How the turn's operation ended.
fn ended(said: &Said) -> Option<bool> {
    said.commands.iter().find_map(|command| match command {
        Command::EndOperation { ok, .. } => Some(*ok),
        _ => None,
    })
}

/// The examples of `README.md`, as a plan hands them over.
#[test]
fn the_examples_of_the_readme_are_right() {
    let mut checked = 0;
    for (config, text) in guest_config::testing::examples(include_str!("../README.md")) {
        let found = Experts::configure(&config, 7, USERS).err();
        assert_eq!(found, None, "{text}");
        checked += 1;
    }
    assert_eq!(checked, 4);
}
