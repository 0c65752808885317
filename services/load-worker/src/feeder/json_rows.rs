//! Rows of a JSON-lines file: one object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{FeederError, put};

/// Columns, and where each row lies.
type Index = (Vec<String>, Vec<(u64, u32)>);

pub(super) fn index(name: &str, bytes: &[u8]) -> Result<Index, FeederError> {
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    let mut at = 0;
    for (number, line) in (1_u64..).zip(bytes.split(|b| *b == b'\n')) {
        let start = at;
        at += line.len() + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let malformed = |what: String| {
            FeederError::new(
                format!("feeder {name}, line {number}: {what}"),
                "each line is one JSON object, like {\"id\": 1, \"name\": \"a\"}",
            )
        };
        let members: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_slice(line).map_err(|e| malformed(format!("no JSON object: {e}")))?;
        for key in members.keys() {
            if !columns.iter().any(|c| c == key) {
                columns.push(key.clone().into_owned());
            }
        }
        let length = u32::try_from(line.len()).map_err(|_| malformed("the row is over 4 GiB".to_owned()))?;
        rows.push((start as u64, length));
    }
    Ok((columns, rows))
}

pub(super) fn encode(line: &[u8], columns: &[String], selection: &[u32], arena: &mut Vec<u8>) {
    for wanted in selection {
        // One pass a column, so that nothing is allocated; the line was checked when it was indexed.
        let value = columns.get(*wanted as usize).and_then(|column| {
            let mut deserializer = serde_json::Deserializer::from_slice(line);
            Member(column).deserialize(&mut deserializer).ok()?
        });
        match value.map(RawValue::get) {
            None => put(arena, &[]),
            Some(text) if text.starts_with('"') => {
                let text = serde_json::from_str::<Text<'_>>(text).map(|t| t.0).unwrap_or_default();
                put(arena, text.as_bytes());
            }
            Some(json) => put(arena, json.as_bytes()),
        }
    }
}

/// A string, copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Finds one member of an object; the last, if it is there twice.
struct Member<'c>(&'c str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &RawValue>()? {
            if key == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}
