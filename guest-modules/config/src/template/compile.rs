//! From pieces to segments: who provides each name, and with which draws.

use std::collections::BTreeMap;

use gauntlet_sdk::{Feed, RowOrder};
use serde_json::Value;

use super::{Escape, Piece, Segment, Source, Template, parse};
use crate::keys::Problems;

/// The first stream of draws for placeholders; those before it choose the step, the think time and the backoff.
const FIRST_STREAM: u64 = 16;

/// The feeds of all steps; a file that several steps read in one order is one feed.
#[derive(Debug, Default)]
pub struct Feeds(
    /// In the order in which rows come.
    pub Vec<Feed>,
);

impl Feeds {
    /// The number of a file's feed, added if it is new.
    pub fn feed(&mut self, file: &str, order: RowOrder) -> usize {
        let known = self.0.iter().position(|feed| feed.file == file && feed.order == order);
        known.unwrap_or_else(|| {
            self.0.push(Feed { file: file.to_owned(), columns: Vec::new(), order });
            self.0.len() - 1
        })
    }

    fn column(&mut self, feed: usize, name: &str) -> usize {
        let columns = &mut self.0[feed].columns;
        columns.iter().position(|column| column == name).unwrap_or_else(|| {
            columns.push(name.to_owned());
            columns.len() - 1
        })
    }
}

/// Compiles the templates of one step.
#[derive(Debug)]
pub struct Compiler<'a> {
    variables: &'a BTreeMap<String, String>,
    /// Names that any step extracts; none = the guest extracts nothing.
    extracted: Option<&'a [String]>,
    feeds: &'a mut Feeds,
    /// The step's own feed.
    feed: Option<usize>,
    /// Takes what is wrong.
    pub problems: &'a mut Problems,
    /// (feed, column) of each column that a text uses so far.
    pub columns: Vec<(usize, usize)>,
    /// Extracted values that the step uses, each once.
    pub needs: Vec<usize>,
    /// Whether a placeholder asks who the user is.
    pub asks_user: bool,
    streams: u64,
}

impl<'a> Compiler<'a> {
    /// For one request; `extracted` are names that answers give values to, if the guest has such.
    #[must_use]
    pub fn new(
        variables: &'a BTreeMap<String, String>,
        extracted: Option<&'a [String]>,
        feeds: &'a mut Feeds,
        feed: Option<usize>,
        problems: &'a mut Problems,
    ) -> Self {
        let (columns, needs) = (Vec::new(), Vec::new());
        Self { variables, extracted, feeds, feed, problems, columns, needs, asks_user: false, streams: 0 }
    }

    /// Compiles a text; what is wrong with it is a problem at `path`.
    pub fn text(&mut self, path: &str, text: &str, escape: Escape) -> Template {
        let mut template = Template::new(escape);
        self.append(&mut template, path, text);
        template
    }

    /// Appends another text to a template.
    pub fn append(&mut self, template: &mut Template, path: &str, text: &str) {
        let pieces = match parse(text) {
            Ok(pieces) => pieces,
            Err((message, mend)) => return self.problems.add(path, message, mend),
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => template.literal(text.as_bytes()),
                Piece::Name(name) => self.name(template, path, &name),
            }
        }
    }

    /// Compiles a JSON document whose texts may have placeholders; keys are literal.
    pub fn json(&mut self, path: &str, value: &Value) -> Template {
        let mut template = Template::new(Escape::Json);
        self.append_json(&mut template, path, value);
        template
    }

    fn append_json(&mut self, template: &mut Template, path: &str, value: &Value) {
        match value {
            Value::String(text) => {
                template.raw(b"\"");
                self.append(template, path, text);
                template.raw(b"\"");
            }
            Value::Array(list) => {
                template.raw(b"[");
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        template.raw(b",");
                    }
                    self.append_json(template, &format!("{path}[{index}]"), value);
                }
                template.raw(b"]");
            }
            Value::Object(table) => {
                template.raw(b"{");
                for (index, (key, value)) in table.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    template.raw(format!("{comma}{}:", Value::String(key.clone())).as_bytes());
                    self.append_json(template, &format!("{path}.{key}"), value);
                }
                template.raw(b"}");
            }
            scalar => template.raw(scalar.to_string().as_bytes()),
        }
    }

    fn name(&mut self, template: &mut Template, path: &str, name: &str) {
        let source = match name {
            "arrival" => Source::Arrival,
            "user" => {
                self.asks_user = true;
                Source::User
            }
            "uuid" => Source::Uuid { stream: self.stream() },
            _ => {
                if let Some(range) = name.strip_prefix("random:") {
                    match random(range) {
                        Some((low, high)) => Source::Random { low, high, stream: self.stream() },
                        None => {
                            let message = format!("{{{name}}} has no range of whole numbers");
                            return self.problems.add(
                                path,
                                message,
                                "write {random:1..1000}, both ends included",
                            );
                        }
                    }
                } else if let Some(value) = self.variables.get(name) {
                    // Known now: it becomes part of the literal text.
                    return template.known(value.as_bytes());
                } else if let Some(index) =
                    self.extracted.unwrap_or_default().iter().position(|known| known == name)
                {
                    if !self.needs.contains(&index) {
                        self.needs.push(index);
                    }
                    Source::Extracted(index)
                } else if let Some(feed) = self.feed {
                    let column = (feed, self.feeds.column(feed, name));
                    let known = self.columns.iter().position(|&known| known == column);
                    Source::Column(known.unwrap_or_else(|| {
                        self.columns.push(column);
                        self.columns.len() - 1
                    }))
                } else {
                    let extract = if self.extracted.is_some() { "extract it in a step, " } else { "" };
                    let mend = format!(
                        "add feed = \"….csv\" with a column {name}, {extract}add it to variables, or use {{arrival}}, \
                         {{user}}, {{uuid}} or {{random:1..1000}}"
                    );
                    return self.problems.add(path, format!("nothing provides {{{name}}}"), mend);
                }
            }
        };
        template.segments.push(Segment::Value(source));
    }

    fn stream(&mut self) -> u64 {
        self.streams += 1;
        FIRST_STREAM + self.streams
    }
}

fn random(range: &str) -> Option<(u64, u64)> {
    let (low, high) = range.split_once("..")?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (low <= high).then_some((low, high))
}

impl Template {
    /// Without text as yet.
    #[must_use]
    pub fn new(escape: Escape) -> Self {
        Self { text: Vec::new(), segments: Vec::new(), escape, escape_literals: false }
    }

    /// Text that the configuration wrote: it stands as it is, but for what its surroundings do not allow at all.
    pub fn literal(&mut self, text: &[u8]) {
        match self.escape {
            // A path is ASCII: what is not, and a space, is encoded for the author.
            Escape::Percent if !self.escape_literals => text.iter().for_each(|&byte| match byte {
                0x21..=0x7e => self.raw(&[byte]),
                other => self.raw(format!("%{other:02X}").as_bytes()),
            }),
            Escape::Json | Escape::Header | Escape::Percent => self.known(text),
            Escape::Raw => self.raw(text),
        }
    }

    /// A value that is known already, escaped as values are.
    fn known(&mut self, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match self.escape {
            Escape::Raw => self.raw(value),
            Escape::Header => self.raw(text.replace(|c: char| c.is_ascii_control(), "").as_bytes()),
            Escape::Json => {
                let quoted = Value::String(text.into_owned()).to_string();
                self.raw(&quoted.as_bytes()[1..quoted.len() - 1]);
            }
            Escape::Percent => value.iter().for_each(|&byte| {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    self.raw(&[byte]);
                } else {
                    self.raw(format!("%{byte:02X}").as_bytes());
                }
            }),
        }
    }

    /// Bytes as they are; joined with literal text before them.
    pub fn raw(&mut self, bytes: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(bytes);
        let end = self.text.len();
        match self.segments.last_mut() {
            Some(Segment::Text { end: last, .. }) => *last = end,
            _ if begin == end => {}
            _ => self.segments.push(Segment::Text { begin, end }),
        }
    }

    /// The literal text before the first placeholder.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        match self.segments.first() {
            Some(&Segment::Text { begin, end }) => &self.text[begin..end],
            _ => &[],
        }
    }
}
