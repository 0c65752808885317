//! What the client answers when the server asks: for roots, for a model's words, for a user's input.

use std::borrow::Cow;

use gauntlet_sdk::Rng;
use guest_config::json_escaped;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::generator::Generator;
use crate::result::Members;

/// What the client says that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) roots: bool,
    pub(crate) sampling: bool,
    pub(crate) elicitation: bool,
}

impl Capabilities {
    /// As they are declared.
    pub(crate) fn text(self) -> String {
        let all = [("elicitation", self.elicitation), ("roots", self.roots), ("sampling", self.sampling)];
        let declared: Vec<_> =
            all.into_iter().filter(|(_, has)| *has).map(|(name, _)| format!("\"{name}\":{{}}")).collect();
        format!("{{{}}}", declared.join(","))
    }

    /// The result of a request of the server; `None` when it may not ask for this.
    pub(crate) fn result(
        self,
        method: &str,
        params: Option<&RawValue>,
        draws: &mut Rng,
    ) -> Option<Cow<'static, str>> {
        match method {
            "roots/list" if self.roots => {
                Some(r#"{"roots":[{"uri":"file:///gauntlet","name":"gauntlet"}]}"#.into())
            }
            "sampling/createMessage" if self.sampling => Some(
                r#"{"role":"assistant","content":{"type":"text","text":"a short answer"},"model":"gauntlet","stopReason":"endTurn"}"#
                    .into(),
            ),
            "elicitation/create" if self.elicitation => Some(elicited(params, draws)),
            _ => None,
        }
    }

    /// Appends what a call says more when it is sent again with the input that the server wants. `false`: the server
    /// wants something that it may not ask for.
    pub(crate) fn input(self, asked: &Members<'_>, draws: &mut Rng, more: &mut Vec<u8>) -> bool {
        let requests = asked.input_requests();
        if !requests.is_empty() {
            more.extend_from_slice(br#","inputResponses":{"#);
            for (index, (key, request)) in requests.iter().enumerate() {
                let result = self.result(&request.method, request.params, draws);
                let Some(result) = result else { return false };
                more.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
                json_escaped(more, key.as_bytes());
                more.extend_from_slice(b"\":");
                more.extend_from_slice(result.as_bytes());
            }
            more.extend_from_slice(b"}");
        }
        if let Some(state) = asked.request_state {
            more.extend_from_slice(br#","requestState":"#);
            more.extend_from_slice(state.get().as_bytes());
        }
        true
    }
}

/// What a user puts into a form: each field's default, else a value drawn from its schema. Nobody is there to go to a page
/// that the server names, or to fill in a form that no value can be drawn for.
fn elicited(params: Option<&RawValue>, draws: &mut Rng) -> Cow<'static, str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        requested_schema: Value,
    }
    let params = params.and_then(|params| serde_json::from_str::<Params>(params.get()).ok());
    let form = params.and_then(|params| Generator::new(&with_defaults(params.requested_schema)).ok());
    let Some(form) = form else { return r#"{"action":"decline"}"#.into() };
    let mut answer = br#"{"action":"accept","content":"#.to_vec();
    form.write(&mut answer, draws);
    answer.push(b'}');
    // A draw is JSON, which is text.
    String::from_utf8(answer).unwrap_or_default().into()
}

/// A form in which fields with a default have no other value, and are there.
fn with_defaults(mut schema: Value) -> Value {
    let mut given = Vec::new();
    for (name, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(default) = field.get("default") {
            *field = json!({ "const": default });
            given.push(Value::from(name.as_str()));
        }
    }
    if let Some(table) = schema.as_object_mut() {
        match table.entry("required").or_insert_with(|| json!([])) {
            Value::Array(required) => required.extend(given),
            other => *other = Value::Array(given),
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws() -> Rng {
        Rng::for_arrival(7, 0, 0)
    }

    #[test]
    fn only_what_was_declared_is_answered() {
        let none = Capabilities::default();
        let asked = |capabilities: Capabilities, method| capabilities.result(method, None, &mut draws());
        assert_eq!(none.text(), "{}");
        assert_eq!(asked(none, "roots/list"), None);
        let some = Capabilities { roots: true, elicitation: true, sampling: false };
        assert_eq!(some.text(), r#"{"elicitation":{},"roots":{}}"#);
        assert!(asked(some, "roots/list").is_some() && asked(some, "sampling/createMessage").is_none());
    }

    #[test]
    fn input_has_the_servers_keys_and_its_state() {
        let capabilities = Capabilities { elicitation: true, ..Capabilities::default() };
        let raw = r#"{"resultType":"input_required","requestState":"a\"b","inputRequests":{"k\"1":{"method":"elicitation/create","params":{}}}}"#;
        let asked: &RawValue = serde_json::from_str(raw).unwrap();
        let asked = Members::read(asked).unwrap();
        let mut more = Vec::new();
        assert!(capabilities.input(&asked, &mut draws(), &mut more));
        let text = String::from_utf8(more).unwrap();
        assert_eq!(text, r#","inputResponses":{"k\"1":{"action":"decline"}},"requestState":"a\"b""#);
        assert!(!Capabilities::default().input(&asked, &mut draws(), &mut Vec::new()));
    }

    fn filled_in(params: &Value) -> Value {
        let params = serde_json::value::to_raw_value(params).unwrap();
        let capabilities = Capabilities { elicitation: true, ..Capabilities::default() };
        let answer = capabilities.result("elicitation/create", Some(&params), &mut draws()).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[test]
    fn a_form_is_filled_in_with_defaults_and_draws() {
        let answer = filled_in(&json!({ "message": "who?", "requestedSchema": {
            "type": "object",
            "properties": {
                "name": { "type": "string", "default": "John Doe" },
                "score": { "type": "number", "default": 95.5 },
                "status": { "type": "string", "enum": ["a", "b"], "default": "b" },
                "agreed": { "type": "boolean" },
                "colour": { "type": "string", "oneOf": [{ "const": "red", "title": "Red" }] },
            },
            "required": ["agreed", "colour"],
        } }));
        assert_eq!(answer["action"], "accept");
        let content = &answer["content"];
        assert_eq!(
            (&content["name"], &content["score"], &content["status"], &content["colour"]),
            (&json!("John Doe"), &json!(95.5), &json!("b"), &json!("red"))
        );
        assert!(content["agreed"].is_boolean());
    }

    #[test]
    fn what_nobody_can_fill_in_is_declined() {
        let url = json!({ "mode": "url", "url": "https://example.com", "message": "go there" });
        let pattern = json!({ "requestedSchema": { "type": "object", "required": ["id"],
            "properties": { "id": { "type": "string", "pattern": "^[a-z]+$" } } } });
        for params in [url, pattern, json!({})] {
            assert_eq!(filled_in(&params), json!({ "action": "decline" }), "{params}");
        }
    }
}
