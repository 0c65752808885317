//! Chat completions, of DeepSeek and of OpenRouter.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Ask, End, Events, Reply, Wrong, text_of};
use crate::model::Failure;
use crate::plan::count;

pub(super) fn ask(body: &Value) -> Result<Ask, String> {
    let model = body["model"].as_str().ok_or("missing field `model`")?;
    let messages = body["messages"].as_array().ok_or("missing field `messages`")?;
    let of_user = messages.iter().rev().find(|message| message["role"] == "user");
    let question = text_of(&of_user.ok_or("messages: no message of the user")?["content"]);
    Ok(Ask {
        question,
        input_tokens: messages.iter().map(|message| count(&text_of(&message["content"]))).sum(),
        max_tokens: body["max_tokens"].as_u64(),
        stream: body["stream"].as_bool().unwrap_or(false),
        usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
        model: model.to_owned(),
    })
}

fn finish(end: End) -> &'static str {
    match end {
        End::Whole => "stop",
        End::Length => "length",
        End::Refusal => "content_filter",
    }
}

fn usage(reply: &Reply<'_>) -> Value {
    let total = reply.input_tokens + reply.output_tokens;
    json!({
        "prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total,
    })
}

/// What answers and chunks have in common.
fn object(reply: &Reply<'_>, kind: &str, choices: &Value, router: bool) -> Value {
    // A fixed instant: the answer is a function of what was asked.
    let mut object = json!({
        "id": reply.id, "object": kind, "created": 1_700_000_000, "model": reply.model, "choices": choices,
    });
    if router {
        object["provider"] = json!("Reference");
    }
    object
}

fn choice(key: &str, content: Value, finish: &Value, router: bool) -> Value {
    let mut choice = json!({ "index": 0, "finish_reason": finish });
    choice[key] = content;
    if router {
        choice["native_finish_reason"] = choice["finish_reason"].clone();
    }
    json!([choice])
}

pub(super) fn whole(reply: &Reply<'_>, text: &str, router: bool) -> Value {
    let message = json!({ "role": "assistant", "content": text });
    let choices = choice("message", message, &json!(finish(reply.end)), router);
    let mut whole = object(reply, "chat.completion", &choices, router);
    whole["usage"] = usage(reply);
    whole
}

pub(super) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn chunk(reply: &Reply<'_>, delta: Value, finish: &Value, router: bool) -> Value {
    object(reply, "chat.completion.chunk", &choice("delta", delta, finish, router), router)
}

pub(super) fn opening(reply: &Reply<'_>, router: bool) -> Events {
    let comment = if router { ": OPENROUTER PROCESSING\n\n" } else { ": keep-alive\n\n" };
    let role = chunk(reply, json!({ "role": "assistant", "content": "" }), &Value::Null, router);
    vec![comment.to_owned(), event(&role)]
}

pub(super) fn token(reply: &Reply<'_>, text: &str, router: bool) -> String {
    event(&chunk(reply, json!({ "content": text }), &Value::Null, router))
}

pub(super) fn closing(reply: &Reply<'_>, router: bool) -> Events {
    let mut events = vec![event(&chunk(reply, json!({ "content": "" }), &json!(finish(reply.end)), router))];
    // OpenRouter always tells it.
    if reply.usage || router {
        let mut last = object(reply, "chat.completion.chunk", &json!([]), router);
        last["usage"] = usage(reply);
        events.push(event(&last));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// OpenRouter ends a stream with an error in a chunk that has a choice, too.
pub(super) fn error_event(reply: &Reply<'_>, error: &Value) -> String {
    let mut last = chunk(reply, json!({ "content": "" }), &json!("error"), true);
    last["error"] = error["error"].clone();
    event(&last)
}

pub(super) fn error(wrong: Wrong<'_>, router: bool) -> (StatusCode, Value) {
    let (code, kind, message) = match wrong {
        Wrong::Request(message) => (400, "invalid_request_error", message),
        Wrong::Key | Wrong::Failed(Failure::Unauthorized) => (401, "authentication_error", "invalid API key"),
        Wrong::Path => (404, "not_found", "Not Found"),
        Wrong::Failed(Failure::Overloaded | Failure::Within) => {
            (503, "server_overloaded", "Server overloaded")
        }
        Wrong::Failed(Failure::RateLimited) => (429, "rate_limit_reached", "Rate limit reached"),
        Wrong::Failed(Failure::Silent) => (504, "timeout", "Gateway timeout"),
        Wrong::Failed(_) => (500, "server_error", "Server error"),
    };
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if router {
        return (status, json!({ "error": { "code": code, "message": message, "metadata": {} } }));
    }
    (status, json!({ "error": { "message": message, "type": kind, "param": null, "code": kind } }))
}
