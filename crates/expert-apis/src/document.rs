//! The JSON of the four APIs, read without copying: answers, chunks and events, errors among them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// A text; null and whatever is no text are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Text<'de>, A::Error> {
                while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
        }

        from.deserialize_any(Texts)
    }
}

/// The code of an error: a number, or a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Code<'a> {
    #[default]
    None,
    Number(u64),
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Code<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Codes;

        impl<'de> Visitor<'de> for Codes {
            type Value = Code<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text or null")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Code<'de>, E> {
                Ok(Code::Number(number))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Code<'de>, E> {
                Ok(Code::None)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Code<'de>, E> {
                Ok(Code::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Code<'de>, E> {
                Ok(Code::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Code<'de>, E> {
                Ok(Code::None)
            }
        }

        from.deserialize_any(Codes)
    }
}

/// An error in any of the shapes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Error<'a> {
    #[serde(borrow)]
    pub(crate) code: Code<'a>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Text<'a>,
    /// Gemini: `RESOURCE_EXHAUSTED` and its like.
    #[serde(borrow)]
    pub(crate) status: Text<'a>,
    #[serde(borrow)]
    pub(crate) details: Details<'a>,
}

/// Gemini gives a list, Anthropic one table.
#[derive(Debug, Default)]
pub(crate) struct Details<'a>(pub(crate) Vec<Detail<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Details<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Details<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of details, one of them, or null")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Details<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some(detail) = list.next_element()? {
                    // What a test or a proxy makes up is bounded by the body's limit.
                    all.push(detail);
                }
                Ok(Details(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Details<'de>, A::Error> {
                Ok(Details(vec![Detail::deserialize(MapAccessDeserializer::new(table))?]))
            }

            fn visit_unit<E>(self) -> Result<Details<'de>, E> {
                Ok(Details::default())
            }
        }

        from.deserialize_any(Either)
    }
}

/// A detail of an error: of each kind what is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Detail<'a> {
    /// Gemini's RetryInfo: `45.837906927s`.
    #[serde(borrow, rename = "retryDelay")]
    pub(crate) retry_delay: Text<'a>,
    /// Gemini's QuotaFailure.
    #[serde(borrow)]
    pub(crate) violations: Vec<Violation<'a>>,
    /// Gemini's ErrorInfo: `API_KEY_INVALID`.
    #[serde(borrow)]
    pub(crate) reason: Text<'a>,
    /// Anthropic: `enforced_spend_limit_reached`.
    #[serde(borrow)]
    pub(crate) error_code: Text<'a>,
}

/// A quota that was exceeded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Violation<'a> {
    #[serde(borrow, rename = "quotaId")]
    pub(crate) quota_id: Text<'a>,
}

/// Tokens that were counted; in a stream they may come in parts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    #[serde(alias = "prompt_tokens", alias = "promptTokenCount")]
    pub(crate) input_tokens: Option<u32>,
    #[serde(alias = "completion_tokens", alias = "candidatesTokenCount")]
    pub(crate) output_tokens: Option<u32>,
    /// Gemini counts reasoning apart; the others have it in their output.
    #[serde(rename = "thoughtsTokenCount")]
    pub(crate) thoughts: Option<u32>,
}

/// Anthropic: an answer, or any event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Text<'a>,
    #[serde(borrow)]
    pub(crate) content: Vec<Block<'a>>,
    #[serde(borrow)]
    pub(crate) stop_reason: Text<'a>,
    pub(crate) usage: Option<Usage>,
    #[serde(borrow)]
    pub(crate) error: Option<Error<'a>>,
    /// Of `message_start`.
    pub(crate) message: Option<Started>,
    /// Of `content_block_start`.
    #[serde(borrow)]
    pub(crate) content_block: Option<Block<'a>>,
    /// Of `content_block_delta` and `message_delta`.
    #[serde(borrow)]
    pub(crate) delta: Option<Block<'a>>,
}

/// The message that a stream starts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Started {
    pub(crate) usage: Option<Usage>,
}

/// A block of content, or what is added to one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Block<'a> {
    #[serde(borrow)]
    pub(crate) text: Text<'a>,
    #[serde(borrow)]
    pub(crate) thinking: Text<'a>,
    #[serde(borrow)]
    pub(crate) stop_reason: Text<'a>,
}

/// Chat completions: an answer, or a chunk of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Completions<'a> {
    #[serde(borrow)]
    pub(crate) choices: Option<Vec<Choice<'a>>>,
    pub(crate) usage: Option<Usage>,
    #[serde(borrow)]
    pub(crate) error: Option<Error<'a>>,
}

/// The first of these is the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Choice<'a> {
    #[serde(borrow, alias = "delta")]
    pub(crate) message: Option<Spoken<'a>>,
    #[serde(borrow)]
    pub(crate) finish_reason: Text<'a>,
    /// OpenRouter, when a provider fails in the middle.
    #[serde(borrow)]
    pub(crate) error: Option<Error<'a>>,
}

/// What a model says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spoken<'a> {
    #[serde(borrow)]
    pub(crate) content: Text<'a>,
    /// DeepSeek's name for it.
    #[serde(borrow)]
    pub(crate) reasoning_content: Text<'a>,
    /// OpenRouter's.
    #[serde(borrow)]
    pub(crate) reasoning: Text<'a>,
}

/// Gemini: an answer, or a chunk of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Generated<'a> {
    #[serde(borrow)]
    pub(crate) candidates: Option<Vec<Candidate<'a>>>,
    pub(crate) usage_metadata: Option<Usage>,
    pub(crate) prompt_feedback: Option<Feedback>,
    #[serde(borrow)]
    pub(crate) error: Option<Error<'a>>,
}

/// The first of these is the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Candidate<'a> {
    #[serde(borrow)]
    pub(crate) content: Option<Content<'a>>,
    #[serde(borrow)]
    pub(crate) finish_reason: Text<'a>,
}

/// Parts of a text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Content<'a> {
    #[serde(borrow)]
    pub(crate) parts: Vec<Part<'a>>,
}

/// A part of a text, or of the reasoning before it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part<'a> {
    #[serde(borrow)]
    pub(crate) text: Text<'a>,
    pub(crate) thought: bool,
}

/// Why a prompt was not answered at all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Feedback {
    pub(crate) block_reason: Option<IgnoredAny>,
}
