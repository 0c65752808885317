//! What the user does in the client scenarios of `@modelcontextprotocol/conformance`, by their names there.

use serde_json::{Value, json};

use crate::failure::Failure;

/// A user's part in a scenario.
#[derive(Debug)]
pub(super) struct Part {
    /// Calls of the mcp guest, made one after another.
    calls: Vec<Value>,
    /// What the client declares.
    capabilities: &'static [&'static str],
    /// The session's own stream is held beside the calls.
    stream: bool,
    /// Classes of checks that the scenario's server breaks on purpose.
    pub(super) breaks: &'static [&'static str],
    /// Names of calls that the guest must not make.
    pub(super) refused: &'static [&'static str],
}

/// Scenarios with parts of their own.
const NAMES: [&str; 10] = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
];

/// Tools whose definitions no client may accept.
const INVALID: [&str; 11] = [
    "tools/call invalid_empty_header",
    "tools/call invalid_object_header",
    "tools/call invalid_array_header",
    "tools/call invalid_null_header",
    "tools/call invalid_number_header",
    "tools/call invalid_duplicate_same_case",
    "tools/call invalid_duplicate_diff_case",
    "tools/call invalid_space_in_name",
    "tools/call invalid_colon_in_name",
    "tools/call invalid_non_ascii_name",
    "tools/call invalid_control_char_name",
];

/// The part in a scenario; without one, the session is opened and the tools are listed. `context` is what the suite tells the
/// client beside: JSON.
///
/// # Errors
/// When there is no part in this scenario, or the context is not what it must be.
pub(super) fn part(scenario: Option<&str>, context: Option<&str>) -> Result<Part, Failure> {
    let listing = json!({ "list": "tools" });
    let part =
        |calls: Vec<Value>| Part { calls, capabilities: &[], stream: false, breaks: &[], refused: &[] };
    let part = match scenario {
        None | Some("initialize") => part(vec![listing]),
        Some("tools_call") => part(vec![generated("add_numbers")]),
        Some("elicitation-sep1034-client-defaults") => Part {
            capabilities: &["elicitation"],
            // The server asks there, and nowhere else.
            stream: true,
            ..part(vec![generated("test_client_elicitation_defaults")])
        },
        Some("sse-retry") => part(vec![generated("test_reconnection")]),
        Some("request-metadata") => {
            Part { capabilities: &["roots", "sampling", "elicitation"], ..part(vec![listing]) }
        }
        Some("sep-2322-client-request-state") => Part {
            capabilities: &["elicitation"],
            // One of its results has no resultType, which the client has to take as a complete one.
            breaks: &["result-type"],
            ..part(vec![
                generated("test_mrtr_echo_state"),
                generated("test_mrtr_unrelated"),
                generated("test_mrtr_no_state"),
                generated("test_mrtr_no_result_type"),
            ])
        },
        Some("http-standard-headers") => part(vec![
            generated("my-hyphenated-tool"),
            json!({ "list": "resources" }),
            json!({ "resource": "file:///path/to/file%20name.txt" }),
            json!({ "list": "prompts" }),
            json!({ "prompt": "test_prompt" }),
        ]),
        Some("http-custom-headers") => part(given(context)?),
        Some("http-invalid-tool-headers") => {
            let tools = INVALID.iter().filter_map(|call| call.strip_prefix("tools/call "));
            let calls = ["valid_tool"].into_iter().chain(tools).map(generated).collect();
            Part { breaks: &["header-marks"], refused: &INVALID, ..part(calls) }
        }
        Some("json-schema-ref-no-deref") => Part {
            // Its tool has a `pattern`, from which the guest does not draw; what counts is that it looks at the schema.
            breaks: &["arguments"],
            refused: &["tools/call lookup_user"],
            ..part(vec![generated("lookup_user"), listing])
        },
        Some(other) => {
            return Err(Failure::input(format!(
                "MCP_CONFORMANCE_SCENARIO: found {other:?}, in which the mcp guest has no part; it has in {}",
                NAMES.join(", ")
            )));
        }
    };
    Ok(part)
}

/// A call with arguments that are drawn from the schema that the server lists.
fn generated(tool: &str) -> Value {
    json!({ "tool": tool, "generate": true })
}

/// The calls that the suite gives.
fn given(context: Option<&str>) -> Result<Vec<Value>, Failure> {
    let wrong = |found: &str| {
        Failure::input(format!(
            "MCP_CONFORMANCE_CONTEXT: found {found}, expected JSON with a list `toolCalls` of names and arguments, as the \
             suite sets it for http-custom-headers"
        ))
    };
    let text = context.ok_or_else(|| wrong("nothing"))?;
    let context: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let calls = context["toolCalls"].as_array().ok_or_else(|| wrong("no such list"))?;
    let call = |call: &Value| {
        let arguments = plain(&call["arguments"]);
        Some(json!({ "tool": call["name"].as_str()?, "arguments": arguments }))
    };
    let calls: Option<Vec<Value>> = calls.iter().map(call).collect();
    calls.filter(|calls| !calls.is_empty()).ok_or_else(|| wrong("calls without names, or none"))
}

/// Arguments in which no text is taken for a placeholder.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('{', "{{").replace('}', "}}")),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Object(table) => {
            Value::Object(table.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}

impl Part {
    /// The guest's configuration: each call once, in one session, of this revision or of whichever the server speaks.
    pub(super) fn config(&self, revision: Option<&str>, endpoint: &str) -> Value {
        let mut config = json!({
            "revision": revision.unwrap_or("auto"),
            "endpoint": endpoint,
            "turn": "session",
            "order": "sequence",
            "timeout": "10s",
            "capabilities": self.capabilities,
            "calls": self.calls,
        });
        if self.stream {
            config["stream"] = true.into();
        }
        config
    }

    /// Names of the calls' series.
    pub(super) fn calls(&self) -> impl Iterator<Item = String> {
        self.calls.iter().map(|call| {
            let named = |key: &str, method: &str| call[key].as_str().map(|name| format!("{method} {name}"));
            let listed = call["list"].as_str().map(|list| format!("all {list}/list"));
            named("tool", "tools/call")
                .or_else(|| named("prompt", "prompts/get"))
                .or_else(|| named("resource", "resources/read"))
                .or(listed)
                .unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_named_scenario_has_a_part() {
        let context = r#"{ "toolCalls": [{ "name": "a", "arguments": { "b": "{c}", "d": [1, "}"] } }] }"#;
        for name in NAMES {
            let part = part(Some(name), Some(context)).unwrap();
            assert!(part.calls().all(|name| !name.is_empty()), "{name}");
            assert!(part.refused.iter().all(|refused| part.calls().any(|call| call == *refused)), "{name}");
        }
        assert!(part(None, None).is_ok());
        let other = part(Some("auth/basic-cimd"), None).unwrap_err();
        assert!(other.code() == 2 && other.to_string().contains("tools_call"), "{other}");
    }

    #[test]
    fn given_calls_are_taken_as_they_are() {
        let context = r#"{ "toolCalls": [{ "name": "a", "arguments": { "b": "{c}", "d": [1, "}"] } }] }"#;
        let config = part(Some("http-custom-headers"), Some(context)).unwrap().config(None, "/");
        let arguments = json!({ "b": "{{c}}", "d": [1, "}}"] });
        assert_eq!(config["calls"], json!([{ "tool": "a", "arguments": arguments }]));
        for wrong in [None, Some("{"), Some("{}"), Some(r#"{"toolCalls":[]}"#), Some(r#"{"toolCalls":[{}]}"#)]
        {
            let error = part(Some("http-custom-headers"), wrong).unwrap_err();
            assert!(error.to_string().contains("MCP_CONFORMANCE_CONTEXT"), "{error}");
        }
    }
}
