//! From documents to an [`Answer`]: whole answers, events of streams, and errors.

use crate::answer::{Answer, Stop};
use crate::api::Api;
use crate::document::{Code, Completions, Error, Generated, Message, Spoken, Usage};
use crate::fault::{Cause, DENIED, Fault, Told, scaled};

/// Whether an answer that has ended is one; if not, why.
///
/// `how` is whether a stream was asked for, all of whose events have been read into `answer`, and whether there was any.
/// `status` is the answer's, `header` gives the value of a header by its name in lower case.
///
/// # Errors
/// What is wrong with it.
pub fn judge<'a>(
    api: Api,
    how: (bool, bool),
    (status, body): (u16, &[u8]),
    header: impl Fn(&str) -> Option<&'a [u8]>,
    answer: &mut Answer,
) -> Result<(), Fault> {
    let (stream, events) = how;
    if !(200..300).contains(&status) {
        return Err(Fault::error(api, status, error(body), header));
    }
    if !stream {
        whole(api, body, answer);
    } else if !events {
        // No stream of events: an error comes like that, and anything else is not what was asked for.
        answer.error = error(body);
        answer.malformed = true;
    }
    if let Some(told) = answer.error {
        return Err(Fault::error(api, status, Some(told), header));
    }
    if answer.malformed {
        return Err(Fault::new(Cause::Shape, false));
    }
    match answer.stop {
        Some(Stop::Refused) => return Err(Fault::new(Cause::Refused, false)),
        Some(Stop::Broken) => return Err(Fault::new(Cause::ErrorInside, true)),
        Some(_) if answer.ended => {}
        _ if stream => return Err(Fault::new(Cause::Truncated, true)),
        _ => return Err(Fault::new(Cause::Shape, false)),
    }
    if !answer.has_text && answer.stop != Some(Stop::Other) {
        return Err(Fault::new(Cause::Empty, false));
    }
    Ok(())
}

/// Reads a whole answer. What is wrong with it stands in the answer.
fn whole(api: Api, body: &[u8], answer: &mut Answer) {
    let read = match api {
        Api::Anthropic => parsed(body).map(|message| anthropic(&message, answer)),
        Api::Gemini => parsed(body).map(|generated| gemini(&generated, answer)),
        Api::DeepSeek | Api::OpenRouter => parsed(body).map(|completions| chat(&completions, answer)),
    };
    answer.malformed |= read.is_none();
    // An answer in one piece needs no end marker.
    answer.ended = true;
}

/// The error in a body with an error status. A body of another shape has none.
fn error(body: &[u8]) -> Option<Told> {
    // Every shape has it under `error`. Gemini's streams put it into a list when they are asked for no events.
    let body = body.trim_ascii();
    let body = body.strip_prefix(b"[").and_then(|body| body.strip_suffix(b"]")).unwrap_or(body);
    let document: Completions<'_> = serde_json::from_slice(body).ok()?;
    document.error.as_ref().map(told)
}

/// Reads the data of an event of a stream. Whether it has content, reasoning included.
pub fn event(api: Api, data: &[u8], answer: &mut Answer) -> bool {
    if api != Api::Anthropic && api != Api::Gemini && data == b"[DONE]" {
        answer.ended = true;
        return false;
    }
    let read = match api {
        Api::Anthropic => parsed(data).map(|message| anthropic(&message, answer)),
        Api::Gemini => parsed(data).map(|generated| gemini(&generated, answer)),
        Api::DeepSeek | Api::OpenRouter => parsed(data).map(|chunk| chat(&chunk, answer)),
    };
    answer.malformed |= read.is_none();
    read.unwrap_or(false)
}

fn parsed<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn anthropic(message: &Message<'_>, answer: &mut Answer) -> bool {
    if let Some(error) = &message.error {
        answer.error = Some(told(error));
        return false;
    }
    let mut content = false;
    match &*message.kind.0 {
        "message" => {
            for block in &message.content {
                content |= answer.say(&block.text.0);
            }
            stop(&message.stop_reason.0, anthropic_stop, answer);
            usage(message.usage.as_ref(), answer);
        }
        "message_start" => {
            usage(message.message.as_ref().and_then(|message| message.usage.as_ref()), answer);
        }
        "content_block_start" | "content_block_delta" => {
            for block in message.content_block.iter().chain(&message.delta) {
                content |= answer.say(&block.text.0) | !block.thinking.0.is_empty();
            }
        }
        "message_delta" => {
            if let Some(delta) = &message.delta {
                stop(&delta.stop_reason.0, anthropic_stop, answer);
            }
            usage(message.usage.as_ref(), answer);
        }
        "message_stop" => answer.ended = true,
        // `ping`, `content_block_stop`, and what is to come: new events are to be passed over.
        "" => answer.malformed = true,
        _ => {}
    }
    content
}

fn gemini(generated: &Generated<'_>, answer: &mut Answer) -> bool {
    if let Some(error) = &generated.error {
        answer.error = Some(told(error));
        return false;
    }
    let mut content = false;
    match generated.candidates.as_deref().unwrap_or_default().first() {
        Some(candidate) => {
            for part in candidate.content.iter().flat_map(|content| &content.parts) {
                content |= if part.thought { !part.text.0.is_empty() } else { answer.say(&part.text.0) };
            }
            stop(&candidate.finish_reason.0, gemini_stop, answer);
            answer.ended |= answer.stop.is_some();
        }
        None if generated
            .prompt_feedback
            .as_ref()
            .is_some_and(|feedback| feedback.block_reason.is_some()) =>
        {
            answer.stop = Some(Stop::Refused);
            answer.ended = true;
        }
        // A chunk may have token counts alone.
        None => answer.malformed |= generated.usage_metadata.is_none(),
    }
    usage(generated.usage_metadata.as_ref(), answer);
    content
}

fn chat(completions: &Completions<'_>, answer: &mut Answer) -> bool {
    if let Some(error) = &completions.error {
        answer.error = Some(told(error));
        return false;
    }
    let mut content = false;
    usage(completions.usage.as_ref(), answer);
    let Some(choices) = &completions.choices else {
        answer.malformed = true;
        return false;
    };
    // The chunk with the token counts has none.
    if let Some(choice) = choices.first() {
        if let Some(error) = &choice.error {
            answer.error = Some(told(error));
            return false;
        }
        if let Some(Spoken { content: text, reasoning_content, reasoning }) = &choice.message {
            content = answer.say(&text.0) | !reasoning_content.0.is_empty() | !reasoning.0.is_empty();
        }
        stop(&choice.finish_reason.0, chat_stop, answer);
    }
    content
}

fn stop(word: &str, meaning: fn(&str) -> Stop, answer: &mut Answer) {
    if !word.is_empty() {
        answer.stop = Some(meaning(word));
    }
}

fn anthropic_stop(word: &str) -> Stop {
    match word {
        "end_turn" | "stop_sequence" => Stop::Done,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" | "pause_turn" => Stop::Other,
        "refusal" => Stop::Refused,
        _ => Stop::Unknown,
    }
}

fn gemini_stop(word: &str) -> Stop {
    match word {
        "STOP" => Stop::Done,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            Stop::Refused
        }
        "MALFORMED_FUNCTION_CALL" | "OTHER" => Stop::Broken,
        _ => Stop::Unknown,
    }
}

fn chat_stop(word: &str) -> Stop {
    match word {
        "stop" => Stop::Done,
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Other,
        "content_filter" => Stop::Refused,
        "error" | "insufficient_system_resource" => Stop::Broken,
        _ => Stop::Unknown,
    }
}

/// Later counts take the place of earlier ones, which in a stream were of what had come so far.
fn usage(usage: Option<&Usage>, answer: &mut Answer) {
    let Some(usage) = usage else { return };
    answer.input_tokens = usage.input_tokens.or(answer.input_tokens);
    let output = usage.output_tokens.or_else(|| usage.thoughts.map(|_| 0));
    let output = output.map(|output| output.saturating_add(usage.thoughts.unwrap_or(0)));
    answer.output_tokens = output.or(answer.output_tokens);
}

fn told(error: &Error<'_>) -> Told {
    let status = match &error.code {
        Code::Number(number) => u16::try_from(*number).ok().filter(|status| (400..600).contains(status)),
        Code::Text(text) => text.parse().ok().or_else(|| kind(text)),
        Code::None => None,
    };
    let status = status.or_else(|| kind(&error.status.0)).or_else(|| kind(&error.kind.0)).unwrap_or(0);
    let mut told = Told { status, ..Told::default() };
    for detail in &error.details.0 {
        if detail.reason.0 == "API_KEY_INVALID" {
            told.status = DENIED;
        }
        let seconds = detail.retry_delay.0.strip_suffix('s').and_then(|seconds| scaled(seconds, 1e6));
        told.wait_us = seconds.or(told.wait_us);
        told.is_final |= detail.error_code.0 == "enforced_spend_limit_reached"
            || detail.violations.iter().any(|violation| violation.quota_id.0.contains("PerDay"));
    }
    told
}

/// The status that a kind of error goes with.
fn kind(word: &str) -> Option<u16> {
    Some(match word {
        "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => 400,
        "authentication_error" | "UNAUTHENTICATED" | "invalid_api_key" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" => 429,
        "api_error" | "server_error" | "INTERNAL" => 500,
        "UNAVAILABLE" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}
