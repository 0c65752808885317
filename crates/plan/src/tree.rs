//! The TOML text as one tree in which every key and value knows its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};

use crate::problem::Problem;

/// The text of a plan and where it comes from.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    file: PathBuf,
    text: &'t str,
}

impl<'t> Source<'t> {
    pub(crate) fn new(file: &Path, text: &'t str) -> Self {
        Self { file: file.to_path_buf(), text }
    }

    /// A problem with the characters of `span`.
    pub(crate) fn problem(&self, span: Range<usize>, key: &str, message: String, mend: String) -> Problem {
        let start = self.text.floor_char_boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = self.text.floor_char_boundary(span.end.clamp(start, line_end)).max(start);
        Problem {
            file: self.file.clone(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            key: key.to_owned(),
            message,
            mend,
            text: self.text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: self.text[start..end].chars().count().max(1),
        }
    }

    /// Reads the text, or says where it is not TOML.
    pub(crate) fn parse(&self) -> Result<Node, Box<Problem>> {
        let document = Document::parse(self.text).map_err(|error| {
            let message = format!("not TOML: {}", error.message());
            let mend = "mend the syntax; nothing after this place was read".to_owned();
            Box::new(self.problem(error.span().unwrap_or(0..0), "", message, mend))
        })?;
        Ok(table(document.as_table(), 0..0))
    }
}

/// A value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table, in the order of the text.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

impl Node {
    /// The value under a key, if this is a table that has it.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        let Content::Table(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// What stands there, for an error message.
    pub(crate) fn describe(&self) -> String {
        match &self.content {
            Content::Text(text) => format!("the string {text:?}"),
            Content::Integer(value) => format!("the integer {value}"),
            Content::Float(value) => format!("the number {value}"),
            Content::Bool(value) => format!("{value}"),
            Content::Datetime(value) => format!("the date {value}"),
            Content::List(items) if items.is_empty() => "an empty list".to_owned(),
            Content::List(_) => "a list".to_owned(),
            Content::Table(_) => "a table".to_owned(),
        }
    }
}

fn item(item: &Item, fallback: Range<usize>) -> Node {
    match item {
        Item::Value(found) => value(found, fallback),
        Item::Table(found) => table(found, item.span().unwrap_or(fallback)),
        Item::ArrayOfTables(found) => Node {
            span: item.span().unwrap_or_else(|| fallback.clone()),
            content: Content::List(
                found.iter().map(|t| table(t, t.span().unwrap_or_else(|| fallback.clone()))).collect(),
            ),
        },
        Item::None => Node { span: fallback, content: Content::Table(Vec::new()) },
    }
}

fn value(value: &Value, fallback: Range<usize>) -> Node {
    let span = value.span().unwrap_or(fallback);
    let content = match value {
        Value::String(text) => Content::Text(text.value().clone()),
        Value::Integer(number) => Content::Integer(*number.value()),
        Value::Float(number) => Content::Float(*number.value()),
        Value::Boolean(flag) => Content::Bool(*flag.value()),
        Value::Datetime(date) => Content::Datetime(date.value().to_string()),
        Value::Array(items) => Content::List(items.iter().map(|v| self::value(v, span.clone())).collect()),
        Value::InlineTable(inner) => return table(inner, span),
    };
    Node { span, content }
}

fn table(table: &dyn TableLike, span: Range<usize>) -> Node {
    let entries = table
        .iter()
        .filter_map(|(key, found)| {
            let key_span = table.key(key).and_then(toml_edit::Key::span).unwrap_or_else(|| span.clone());
            let node = item(found, key_span.clone());
            (!found.is_none()).then(|| Entry { key: key.to_owned(), key_span, node })
        })
        .collect();
    Node { span, content: Content::Table(entries) }
}
