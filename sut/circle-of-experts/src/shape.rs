//! The four APIs: what a request asks for, and what answers, streams and errors look like.

mod anthropic;
mod chat;
mod gemini;

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::model::Failure;

/// Whose API an expert speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anthropic's Messages: `claude_expert`.
    Anthropic,
    /// Google's `generateContent` and `streamGenerateContent`: `gemini_expert`.
    Gemini,
    /// DeepSeek's chat completions: `deepseek_expert`.
    DeepSeek,
    /// OpenRouter's chat completions: `openrouter_expert`.
    OpenRouter,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The last thing that the user said.
    pub(crate) question: String,
    /// Tokens of all that was said.
    pub(crate) input_tokens: u64,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) stream: bool,
    /// Whether a stream is to tell its usage, where one has to ask for that.
    pub(crate) usage: bool,
    pub(crate) model: String,
}

/// What an answer is made of.
pub(crate) struct Reply<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) end: End,
    /// Whether a stream tells its usage, where one has to ask for that.
    pub(crate) usage: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Length,
    Refusal,
}

/// An error that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong<'a> {
    /// The request is none of this API's.
    Request(&'a str),
    /// The key is wrong.
    Key,
    /// There is no such path or method.
    Path,
    /// One of those that are drawn, or too many in a second.
    Failed(Failure),
}

/// Events of a stream: the text between two blank lines, and these.
pub(crate) type Events = Vec<String>;

impl Shape {
    /// Of the expert with this number: the four in turn.
    #[must_use]
    pub fn of(expert: u32) -> Self {
        [Self::Anthropic, Self::Gemini, Self::DeepSeek, Self::OpenRouter][(expert % 4) as usize]
    }

    /// The type of expert.
    #[must_use]
    pub fn expert(self) -> &'static str {
        match self {
            Self::Anthropic => "claude_expert",
            Self::Gemini => "gemini_expert",
            Self::DeepSeek => "deepseek_expert",
            Self::OpenRouter => "openrouter_expert",
        }
    }

    /// Where it takes questions, below the expert's own path; a request for another path is refused in its words.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::Gemini => "/v1beta/models/expert:generateContent",
            Self::DeepSeek => "/chat/completions",
            Self::OpenRouter => "/api/v1/chat/completions",
        }
    }

    /// The key that a request carries.
    pub(crate) fn key(self, headers: &HeaderMap) -> Option<&str> {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        match self {
            Self::Anthropic => header("x-api-key"),
            Self::Gemini => header("x-goog-api-key"),
            Self::DeepSeek | Self::OpenRouter => header("authorization")?.strip_prefix("Bearer "),
        }
    }

    /// What a request asks for.
    ///
    /// `Ok(None)` = this API has no such path. An error says what is wrong with the request.
    pub(crate) fn ask(
        self,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &Value,
    ) -> Result<Option<Ask>, String> {
        let ours = match self {
            Self::Gemini => return gemini::ask(path, query, body),
            Self::Anthropic => path == "/v1/messages",
            Self::DeepSeek => path == "/chat/completions" || path == "/v1/chat/completions",
            Self::OpenRouter => path == "/api/v1/chat/completions",
        };
        match self {
            _ if !ours => Ok(None),
            Self::Anthropic => anthropic::ask(headers, body).map(Some),
            _ => chat::ask(body).map(Some),
        }
    }

    /// A whole answer.
    pub(crate) fn whole(self, reply: &Reply<'_>, text: &str) -> Value {
        match self {
            Self::Anthropic => anthropic::whole(reply, text),
            Self::Gemini => gemini::whole(reply, text),
            Self::DeepSeek => chat::whole(reply, text, false),
            Self::OpenRouter => chat::whole(reply, text, true),
        }
    }

    /// What is said before the first token, at once.
    pub(crate) fn opening(self, reply: &Reply<'_>) -> Events {
        match self {
            Self::Anthropic => anthropic::opening(reply),
            Self::Gemini => Vec::new(),
            Self::DeepSeek => chat::opening(reply, false),
            Self::OpenRouter => chat::opening(reply, true),
        }
    }

    /// One token.
    pub(crate) fn token(self, reply: &Reply<'_>, text: &str, last: bool) -> String {
        match self {
            Self::Anthropic => anthropic::token(text),
            Self::Gemini => gemini::token(reply, text, last),
            Self::DeepSeek => chat::token(reply, text, false),
            Self::OpenRouter => chat::token(reply, text, true),
        }
    }

    /// What is said after the last token, without which the stream is not whole; of Gemini it is in the last token's event.
    pub(crate) fn closing(self, reply: &Reply<'_>) -> Events {
        match self {
            Self::Anthropic => anthropic::closing(reply),
            Self::Gemini => Vec::new(),
            Self::DeepSeek => chat::closing(reply, false),
            Self::OpenRouter => chat::closing(reply, true),
        }
    }

    /// An error in the midst of a stream.
    pub(crate) fn error_event(self, reply: &Reply<'_>) -> String {
        let (_, body) = self.error(Wrong::Failed(Failure::Overloaded));
        match self {
            Self::Anthropic => anthropic::event("error", &body),
            Self::Gemini => gemini::event(&body),
            Self::DeepSeek => chat::event(&body),
            Self::OpenRouter => chat::error_event(reply, &body),
        }
    }

    /// Status and body of an error.
    pub(crate) fn error(self, wrong: Wrong<'_>) -> (StatusCode, Value) {
        match self {
            Self::Anthropic => anthropic::error(wrong),
            Self::Gemini => gemini::error(wrong),
            Self::DeepSeek => chat::error(wrong, false),
            Self::OpenRouter => chat::error(wrong, true),
        }
    }
}

/// All the text in a value of a message's content: a string, or a list of parts with `text`.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
