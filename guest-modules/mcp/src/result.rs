//! What the results of methods must have.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::{Failure, Failures};
use crate::message::Text;

/// For whom a result may be kept, as its `cacheScope` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It does not say so, or says something else.
    #[default]
    Unknown,
    Public,
    Private,
}

/// The method whose result is awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    #[default]
    Initialize,
    Discover,
    Ping,
    CallTool,
    GetPrompt,
    ReadResource,
    ListTools,
    ListPrompts,
    ListResources,
    ListTemplates,
    Listen,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::CallTool => "tools/call",
            Self::GetPrompt => "prompts/get",
            Self::ReadResource => "resources/read",
            Self::ListTools => "tools/list",
            Self::ListPrompts => "prompts/list",
            Self::ListResources => "resources/list",
            Self::ListTemplates => "resources/templates/list",
            Self::Listen => "subscriptions/listen",
        }
    }

    /// Whether the server may answer that it needs input first.
    const fn may_ask(self) -> bool {
        matches!(self, Self::CallTool | Self::GetPrompt | Self::ReadResource)
    }

    /// Whether the result says how long it may be kept.
    const fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::Discover
                | Self::ReadResource
                | Self::ListTools
                | Self::ListPrompts
                | Self::ListResources
                | Self::ListTemplates
        )
    }
}

/// The members of any method's result; the others are not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Members<'a> {
    #[serde(borrow)]
    result_type: Option<Text<'a>>,
    #[serde(borrow)]
    ttl_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_scope: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) next_cursor: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    contents: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    is_error: bool,
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    prompts: Option<&'a RawValue>,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_templates: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) protocol_version: Option<Text<'a>>,
    #[serde(borrow)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow)]
    server_info: Option<&'a RawValue>,
    #[serde(borrow)]
    supported_versions: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    input_requests: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) request_state: Option<&'a RawValue>,
}

/// A request of the server inside an `input_required` result.
#[derive(Debug, Deserialize)]
pub(crate) struct InputRequest<'a> {
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    /// Reads a result.
    pub(crate) fn read(result: &'a RawValue) -> Option<Self> {
        serde_json::from_str(result.get()).ok()
    }

    /// A call's content is an error of the tool.
    pub(crate) const fn is_error(&self) -> bool {
        self.is_error
    }

    /// The call's content as it stands.
    pub(crate) fn content(&self) -> &'a str {
        self.content.map_or("", RawValue::get)
    }

    /// The server wants something before it gives a result.
    pub(crate) fn asks_for_input(&self) -> bool {
        self.result_type.as_ref().is_some_and(|kind| kind.0 == "input_required")
    }

    /// What the server wants.
    pub(crate) fn input_requests(&self) -> BTreeMap<Cow<'a, str>, InputRequest<'a>> {
        self.input_requests.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    pub(crate) fn supports(&self, version: &str) -> bool {
        self.supported_versions.as_ref().is_some_and(|all| all.iter().any(|one| one.0 == version))
    }

    /// For whom the result may be kept.
    pub(crate) fn cache_scope(&self) -> Scope {
        match self.cache_scope.as_ref().map(|scope| &*scope.0) {
            Some("public") => Scope::Public,
            Some("private") => Scope::Private,
            _ => Scope::Unknown,
        }
    }

    /// Whether a result of this method has what it must have, in revisions with and without a handshake.
    pub(crate) fn verify(&self, method: Method, stateless: bool, failures: &mut Failures) {
        if stateless && self.asks_for_input() {
            if !method.may_ask() || (self.input_requests.is_none() && self.request_state.is_none()) {
                failures.add(Failure::ResultShape);
            }
            return;
        }
        if stateless && self.result_type.as_ref().is_none_or(|kind| kind.0 != "complete") {
            failures.add(Failure::ResultType);
        }
        let list = |part: Option<&RawValue>| part.is_some_and(|part| part.get().starts_with('['));
        let table = |part: Option<&RawValue>| part.is_some_and(|part| part.get().starts_with('{'));
        let whole = match method {
            Method::Initialize => {
                self.protocol_version.is_some() && table(self.capabilities) && table(self.server_info)
            }
            Method::Discover => self.supported_versions.is_some() && table(self.capabilities),
            Method::Ping | Method::Listen => true,
            Method::CallTool => list(self.content),
            Method::GetPrompt => list(self.messages),
            Method::ReadResource => list(self.contents),
            Method::ListTools => list(self.tools),
            Method::ListPrompts => list(self.prompts),
            Method::ListResources => list(self.resources),
            Method::ListTemplates => list(self.resource_templates),
        };
        // An opaque text, which may be empty; its absence alone ends a list.
        if !whole || self.next_cursor.is_some_and(|cursor| !cursor.get().starts_with('"')) {
            failures.add(Failure::ResultShape);
        }
        let ttl = self.ttl_ms.and_then(|ttl| ttl.get().parse::<f64>().ok());
        let kept = ttl.is_some_and(|ttl| ttl >= 0.0) && self.cache_scope() != Scope::Unknown;
        if stateless && method.is_cacheable() && !kept {
            failures.add(Failure::CacheFields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(method: Method, stateless: bool, result: &str) -> Vec<Failure> {
        let raw: &RawValue = serde_json::from_str(result).unwrap();
        let mut failures = Failures::default();
        Members::read(raw).unwrap().verify(method, stateless, &mut failures);
        failures.each().collect()
    }

    #[test]
    fn results_have_the_fields_of_their_method() {
        use Method::{CallTool, Initialize, ListTools, Ping, ReadResource};
        let shape = vec![Failure::ResultShape];
        assert_eq!(verify(CallTool, false, r#"{"content":[]}"#), []);
        assert_eq!(verify(CallTool, false, "{}"), shape);
        assert_eq!(verify(Ping, false, "{}"), []);
        assert_eq!(verify(ListTools, false, r#"{"tools":[],"nextCursor":""}"#), []);
        assert_eq!(verify(ListTools, false, r#"{"tools":[],"nextCursor":7}"#), shape);
        assert_eq!(verify(ReadResource, false, r#"{"content":[]}"#), shape);
        let good = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}"#;
        assert_eq!(verify(Initialize, false, good), []);
        assert_eq!(verify(Initialize, false, r#"{"protocolVersion":"2025-11-25"}"#), shape);
    }

    #[test]
    fn without_a_handshake_results_say_more() {
        use Method::{CallTool, ListTools};
        assert_eq!(verify(CallTool, true, r#"{"content":[]}"#), [Failure::ResultType]);
        assert_eq!(verify(CallTool, true, r#"{"content":[],"resultType":"complete"}"#), []);
        let list =
            |more: &str| verify(ListTools, true, &format!(r#"{{"tools":[],"resultType":"complete"{more}}}"#));
        assert_eq!(list(r#","ttlMs":0,"cacheScope":"public""#), []);
        for wrong in ["", r#","ttlMs":-1,"cacheScope":"public""#, r#","ttlMs":1,"cacheScope":"all""#] {
            assert_eq!(list(wrong), [Failure::CacheFields], "{wrong}");
        }
        let asks = r#"{"resultType":"input_required","requestState":"s"}"#;
        assert_eq!(verify(CallTool, true, asks), []);
        assert_eq!(verify(ListTools, true, asks), [Failure::ResultShape]);
        assert_eq!(verify(CallTool, true, r#"{"resultType":"input_required"}"#), [Failure::ResultShape]);
    }
}
