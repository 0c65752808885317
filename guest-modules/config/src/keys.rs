//! Walks a table key by key and gathers everything that is wrong with it.

use gauntlet_sdk::Problem;
use serde_json::{Map, Value};

/// All problems found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One more, at `path`.
    #[inline(never)]
    pub fn add(&mut self, path: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Problem::new(path, message, mend));
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// `found` is of another kind than `expected`.
    #[inline(never)]
    pub fn kind(&mut self, path: &str, expected: &str, found: &Value, mend: &str) {
        self.add(path, format!("expected {expected}, found {}", kind(found)), mend);
    }
}

/// What a value is, with as much of it as helps to find it.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text \"{}\"", text.chars().take(60).collect::<String>()),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
    }
}

/// The table that a whole configuration is. Text that is no JSON, or no table, is named in `problems`, with `mend` for the
/// latter: what to write.
#[inline(never)]
pub fn whole(text: &str, mend: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(table)) => Some(table),
        Ok(other) => {
            problems.kind("", "a table", &other, mend);
            None
        }
        Err(error) => {
            problems.add("", format!("the configuration is not JSON: {error}"), "hand in a JSON object");
            None
        }
    }
}

// Nothing of this is hot: inlined into their many callers, these functions would double the guest's size.
/// A table whose keys are asked for one by one; what was not asked for is unknown.
#[derive(Debug)]
pub struct Keys<'a> {
    path: String,
    table: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// A table that stands at `path`; empty = the whole configuration.
    #[must_use]
    pub fn new(path: &str, table: &'a Map<String, Value>) -> Self {
        Self { path: path.to_owned(), table, known: Vec::new() }
    }

    /// The value of a key, which is known from now on.
    #[inline(never)]
    pub fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        // Kept in order: sorting code would be a tenth of the guest's size.
        let at = self.known.partition_point(|known| *known < key);
        if self.known.get(at) != Some(&key) {
            self.known.insert(at, key);
        }
        self.table.get(key)
    }

    /// Where a key of this table stands.
    #[inline(never)]
    #[must_use]
    pub fn at(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The text under a key.
    #[inline(never)]
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a str> {
        let value = self.get(key)?;
        if value.as_str().is_none() {
            problems.kind(&self.at(key), "a text", value, &format!("write {key} = \"…\""));
        }
        value.as_str()
    }

    /// The truth value under a key.
    #[inline(never)]
    pub fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.get(key)?;
        if value.as_bool().is_none() {
            problems.kind(&self.at(key), "true or false", value, &format!("write {key} = true"));
        }
        value.as_bool()
    }

    /// The whole number from 0 to `max` under a key.
    #[inline(never)]
    pub fn whole(&mut self, key: &'static str, max: u32, problems: &mut Problems) -> Option<u32> {
        let value = self.get(key)?;
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&n| n <= max);
        if number.is_none() {
            let expected = format!("a whole number from 0 to {max}");
            problems.kind(&self.at(key), &expected, value, &format!("write {key} = 1, for example"));
        }
        number
    }

    /// One of a few words.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let value = self.get(key)?;
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let mend = format!("write {key} = {}", all[0]);
            problems.kind(&self.at(key), &format!("one of {}", all.join(", ")), value, &mend);
        }
        found.map(|&(_, meaning)| meaning)
    }

    /// The other table under a key.
    #[inline(never)]
    pub fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Map<String, Value>> {
        let value = self.get(key)?;
        if value.as_object().is_none() {
            problems.kind(&self.at(key), "a table", value, &format!("write {key} = {{ … }}"));
        }
        value.as_object()
    }

    /// Names every key that was not asked for.
    #[inline(never)]
    pub fn finish(self, problems: &mut Problems) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let near = self.known.iter().find(|known| distance(known, key) <= 2);
            let mend = match near {
                Some(known) => format!("did you mean `{known}`? Known here: {}", self.known.join(", ")),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            problems.add(&self.at(key), format!("unknown key `{key}`"), mend);
        }
    }
}

/// The place of a key in the table at `path`.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Insertions, deletions and replacements from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let cases = [
            ("get", "get", 0),
            ("get", "gte", 2),
            ("weight", "wieght", 2),
            ("", "abc", 3),
            ("post", "put", 2),
        ];
        for (a, b, edits) in cases {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
