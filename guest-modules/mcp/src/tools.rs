//! What the server says of the tools that the plan calls: schemas to draw from, arguments to mirror in headers.

use std::borrow::Cow;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, Failures};
use crate::generator::Generator;
use crate::message::Text;

/// A tool of the plan as the server lists it.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Draws arguments; none unless the plan wants it and the schema allows it.
    pub(crate) generator: Option<Generator>,
    pub(crate) marks: Vec<Mark>,
    /// Its definition is not valid, so it may not be called.
    pub(crate) rejected: bool,
}

/// A property whose value goes into a header, too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `Mcp-Param-…`
    pub(crate) header: Vec<u8>,
    /// JSON pointer of the argument.
    pub(crate) pointer: String,
}

/// One tool of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Tool<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, rename = "inputSchema")]
    schema: &'a RawValue,
}

impl Tool<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name.0
    }

    /// What calls need to know of it. What is wrong with it is added to `failures`, and why is told.
    pub(crate) fn read(
        &self,
        generate: bool,
        mirror: bool,
        failures: &mut Failures,
        mut tell: impl FnMut(String),
    ) -> Listed {
        let mut listed = Listed::default();
        let Ok(schema) = serde_json::from_str::<Value>(self.schema.get()) else { return listed };
        if mirror {
            match marks(&schema) {
                Ok(marks) => listed.marks = marks,
                Err(why) => {
                    failures.add(Failure::HeaderMarks);
                    listed.rejected = true;
                    tell(format!("the tool {} is not called: {why}", self.name()));
                }
            }
        }
        if generate {
            match Generator::new(&schema) {
                Ok(generator) => listed.generator = Some(generator),
                Err(error) => {
                    failures.add(Failure::Arguments);
                    tell(format!(
                        "the tool {} is not called: no arguments can be generated from its schema, of which #{} {}; \
                         give `arguments` or a `schema` in the plan",
                        self.name(),
                        error.place,
                        error.message
                    ));
                }
            }
        }
        listed
    }
}

/// The tools of a page of a list; `None` when one of them is not as it must be.
pub(crate) fn page(raw: &RawValue) -> Option<Vec<Tool<'_>>> {
    serde_json::from_str(raw.get()).ok()
}

const MARK: &str = "x-mcp-header";

/// The marks of a schema.
fn marks(schema: &Value) -> Result<Vec<Mark>, String> {
    let mut found = Vec::new();
    let reachable = walk(schema, "", &mut found)?;
    let all = count(schema);
    if all > reachable {
        return Err(format!("{MARK} stands where no chain of properties leads"));
    }
    for (index, mark) in found.iter().enumerate() {
        if found[..index].iter().any(|other| other.header.eq_ignore_ascii_case(&mark.header)) {
            return Err(format!("two {MARK} are \"{}\"", String::from_utf8_lossy(&mark.header)));
        }
    }
    Ok(found)
}

/// Follows properties down; gives how many marks there were.
fn walk(schema: &Value, pointer: &str, found: &mut Vec<Mark>) -> Result<usize, String> {
    let mut seen = 0;
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        if let Some(mark) = property.get(MARK) {
            let header = mark.as_str().filter(|header| guest_config::is_token(header));
            let Some(header) = header else { return Err(format!("{MARK} {mark} is no header name")) };
            let kind = property.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("integer" | "string" | "boolean")) {
                return Err(format!("{MARK} \"{header}\" is on {pointer}, which is of no primitive type"));
            }
            let header = format!("mcp-param-{header}").into_bytes();
            found.push(Mark { header, pointer: pointer.clone() });
            seen += 1;
        }
        seen += walk(property, &pointer, found)?;
    }
    Ok(seen)
}

/// Marks anywhere in a schema. A property of that name is none.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(table) => table
            .iter()
            .map(|(key, value)| match key.as_str() {
                MARK => 1,
                "properties" | "$defs" | "definitions" => {
                    value.as_object().into_iter().flatten().map(|(_, schema)| count(schema)).sum()
                }
                "const" | "default" | "enum" | "examples" => 0,
                _ => count(value),
            })
            .sum(),
        _ => 0,
    }
}

/// A scalar of JSON as it goes into a header: what is not plain ASCII is coded. `None` for null, lists and tables.
pub(crate) fn header_value(scalar: &Value) -> Option<Cow<'_, [u8]>> {
    match scalar {
        Value::String(text) => Some(coded(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(scalar.to_string().into_bytes())),
        _ => None,
    }
}

/// A text as it goes into `Mcp-Name` or `Mcp-Param-…`.
pub(crate) fn coded(text: &str) -> Cow<'_, [u8]> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let padded = text.starts_with(' ') || text.ends_with(' ');
    if plain && !padded && !(text.starts_with("=?base64?") && text.ends_with("?=")) {
        return Cow::Borrowed(text.as_bytes());
    }
    let coded = base64::engine::general_purpose::STANDARD.encode(text);
    Cow::Owned(format!("=?base64?{coded}?=").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn marks_lead_from_arguments_to_headers() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "type": "object", "properties": { "a/b": { "type": "integer", "x-mcp-header": "N" } } },
            "x-mcp-header": { "type": "string" },
        } });
        let found = marks(&schema).unwrap();
        let all: Vec<_> = found
            .iter()
            .map(|mark| (String::from_utf8_lossy(&mark.header).into_owned(), mark.pointer.as_str()))
            .collect();
        assert_eq!(all, [("mcp-param-N".into(), "/deep/a~1b"), ("mcp-param-Region".into(), "/region")]);
    }

    #[test]
    fn marks_that_no_client_may_follow_are_refused() {
        let property = |property: Value| json!({ "properties": { "a": property } });
        for (schema, part) in [
            (property(json!({ "type": "number", "x-mcp-header": "A" })), "primitive"),
            (property(json!({ "type": "string", "x-mcp-header": "a b" })), "no header name"),
            (property(json!({ "type": "string", "x-mcp-header": "" })), "no header name"),
            (property(json!({ "type": "array", "items": { "x-mcp-header": "A" } })), "no chain"),
            (
                json!({ "anyOf": [{ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } }] }),
                "no chain",
            ),
            (
                json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" },
                    "b": { "type": "string", "x-mcp-header": "a" } } }),
                "two x-mcp-header",
            ),
        ] {
            let why = marks(&schema).unwrap_err();
            assert!(why.contains(part), "{schema}: {why}");
        }
    }

    #[test]
    fn header_values_are_visible_ascii() {
        let value =
            |value: Value| header_value(&value).map(|text| String::from_utf8(text.into_owned()).unwrap());
        assert_eq!(value(json!("add")), Some("add".into()));
        assert_eq!(value(json!(true)), Some("true".into()));
        assert_eq!(value(json!(-3)), Some("-3".into()));
        assert_eq!(value(json!("grüß")), Some("=?base64?Z3LDvMOf?=".into()));
        assert_eq!(value(json!(" a")), Some("=?base64?IGE=?=".into()));
        assert_eq!(value(json!("=?base64?x?=")), Some("=?base64?PT9iYXNlNjQ/eD89?=".into()));
        assert_eq!(value(json!([1])), None);
    }
}
