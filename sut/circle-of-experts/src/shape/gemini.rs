//! Google's `generateContent` and `streamGenerateContent`.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Ask, End, Reply, Wrong, text_of};
use crate::model::Failure;
use crate::plan::count;

pub(super) fn ask(path: &str, query: &str, body: &Value) -> Result<Option<Ask>, String> {
    let Some((model, method)) = path.strip_prefix("/v1beta/models/").and_then(|rest| rest.split_once(':'))
    else {
        return Ok(None);
    };
    let stream = match method {
        "generateContent" => false,
        "streamGenerateContent" if query.split('&').any(|pair| pair == "alt=sse") => true,
        "streamGenerateContent" => {
            return Err("this server streams events only: add alt=sse to the query".to_owned());
        }
        _ => return Ok(None),
    };
    let contents = body["contents"].as_array().ok_or("contents is not specified")?;
    // A content without a role is the user's.
    let of_user = contents.iter().rev().find(|content| content["role"] != "model");
    let question = text_of(&of_user.ok_or("contents: no content of the user")?["parts"]);
    let said: u64 = contents.iter().map(|content| count(&text_of(&content["parts"]))).sum();
    Ok(Some(Ask {
        question,
        input_tokens: said + count(&text_of(&body["systemInstruction"]["parts"])),
        max_tokens: body["generationConfig"]["maxOutputTokens"].as_u64(),
        stream,
        usage: true,
        model: model.to_owned(),
    }))
}

fn chunk(reply: &Reply<'_>, text: &str, finish: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": [{ "text": text }] }, "index": 0 });
    let mut chunk = json!({ "modelVersion": reply.model, "responseId": reply.id });
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
        chunk["usageMetadata"] = json!({
            "promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens,
            "totalTokenCount": reply.input_tokens + reply.output_tokens,
        });
    }
    chunk["candidates"] = json!([candidate]);
    chunk
}

fn finish(end: End) -> &'static str {
    match end {
        End::Whole => "STOP",
        End::Length => "MAX_TOKENS",
        End::Refusal => "SAFETY",
    }
}

pub(super) fn whole(reply: &Reply<'_>, text: &str) -> Value {
    chunk(reply, text, Some(finish(reply.end)))
}

pub(super) fn event(data: &Value) -> String {
    // As Google's servers frame it.
    format!("data: {data}\r\n\r\n")
}

pub(super) fn token(reply: &Reply<'_>, text: &str, last: bool) -> String {
    event(&chunk(reply, text, last.then(|| finish(reply.end))))
}

pub(super) fn error(wrong: Wrong<'_>) -> (StatusCode, Value) {
    let (code, status, message) = match wrong {
        Wrong::Request(message) => (400, "INVALID_ARGUMENT", message),
        Wrong::Key => (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        Wrong::Failed(Failure::Unauthorized) => (401, "UNAUTHENTICATED", "Request had invalid credentials."),
        Wrong::Path => (404, "NOT_FOUND", "Requested entity was not found."),
        Wrong::Failed(Failure::Overloaded | Failure::Within) => {
            (503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        }
        Wrong::Failed(Failure::RateLimited) => (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
        Wrong::Failed(Failure::Silent) => (504, "DEADLINE_EXCEEDED", "The deadline was exceeded."),
        Wrong::Failed(_) => (500, "INTERNAL", "An internal error has occurred."),
    };
    let mut error = json!({ "code": code, "message": message, "status": status });
    if code == 429 {
        // The only place where it says when to come again.
        error["details"] =
            json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s" }]);
    }
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json!({ "error": error }))
}
