//! Anthropic's Messages.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Ask, End, Events, Reply, Wrong, text_of};
use crate::model::Failure;
use crate::plan::count;

pub(super) fn ask(headers: &HeaderMap, body: &Value) -> Result<Ask, String> {
    if headers.get("anthropic-version").is_none() {
        return Err("anthropic-version: header is required".to_owned());
    }
    let model = body["model"].as_str().ok_or("model: Field required")?;
    let max_tokens =
        body["max_tokens"].as_u64().filter(|most| *most > 0).ok_or("max_tokens: Field required")?;
    let messages = body["messages"].as_array().ok_or("messages: Field required")?;
    let of_user = messages.iter().rev().find(|message| message["role"] == "user");
    let question = text_of(&of_user.ok_or("messages: at least one user message is required")?["content"]);
    let said: u64 = messages.iter().map(|message| count(&text_of(&message["content"]))).sum();
    Ok(Ask {
        question,
        input_tokens: said + count(&text_of(&body["system"])),
        max_tokens: Some(max_tokens),
        stream: body["stream"].as_bool().unwrap_or(false),
        usage: true,
        model: model.to_owned(),
    })
}

fn message(reply: &Reply<'_>, content: &Value, stop: &Value, output_tokens: u64) -> Value {
    json!({
        "id": reply.id, "type": "message", "role": "assistant", "model": reply.model, "content": content,
        "stop_reason": stop, "stop_sequence": null,
        "usage": { "input_tokens": reply.input_tokens, "output_tokens": output_tokens },
    })
}

fn stop(end: End) -> &'static str {
    match end {
        End::Whole => "end_turn",
        End::Length => "max_tokens",
        End::Refusal => "refusal",
    }
}

pub(super) fn whole(reply: &Reply<'_>, text: &str) -> Value {
    let content = json!([{ "type": "text", "text": text }]);
    message(reply, &content, &json!(stop(reply.end)), reply.output_tokens)
}

pub(super) fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

pub(super) fn opening(reply: &Reply<'_>) -> Events {
    let start = json!({ "type": "message_start", "message": message(reply, &json!([]), &Value::Null, 1) });
    let block =
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    vec![
        event("message_start", &start),
        event("content_block_start", &block),
        event("ping", &json!({ "type": "ping" })),
    ]
}

pub(super) fn token(text: &str) -> String {
    let delta = json!({ "type": "text_delta", "text": text });
    event("content_block_delta", &json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
}

pub(super) fn closing(reply: &Reply<'_>) -> Events {
    let delta = json!({
        "type": "message_delta", "delta": { "stop_reason": stop(reply.end), "stop_sequence": null },
        "usage": { "output_tokens": reply.output_tokens },
    });
    vec![
        event("content_block_stop", &json!({ "type": "content_block_stop", "index": 0 })),
        event("message_delta", &delta),
        event("message_stop", &json!({ "type": "message_stop" })),
    ]
}

pub(super) fn error(wrong: Wrong<'_>) -> (StatusCode, Value) {
    let (status, kind, message) = match wrong {
        Wrong::Request(message) => (400, "invalid_request_error", message),
        Wrong::Key | Wrong::Failed(Failure::Unauthorized) => {
            (401, "authentication_error", "invalid x-api-key")
        }
        Wrong::Path => (404, "not_found_error", "Not found"),
        Wrong::Failed(Failure::Overloaded | Failure::Within) => (529, "overloaded_error", "Overloaded"),
        Wrong::Failed(Failure::RateLimited) => {
            (429, "rate_limit_error", "Number of requests exceeded the limit")
        }
        Wrong::Failed(Failure::Silent) => (504, "timeout_error", "Request timed out"),
        Wrong::Failed(_) => (500, "api_error", "Internal server error"),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json!({ "type": "error", "error": { "type": kind, "message": message } }))
}
