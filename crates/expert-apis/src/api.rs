//! The four APIs: where a query goes, what authorises it, and what its body looks like around the prompt.

use serde_json::{Map, Value, json};

/// Which API an expert speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Anthropic's Messages.
    Anthropic,
    /// Google's generateContent and streamGenerateContent.
    Gemini,
    /// DeepSeek's chat completions.
    DeepSeek,
    /// OpenRouter's chat completions.
    OpenRouter,
}

/// The names by which a configuration calls them.
pub const APIS: [(&str, Api); 4] = [
    ("anthropic", Api::Anthropic),
    ("gemini", Api::Gemini),
    ("deepseek", Api::DeepSeek),
    ("openrouter", Api::OpenRouter),
];

/// What a query says beside its prompt.
#[derive(Debug)]
pub struct Asked<'a> {
    /// As the API names it.
    pub model: &'a str,
    /// What the model is told before.
    pub system: Option<&'a str>,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
    /// Whether the answer comes as server-sent events.
    pub stream: bool,
    /// Further members of the body.
    pub options: &'a Map<String, Value>,
}

/// A body but for its messages. Texts of messages go between the openings and `close`, escaped for JSON.
#[derive(Debug)]
pub struct Envelope {
    /// All before the first message.
    pub before: Vec<u8>,
    /// Opens a message of the user.
    pub user: &'static [u8],
    /// Opens one of the model; between two messages stands a comma.
    pub assistant: &'static [u8],
    /// Closes a message.
    pub close: &'static [u8],
    /// All after the last message.
    pub after: Vec<u8>,
}

impl Api {
    /// The members of the body that [`Api::envelope`] writes itself, which `options` may not set.
    #[must_use]
    pub const fn own_members(self) -> &'static [&'static str] {
        match self {
            Self::Anthropic => &["model", "max_tokens", "messages", "system", "stream"],
            Self::Gemini => &["contents", "systemInstruction"],
            Self::DeepSeek | Self::OpenRouter => {
                &["model", "max_tokens", "messages", "stream", "stream_options"]
            }
        }
    }

    /// Path and query of a request; `path` is what the configuration writes in the place of the API's own.
    #[must_use]
    pub fn target(self, model: &str, stream: bool, path: Option<&str>) -> String {
        let own = match (self, stream) {
            (Self::Anthropic, _) => "/v1/messages".to_owned(),
            (Self::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
            (Self::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            (Self::DeepSeek, _) => "/chat/completions".to_owned(),
            (Self::OpenRouter, _) => "/api/v1/chat/completions".to_owned(),
        };
        path.map_or(own, str::to_owned)
    }

    /// What authorises a request and says which version of the API is meant.
    #[must_use]
    pub fn headers(self, key: &str) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Self::Anthropic => vec![own("x-api-key", key), own("anthropic-version", "2023-06-01")],
            Self::Gemini => vec![own("x-goog-api-key", key)],
            Self::DeepSeek | Self::OpenRouter => vec![own("authorization", &format!("Bearer {key}"))],
        }
    }

    /// The body around the messages.
    #[must_use]
    pub fn envelope(self, asked: &Asked<'_>) -> Envelope {
        const CHAT: [&[u8]; 3] =
            [br#"{"role":"user","content":""#, br#"{"role":"assistant","content":""#, br#""}"#];
        const PARTS: [&[u8]; 3] =
            [br#"{"role":"user","parts":[{"text":""#, br#"{"role":"model","parts":[{"text":""#, br#""}]}"#];
        let mut members = asked.options.clone();
        let mut first = String::new();
        let (list, [user, assistant, close]) = match self {
            Self::Anthropic => {
                members.insert("model".into(), asked.model.into());
                members.insert("max_tokens".into(), asked.max_tokens.into());
                members.insert("stream".into(), asked.stream.into());
                if let Some(system) = asked.system {
                    members.insert("system".into(), system.into());
                }
                ("messages", CHAT)
            }
            Self::Gemini => {
                let config = members.entry("generationConfig").or_insert_with(|| json!({}));
                if let Some(config) = config.as_object_mut() {
                    config.entry("maxOutputTokens").or_insert_with(|| asked.max_tokens.into());
                }
                if let Some(system) = asked.system {
                    members.insert("systemInstruction".into(), json!({ "parts": [{ "text": system }] }));
                }
                ("contents", PARTS)
            }
            Self::DeepSeek | Self::OpenRouter => {
                members.insert("model".into(), asked.model.into());
                members.insert("max_tokens".into(), asked.max_tokens.into());
                members.insert("stream".into(), asked.stream.into());
                if asked.stream {
                    // Without it a stream has no token counts.
                    members.insert("stream_options".into(), json!({ "include_usage": true }));
                }
                if let Some(system) = asked.system {
                    first = format!("{},", json!({ "role": "system", "content": system }));
                }
                ("messages", CHAT)
            }
        };
        let mut before = Value::Object(members).to_string();
        before.pop();
        if before.len() > 1 {
            before.push(',');
        }
        before.push_str(&format!("\"{list}\":[{first}"));
        Envelope { before: before.into_bytes(), user, assistant, close, after: b"]}".to_vec() }
    }
}
