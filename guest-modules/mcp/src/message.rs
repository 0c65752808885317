//! JSON-RPC messages, read without a tree: of each only where its parts stand.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One message as it came.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A text that is copied only when it has escapes.
#[derive(Debug, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// What a message is.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// The server wants something of the client: id, method, parameters.
    Request(&'a RawValue, Cow<'a, str>, Option<&'a RawValue>),
    Notification(Cow<'a, str>, Option<&'a RawValue>),
    /// A response with this id, if any, and a result.
    Result(Option<&'a RawValue>, &'a RawValue),
    /// The same with an error.
    Error(Option<&'a RawValue>, RpcError<'a>),
    /// JSON, but no message.
    Invalid,
}

/// Why a request failed.
#[derive(Debug, Deserialize)]
pub(crate) struct RpcError<'a> {
    pub(crate) code: i64,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl RpcError<'_> {
    pub(crate) fn message(&self) -> &str {
        self.message.as_ref().map_or("", |text| &text.0)
    }

    /// The revisions that a server names when it does not speak the one asked for.
    pub(crate) fn supported(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Data {
            supported: Vec<String>,
        }
        self.data
            .and_then(|data| serde_json::from_str::<Data>(data.get()).ok())
            .map_or_else(Vec::new, |data| data.supported)
    }
}

/// Codes that only servers of 2026-07-28 and later give.
pub(crate) const HEADER_MISMATCH: i64 = -32_020;
pub(crate) const CAPABILITY_MISSING: i64 = -32_021;
pub(crate) const VERSION_UNSUPPORTED: i64 = -32_022;
pub(crate) const METHOD_NOT_FOUND: i64 = -32_601;

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// When it is not a JSON object whose parts are of the right kinds; `true` when it is JSON at all.
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, bool> {
        serde_json::from_slice(text)
            .map_err(|_| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok())
    }

    /// What it is, by the members that it has.
    pub(crate) fn kind(self) -> Kind<'a> {
        let Self { jsonrpc, id, method, params, result, error } = self;
        if jsonrpc.is_none_or(|version| version.0 != "2.0") {
            return Kind::Invalid;
        }
        match (method, id, result, error) {
            (Some(method), Some(id), None, None) => Kind::Request(id, method.0, params),
            (Some(method), None, None, None) => Kind::Notification(method.0, params),
            (None, id, Some(result), None) => Kind::Result(id, result),
            (None, id, None, Some(error)) => match serde_json::from_str(error.get()) {
                Ok(error) => Kind::Error(id, error),
                Err(_) => Kind::Invalid,
            },
            _ => Kind::Invalid,
        }
    }
}

/// The parts of an array of messages; `None` when it is not one.
pub(crate) fn batch(text: &[u8]) -> Option<Vec<&RawValue>> {
    serde_json::from_slice(text).ok()
}

/// Whether the first character that is not a blank begins an array.
pub(crate) fn is_batch(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'[')
}

/// A whole number that stands as plain digits, as ours do.
pub(crate) fn number(raw: &RawValue) -> Option<u32> {
    raw.get().parse().ok()
}

/// The parameters of `notifications/progress`.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress<'a> {
    #[serde(borrow, rename = "progressToken")]
    pub(crate) token: &'a RawValue,
    pub(crate) progress: f64,
}

/// Parameters whose `_meta` says which subscription they belong to.
#[derive(Debug, Deserialize)]
pub(crate) struct Subscribed<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: SubscriptionMeta<'a>,
}

#[derive(Debug, Deserialize)]
struct SubscriptionMeta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/subscriptionId")]
    id: &'a RawValue,
}

impl Subscribed<'_> {
    pub(crate) fn is_of(&self, id: u32) -> bool {
        number(self.meta.id) == Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> String {
        match Message::read(text.as_bytes()) {
            Err(is_json) => format!("unreadable {is_json}"),
            Ok(message) => match message.kind() {
                Kind::Request(id, method, _) => format!("request {id} {method}"),
                Kind::Notification(method, params) => format!("notification {method} {}", params.is_some()),
                Kind::Result(id, result) => format!("result {:?} {result}", id.map(RawValue::get)),
                Kind::Error(id, error) => {
                    format!("error {:?} {} {}", id.map(RawValue::get), error.code, error.message())
                }
                Kind::Invalid => "invalid".into(),
            },
        }
    }

    #[test]
    fn messages_are_told_apart_by_their_members() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"result Some("1") {}"#),
            (r#"{"result":{"a":[1]},"jsonrpc":"2.0","id":"x"}"#, r#"result Some("\"x\"") {"a":[1]}"#),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}"#, "error None -1 m"),
            (r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#, "request 5 ping"),
            (r#"{"jsonrpc":"2.0","method":"n\u002f","params":{}}"#, "notification n/ true"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "invalid"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, "invalid"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#, "invalid"),
            (r#"{"jsonrpc":"1.0","id":1,"result":{}}"#, "invalid"),
            (r#"{"id":1,"result":{}}"#, "invalid"),
            (r#"{"jsonrpc":2,"id":1,"result":{}}"#, "unreadable true"),
            ("[]", "unreadable true"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}"#, "unreadable false"),
            ("", "unreadable false"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_server_names_what_it_supports() {
        let text = r#"{"code":-32022,"message":"no","data":{"supported":["2025-11-25"],"requested":"x"}}"#;
        let error: RpcError<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(error.supported(), ["2025-11-25"]);
        assert!(serde_json::from_str::<RpcError<'_>>(r#"{"code":-1}"#).unwrap().supported().is_empty());
    }

    #[test]
    fn only_plain_digits_are_our_ids() {
        let raw = |text| serde_json::from_str::<&RawValue>(text).unwrap();
        assert_eq!(number(raw("17")), Some(17));
        for other in ["\"17\"", "1.0", "-1", "1e1", "{}"] {
            assert_eq!(number(raw(other)), None, "{other}");
        }
    }
}
