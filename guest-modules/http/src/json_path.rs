//! A small subset of JSON path, `$.a.b[0]`, and a scanner that finds the value without building a tree.

use std::borrow::Cow;

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

impl Path {
    /// Parses `$`, `$.key`, `$["any key"]` and `$.list[0]`, in any depth.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').ok_or_else(|| format!("\"{text}\" does not begin with $"))?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (key, after) = after.split_at(end);
                if key.is_empty() || key.contains('*') {
                    return Err(format!("\"{text}\" has no plain key after a dot"));
                }
                parts.push(Part::Key(key.to_owned()));
                rest = after;
            } else if let Some((key, after)) = quoted(rest) {
                parts.push(Part::Key(key.to_owned()));
                rest = after;
            } else if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                let index =
                    index.parse().map_err(|_| format!("[{index}] in \"{text}\" is no index from 0 on"))?;
                parts.push(Part::Index(index));
                rest = after;
            } else {
                return Err(format!("\"{text}\" cannot be read from \"{rest}\" on"));
            }
        }
        Ok(Self(parts))
    }

    /// The value at this path, as it stands in the document. What comes after it is not read, so a document that is
    /// broken only there still has it.
    pub(crate) fn find<'a>(&self, document: &'a [u8]) -> Option<&'a [u8]> {
        let mut scanner = Scanner { bytes: document, at: 0 };
        for part in &self.0 {
            match part {
                Part::Key(key) => scanner.enter_key(key)?,
                Part::Index(index) => scanner.enter_index(*index)?,
            }
        }
        scanner.space();
        let begin = scanner.at;
        scanner.skip_value()?;
        document.get(begin..scanner.at)
    }
}

/// `["key"]…` or `['key']…`: the key and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (key, rest) = inner[1..].split_once(quote)?;
    Some((key, rest.strip_prefix(']')?))
}

/// A found value as the text that goes into a request: a string without its quotes and escapes, anything else as it
/// stands. `None` for null, and for a string that is not well formed.
pub(crate) fn text(found: &[u8]) -> Option<Cow<'_, [u8]>> {
    match found {
        b"null" => None,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Cow::Borrowed(inner)),
        [b'"', ..] => serde_json::from_slice::<String>(found).ok().map(|text| Cow::Owned(text.into_bytes())),
        other => Some(Cow::Borrowed(other)),
    }
}

/// Whether a found value is this one; 1 and 1.0 are the same.
pub(crate) fn equals(found: &[u8], wanted: &Value) -> bool {
    match serde_json::from_slice::<Value>(found) {
        Ok(found) => same(&found, wanted),
        Err(_) => false,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            // Two spellings of a number can be read one last bit apart.
            (a - b).abs() <= f64::EPSILON * a.abs()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads this byte, spaces before it left out.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn enter_key(&mut self, key: &str) -> Option<()> {
        self.take(b'{')?;
        loop {
            self.space();
            let begin = self.at;
            self.skip_string()?;
            let name = text(&self.bytes[begin..self.at])?;
            self.take(b':')?;
            if *name == *key.as_bytes() {
                return Some(());
            }
            self.skip_value()?;
            self.take(b',')?;
        }
    }

    fn enter_index(&mut self, index: usize) -> Option<()> {
        self.take(b'[')?;
        for _ in 0..index {
            self.skip_value()?;
            self.take(b',')?;
        }
        self.space();
        (self.peek()? != b']').then_some(())
    }

    /// Skips one value; nesting costs a counter, not a stack, so depth cannot exhaust it.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.skip_word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// A number, true, false or null.
    fn skip_word(&mut self) -> Option<()> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            self.at += 1;
        }
        (self.at > begin).then_some(())
    }
}

#[cfg(test)]
mod tests;
