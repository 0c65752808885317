//! Reading the tree of a plan: each wrong value is noted with its place, and reading goes on.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use crate::problem::{Problem, Problems};
use crate::spec::Key;
use crate::tree::{Content, Entry, Node, Source};
use crate::units;

/// Collects what is wrong.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    source: &'s Source<'s>,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'s> Reader<'s> {
    pub(crate) const fn new(source: &'s Source<'s>) -> Self {
        Self { source, problems: RefCell::new(Vec::new()) }
    }

    pub(crate) fn report(&self, span: Range<usize>, key: &str, message: String, mend: String) {
        let start = span.start;
        let problem = self.source.problem(span, key, message, mend);
        self.problems.borrow_mut().push((start, problem));
    }

    /// A problem with a flag of the command line.
    pub(crate) fn report_flag(&self, flag: &str, message: String, mend: String) {
        let problem = Problem::elsewhere("", flag, message, mend);
        self.problems.borrow_mut().push((0, problem));
    }

    /// The problems in the order of the text, if there are any.
    pub(crate) fn finish(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(at, _)| *at);
        let problems: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

/// A table whose keys we know; absent tables read as empty ones.
#[derive(Debug)]
pub(crate) struct Section<'r> {
    pub(crate) reader: &'r Reader<'r>,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    entries: &'r [Entry],
    keys: &'static [Key],
    asked: RefCell<Vec<&'static str>>,
}

impl<'r> Section<'r> {
    pub(crate) fn root(reader: &'r Reader<'r>, node: &'r Node, keys: &'static [Key]) -> Self {
        let entries: &[Entry] = if let Content::Table(entries) = &node.content { entries } else { &[] };
        Self { reader, path: String::new(), span: 0..0, entries, keys, asked: RefCell::default() }
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &'static str) -> Option<Field<'r>> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.field(entry))
    }

    fn field(&self, entry: &'r Entry) -> Field<'r> {
        Field {
            reader: self.reader,
            node: &entry.node,
            key_span: entry.key_span.clone(),
            path: join(&self.path, &entry.key),
        }
    }

    /// The value of a key that has to be there.
    pub(crate) fn need(&self, key: &'static str) -> Option<Field<'r>> {
        let found = self.get(key);
        if found.is_none() {
            let doc = self.keys.iter().find(|known| known.name == key).map_or("", |known| known.doc);
            self.reader.report(
                self.span.clone(),
                &join(&self.path, key),
                "missing, and it has no default".to_owned(),
                format!("add `{key}`: {doc}"),
            );
        }
        found
    }

    /// The table under a key; an empty one when it is absent or no table.
    pub(crate) fn section(&self, key: &'static str, keys: &'static [Key]) -> Self {
        self.get(key).and_then(|field| field.section(keys)).unwrap_or_else(|| Self {
            reader: self.reader,
            path: join(&self.path, key),
            span: self.span.clone(),
            entries: &[],
            keys,
            asked: RefCell::default(),
        })
    }

    /// Whether the key stands there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for entry in self.entries {
            if self.keys.iter().all(|key| key.name != entry.key) {
                let names = self.keys.iter().map(|key| key.name);
                let mend = units::nearest(&entry.key, names.clone()).map_or_else(
                    || format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
                    |name| format!("did you mean `{name}`?"),
                );
                self.reader.report(
                    entry.key_span.clone(),
                    &join(&self.path, &entry.key),
                    "unknown key".to_owned(),
                    mend,
                );
            }
        }
        #[cfg(test)]
        {
            let asked: std::collections::BTreeSet<_> = self.asked.borrow().iter().copied().collect();
            let known: std::collections::BTreeSet<_> = self.keys.iter().map(|key| key.name).collect();
            assert_eq!(asked, known, "keys read and keys in the spec differ under {:?}", self.path);
        }
    }
}

/// A value with its place and key path.
#[derive(Clone, Debug)]
pub(crate) struct Field<'r> {
    pub(crate) reader: &'r Reader<'r>,
    pub(crate) node: &'r Node,
    pub(crate) key_span: Range<usize>,
    pub(crate) path: String,
}

impl<'r> Field<'r> {
    /// Notes that the value is not what was expected.
    pub(crate) fn wrong<T>(&self, expected: &str, mend: impl Into<String>) -> Option<T> {
        self.problem(format!("found {}, expected {expected}", self.node.describe()), mend)
    }

    /// Notes a problem with the value in other words.
    pub(crate) fn problem<T>(&self, message: impl Into<String>, mend: impl Into<String>) -> Option<T> {
        self.reader.report(self.node.span.clone(), &self.path, message.into(), mend.into());
        None
    }

    /// Notes a problem with the key, whatever its value.
    pub(crate) fn misplaced(&self, message: impl Into<String>, mend: impl Into<String>) {
        self.reader.report(self.key_span.clone(), &self.path, message.into(), mend.into());
    }

    pub(crate) fn text(&self) -> Option<String> {
        match &self.node.content {
            Content::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Content::Text(_) => self.wrong("a string that is not empty", ""),
            _ => self.wrong("a string", "put it in quotes"),
        }
    }

    /// A string, empty or not: an argument, a variable of the environment.
    pub(crate) fn text_or_empty(&self) -> Option<String> {
        match &self.node.content {
            Content::Text(text) => Some(text.clone()),
            _ => self.wrong("a string", "put it in quotes"),
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.node.content {
            Content::Bool(value) => Some(value),
            _ => self.wrong("true or false", "write it without quotes"),
        }
    }

    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        match self.node.content {
            Content::Integer(value) if range.contains(&value) => Some(value),
            _ => self.wrong(&format!("an integer from {} to {}", range.start(), range.end()), ""),
        }
    }

    /// An integer that fits the type wanted.
    pub(crate) fn whole<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let value = self.integer(range)?;
        T::try_from(value).ok().or_else(|| self.wrong("a smaller integer", ""))
    }

    /// A number, integer or not.
    #[expect(clippy::cast_precision_loss, reason = "numbers of a plan are far below 2^53")]
    fn as_number(&self) -> Option<f64> {
        match self.node.content {
            Content::Integer(value) => Some(value as f64),
            Content::Float(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }

    /// A number over `low` (not equal to it) and at most `high`.
    pub(crate) fn number_over(&self, low: f64, high: f64) -> Option<f64> {
        match self.as_number() {
            Some(value) if value > low && value <= high => Some(value),
            _ => self.wrong(&format!("a number over {low}, at most {high}"), ""),
        }
    }

    /// A number from `low` to `high`.
    pub(crate) fn number(&self, low: f64, high: f64) -> Option<f64> {
        match self.as_number() {
            Some(value) if (low..=high).contains(&value) => Some(value),
            _ => self.wrong(&format!("a number from {low} to {high}"), ""),
        }
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        let mend = match self.node.content {
            Content::Integer(value) => format!("say the unit: \"{value}s\" or \"{value}ms\""),
            _ => "units are ns, us, ms, s, m, h, d".to_owned(),
        };
        let read = match &self.node.content {
            Content::Text(text) => units::parse_duration(text),
            _ => None,
        };
        read.or_else(|| self.wrong("a duration such as \"300ms\", \"5s\" or \"1m30s\"", mend))
    }

    /// A duration that is not zero.
    pub(crate) fn some_duration(&self) -> Option<Duration> {
        match self.duration()? {
            Duration::ZERO => self.wrong("a duration over zero", ""),
            duration => Some(duration),
        }
    }

    pub(crate) fn share(&self) -> Option<f64> {
        let read = match &self.node.content {
            Content::Text(text) => units::parse_share(text),
            _ => self.as_number(),
        };
        read.filter(|share| (0.0..=1.0).contains(share))
            .or_else(|| self.wrong("a share from 0 to 1 or a percentage such as \"50%\"", ""))
    }

    /// A rate per second from `low` on.
    pub(crate) fn rate(&self) -> Option<f64> {
        let read = match &self.node.content {
            Content::Text(text) => units::parse_rate(text),
            _ => self.as_number(),
        };
        read.filter(|rate| (0.0..=crate::spec::HIGHEST_RATE).contains(rate)).or_else(|| {
            self.wrong(
                "requests per second such as 500 or \"30/m\"",
                "a rate is from 0 to 100 000 000 a second",
            )
        })
    }

    /// A size that is not zero.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size_or_none().and_then(
            |bytes| {
                if bytes > 0 { Some(bytes) } else { self.wrong("a size over zero", "") }
            },
        )
    }

    pub(crate) fn size_or_none(&self) -> Option<u64> {
        let read = match &self.node.content {
            Content::Text(text) => units::parse_size(text),
            Content::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        };
        read.filter(|bytes| *bytes <= 1 << 40)
            .or_else(|| self.wrong("a size such as \"64MiB\", or bytes, up to 1TiB", ""))
    }

    /// One of `words`, by index.
    pub(crate) fn word(&self, words: &[&str]) -> Option<usize> {
        let expected = format!("one of {}", words.join(", "));
        let Content::Text(text) = &self.node.content else { return self.wrong(&expected, "") };
        words.iter().position(|word| word == text).or_else(|| {
            let mend = units::nearest(text, words.iter().copied())
                .map_or_else(String::new, |word| format!("did you mean {word:?}?"));
            self.wrong(&expected, mend)
        })
    }

    /// The items of a list; a value that is no list is noted.
    pub(crate) fn list(&self, of: &str) -> Vec<Self> {
        let Content::List(items) = &self.node.content else {
            self.wrong::<()>(&format!("a list of {of}"), "put it in [ ]");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, node)| Self {
                reader: self.reader,
                node,
                key_span: node.span.clone(),
                path: format!("{}[{index}]", self.path),
            })
            .collect()
    }

    /// One string or a list of them, at least one.
    pub(crate) fn texts(&self) -> Vec<(Self, String)> {
        let fields = if matches!(self.node.content, Content::List(_)) {
            self.list("strings")
        } else {
            vec![self.clone()]
        };
        if fields.is_empty() {
            self.wrong::<()>("at least one string", "");
        }
        fields.into_iter().filter_map(|field| field.text().map(|text| (field, text))).collect()
    }

    /// A table with keys that we know.
    pub(crate) fn section(&self, keys: &'static [Key]) -> Option<Section<'r>> {
        let Content::Table(entries) = &self.node.content else {
            let names: Vec<&str> = keys.iter().map(|key| key.name).take(6).collect();
            return self.wrong("a table", format!("its keys: {}", names.join(", ")));
        };
        Some(Section {
            reader: self.reader,
            path: self.path.clone(),
            span: self.node.span.clone(),
            entries,
            keys,
            asked: RefCell::default(),
        })
    }

    /// A table with keys that the user chose.
    pub(crate) fn named(&self) -> Vec<(String, Self)> {
        let Content::Table(entries) = &self.node.content else {
            self.wrong::<()>("a table", "");
            return Vec::new();
        };
        entries
            .iter()
            .map(|entry| {
                let field = Self {
                    reader: self.reader,
                    node: &entry.node,
                    key_span: entry.key_span.clone(),
                    path: join(&self.path, &entry.key),
                };
                (entry.key.clone(), field)
            })
            .collect()
    }

    /// The value under a key of this table; this one where there is none.
    pub(crate) fn at(&self, key: &str) -> Self {
        let Content::Table(entries) = &self.node.content else { return self.clone() };
        entries.iter().find(|entry| entry.key == key).map_or_else(
            || self.clone(),
            |entry| Self {
                reader: self.reader,
                node: &entry.node,
                key_span: entry.key_span.clone(),
                path: join(&self.path, key),
            },
        )
    }

    /// Whether the value is a table.
    pub(crate) const fn is_table(&self) -> bool {
        matches!(self.node.content, Content::Table(_))
    }
}

fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
