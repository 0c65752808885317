//! Arguments drawn from a JSON Schema: the part of it that tools use to describe them.
//!
//! Understood: `type` (also a list of them), `properties`, `required`, `enum`, `const`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`, `minLength`, `maxLength`, `format`, `items`, `minItems`, `maxItems`,
//! `anyOf`, `oneOf`, `$ref` within the schema. `pattern`, `allOf`, `not` and their like cannot be satisfied by drawing, and
//! are an error; whatever only describes is not looked at.

use std::cell::{Cell, RefCell};

use gauntlet_sdk::Rng;
use guest_config::{decimal, json_escaped};
use serde_json::{Map, Value};

/// Nesting of a schema, references included.
const DEPTH: usize = 24;
/// Parts of a schema, references followed: a few definitions that refer to each other multiply.
const PARTS: u32 = 10_000;
/// The longest draw, bytes.
const MOST_BYTES: u64 = 1 << 20;
/// Items that a list gets where the schema names no upper end, more than its lower one.
const MORE_ITEMS: u64 = 3;
/// Characters that a text gets where the schema names no upper end, more than its lower one.
const MORE_CHARACTERS: u64 = 16;
/// The longest text and list: what is drawn must fit a request.
const LONGEST: u64 = 65_536;
/// Ends of numbers where the schema names none.
const NUMBERS: (f64, f64) = (0.0, 1_000.0);
/// Whole numbers that every reader of JSON takes exactly.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// Keywords that restrict values in a way that drawing cannot follow.
const UNSUPPORTED: [&str; 12] = [
    "allOf",
    "not",
    "if",
    "pattern",
    "patternProperties",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "prefixItems",
    "uniqueItems",
    "propertyNames",
];

/// A schema, ready for drawing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Generator {
    /// One of these, as JSON.
    Constants(Vec<Box<str>>),
    Flag,
    /// `low + n * step` for n from 0 to `steps`.
    Whole {
        low: i64,
        step: u64,
        steps: u64,
    },
    Number {
        low: f64,
        high: f64,
    },
    Text {
        least: u64,
        most: u64,
    },
    Format(Format),
    List {
        item: Box<Generator>,
        least: u64,
        most: u64,
    },
    /// Keys as JSON; those that are not required come in half of the draws.
    Table(Vec<(Box<str>, bool, Generator)>),
    OneOf(Vec<Generator>),
}

/// A text of a kind that servers check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Date,
    DateTime,
    Time,
    Email,
    Uri,
    Uuid,
    Ipv4,
    Hostname,
}

const FORMATS: [(&str, Format); 8] = [
    ("date", Format::Date),
    ("date-time", Format::DateTime),
    ("time", Format::Time),
    ("email", Format::Email),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid),
    ("ipv4", Format::Ipv4),
    ("hostname", Format::Hostname),
];

/// Where a schema cannot be followed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsatisfiable {
    pub(crate) place: String,
    pub(crate) message: String,
}

impl Generator {
    /// Prepares a schema.
    ///
    /// # Errors
    /// The first place that no draw satisfies, or that is not understood.
    pub(crate) fn new(schema: &Value) -> Result<Self, Unsatisfiable> {
        let reader =
            Reader { root: schema, left: Cell::new(PARTS), followed: RefCell::new(vec!["#".into()]) };
        let generator = reader.read(schema, "", 0);
        if reader.left.get() == 0 {
            let message = format!("has more than {PARTS} parts, references followed");
            return Err(Unsatisfiable { place: String::new(), message });
        }
        let generator = generator?;
        if generator.most_bytes() > MOST_BYTES {
            let message = "allows arguments of more than 1 MiB".into();
            return Err(Unsatisfiable { place: String::new(), message });
        }
        Ok(generator)
    }

    /// No draw is longer.
    fn most_bytes(&self) -> u64 {
        let longest = |all: &mut dyn Iterator<Item = u64>| all.max().unwrap_or(0);
        match self {
            Self::Constants(all) => longest(&mut all.iter().map(|one| one.len() as u64)),
            Self::Flag => 5,
            Self::Whole { .. } => 20,
            // The longest that an f64 is written as; a format's texts are shorter than twice that.
            Self::Number { .. } => 25,
            Self::Format(_) => 50,
            Self::Text { most, .. } => most + 2,
            Self::List { item, most, .. } => {
                item.most_bytes().saturating_add(1).saturating_mul(*most).saturating_add(2)
            }
            Self::Table(all) => all.iter().fold(2, |sum: u64, (key, _, value)| {
                sum.saturating_add(key.len() as u64 + 2).saturating_add(value.most_bytes())
            }),
            Self::OneOf(all) => longest(&mut all.iter().map(Self::most_bytes)),
        }
    }

    /// Appends one draw as JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>, rng: &mut Rng) {
        match self {
            Self::Constants(all) => {
                // A list of constants is never empty.
                let drawn = rng.below(all.len() as u64) as usize;
                out.extend_from_slice(all[drawn].as_bytes());
            }
            Self::Flag => out.extend_from_slice(if rng.chance(0.5) { b"true" } else { b"false" }),
            Self::Whole { low, step, steps } => {
                // Within the ends by construction, and those within 53 bits.
                let number = low.wrapping_add_unsigned(rng.between(0, *steps).wrapping_mul(*step));
                if number < 0 {
                    out.push(b'-');
                }
                decimal(out, number.unsigned_abs());
            }
            Self::Number { low, high } => {
                let number = low + (high - low) * rng.unit();
                out.extend_from_slice(Value::from(number).to_string().as_bytes());
            }
            Self::Text { least, most } => {
                const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz aeion";
                out.push(b'"');
                for _ in 0..rng.between(*least, *most) {
                    out.push(LETTERS[rng.below(32) as usize]);
                }
                out.push(b'"');
            }
            Self::Format(format) => format.write(out, rng),
            Self::List { item, least, most } => {
                out.push(b'[');
                for index in 0..rng.between(*least, *most) {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out, rng);
                }
                out.push(b']');
            }
            Self::Table(properties) => {
                out.push(b'{');
                let mut first = true;
                for (key, required, value) in properties {
                    if *required || rng.chance(0.5) {
                        if !std::mem::take(&mut first) {
                            out.push(b',');
                        }
                        out.extend_from_slice(key.as_bytes());
                        out.push(b':');
                        value.write(out, rng);
                    }
                }
                out.push(b'}');
            }
            Self::OneOf(all) => all[rng.below(all.len() as u64) as usize].write(out, rng),
        }
    }
}

impl Format {
    fn write(self, out: &mut Vec<u8>, rng: &mut Rng) {
        let n = |rng: &mut Rng, low, high| rng.between(low, high);
        let date =
            |rng: &mut Rng| format!("20{:02}-{:02}-{:02}", n(rng, 0, 40), n(rng, 1, 12), n(rng, 1, 28));
        let time = |rng: &mut Rng| format!("{:02}:{:02}:{:02}Z", n(rng, 0, 23), n(rng, 0, 59), n(rng, 0, 59));
        let text = match self {
            Self::Date => date(rng),
            Self::Time => time(rng),
            Self::DateTime => format!("{}T{}", date(rng), time(rng)),
            Self::Email => format!("user{}@example.com", n(rng, 1, 999_999)),
            Self::Uri => format!("https://example.com/{}", n(rng, 1, 999_999)),
            Self::Hostname => format!("host{}.example.com", n(rng, 1, 999_999)),
            Self::Ipv4 => format!("192.0.2.{}", n(rng, 1, 254)),
            Self::Uuid => {
                let (high, low) = (rng.next_u64(), rng.next_u64());
                format!(
                    "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                    high >> 32,
                    high >> 16 & 0xffff,
                    high & 0xfff,
                    low >> 48 & 0x3fff | 0x8000,
                    low & 0xffff_ffff_ffff
                )
            }
        };
        out.push(b'"');
        json_escaped(out, text.as_bytes());
        out.push(b'"');
    }
}

/// Reads schemas that may refer to others in the same document.
struct Reader<'a> {
    root: &'a Value,
    /// Parts that may still be read.
    left: Cell<u32>,
    /// References that are being followed.
    followed: RefCell<Vec<String>>,
}

impl Reader<'_> {
    fn read(&self, schema: &Value, place: &str, depth: usize) -> Result<Generator, Unsatisfiable> {
        let refuse = |message: String| Err(Unsatisfiable { place: place.to_owned(), message });
        if depth > DEPTH {
            return refuse(format!("is nested more than {DEPTH} deep"));
        }
        let Some(left) = self.left.get().checked_sub(1) else {
            return refuse("has too many parts".into());
        };
        self.left.set(left);
        let table = match schema {
            // Anything goes.
            Value::Bool(true) => return Ok(Generator::Text { least: 0, most: MORE_CHARACTERS }),
            Value::Object(table) => table,
            _ => return refuse("is no schema that a value satisfies".into()),
        };
        if let Some(reference) = table.get("$ref") {
            let name = reference.as_str().unwrap_or_default();
            let Some(found) = name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                return refuse(format!("$ref {reference} leads nowhere in this schema"));
            };
            if self.followed.borrow().iter().any(|other| other == name) {
                return refuse(format!("$ref {reference} refers to itself"));
            }
            self.followed.borrow_mut().push(name.to_owned());
            let generator = self.read(found, place, depth + 1);
            self.followed.borrow_mut().pop();
            return generator;
        }
        if let Some(keyword) = UNSUPPORTED.iter().find(|keyword| table.contains_key(**keyword)) {
            return refuse(format!("`{keyword}` is not among the keywords that are drawn from"));
        }
        if let Some(constant) = table.get("const") {
            return Ok(Generator::Constants(vec![constant.to_string().into()]));
        }
        match table.get("enum") {
            Some(Value::Array(all)) if !all.is_empty() => {
                return Ok(Generator::Constants(all.iter().map(|one| one.to_string().into()).collect()));
            }
            Some(_) => return refuse("`enum` has no values".into()),
            None => {}
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(all)) = table.get(key) {
                let read = |(index, one)| self.read(one, &format!("{place}/{key}/{index}"), depth + 1);
                let all = all.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
                return if all.is_empty() {
                    refuse(format!("`{key}` is empty"))
                } else {
                    Ok(Generator::OneOf(all))
                };
            }
        }
        match table.get("type") {
            Some(Value::String(kind)) => self.typed(kind, table, place, depth),
            Some(Value::Array(kinds)) if !kinds.is_empty() => {
                let read = |kind: &Value| self.typed(kind.as_str().unwrap_or_default(), table, place, depth);
                Ok(Generator::OneOf(kinds.iter().map(read).collect::<Result<_, _>>()?))
            }
            None if table.contains_key("properties") => self.typed("object", table, place, depth),
            None if table.contains_key("items") => self.typed("array", table, place, depth),
            None => Ok(Generator::Text { least: 0, most: MORE_CHARACTERS }),
            Some(other) => refuse(format!("`type` is {other}")),
        }
    }

    fn typed(
        &self,
        kind: &str,
        table: &Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<Generator, Unsatisfiable> {
        let refuse = |message: String| Err(Unsatisfiable { place: place.to_owned(), message });
        match kind {
            "null" => Ok(Generator::Constants(vec!["null".into()])),
            "boolean" => Ok(Generator::Flag),
            "integer" => match whole(table) {
                Some(generator) => Ok(generator),
                None => refuse("there is no whole number between its ends".into()),
            },
            "number" if table.contains_key("multipleOf") => match whole(table) {
                Some(generator) => Ok(generator),
                None => {
                    refuse("`multipleOf` is not a whole number, or has no multiple between the ends".into())
                }
            },
            "number" => {
                let (low, high) = ends(table);
                // Halfway keeps away from an end that is excluded.
                let open = |key: &str| table.get(key).is_some_and(Value::is_number);
                if low > high || (low >= high && (open("exclusiveMinimum") || open("exclusiveMaximum"))) {
                    return refuse(format!("there is no number from {low} to {high}"));
                }
                let margin = (high - low) / 1_024.0;
                let low = if open("exclusiveMinimum") { low + margin } else { low };
                Ok(Generator::Number {
                    low,
                    high: if open("exclusiveMaximum") { high - margin } else { high },
                })
            }
            "string" => {
                let format = table.get("format").and_then(Value::as_str);
                let format = format.and_then(|name| FORMATS.iter().find(|(known, _)| *known == name));
                match (format, lengths(table, ["minLength", "maxLength"], MORE_CHARACTERS)) {
                    (Some((_, format)), _) => Ok(Generator::Format(*format)),
                    (None, Some((least, most))) => Ok(Generator::Text { least, most }),
                    (None, None) => refuse("there is no length between `minLength` and `maxLength`".into()),
                }
            }
            "array" => {
                let Some((least, most)) = lengths(table, ["minItems", "maxItems"], MORE_ITEMS) else {
                    return refuse("there is no length between `minItems` and `maxItems`".into());
                };
                let item = table.get("items").unwrap_or(&Value::Bool(true));
                let item = Box::new(self.read(item, &format!("{place}/items"), depth + 1)?);
                Ok(Generator::List { item, least, most })
            }
            "object" => self.properties(table, place, depth),
            other => refuse(format!("\"{other}\" is no type of JSON")),
        }
    }

    fn properties(
        &self,
        table: &Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<Generator, Unsatisfiable> {
        let required: Vec<&str> = match table.get("required") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let properties = table.get("properties").and_then(Value::as_object);
        let mut all = Vec::new();
        for (name, schema) in properties.into_iter().flatten() {
            let is_required = required.contains(&name.as_str());
            match self.read(schema, &format!("{place}/properties/{name}"), depth + 1) {
                Ok(generator) => {
                    all.push((Value::String(name.clone()).to_string().into(), is_required, generator));
                }
                Err(error) if is_required => return Err(error),
                // What need not be there is left out, and a schema that refers to itself ends here.
                Err(_) => {}
            }
        }
        match required.iter().find(|name| properties.is_none_or(|known| !known.contains_key(**name))) {
            Some(name) => Err(Unsatisfiable {
                place: place.to_owned(),
                message: format!("`{name}` is required, and no property says what it is"),
            }),
            None => Ok(Generator::Table(all)),
        }
    }
}

/// The ends of a number, as the schema says or as ours.
fn ends(table: &Map<String, Value>) -> (f64, f64) {
    let at = |key: &str| table.get(key).and_then(Value::as_f64);
    let low = [at("minimum"), at("exclusiveMinimum")].into_iter().flatten().reduce(f64::max);
    let high = [at("maximum"), at("exclusiveMaximum")].into_iter().flatten().reduce(f64::min);
    let width = NUMBERS.1 - NUMBERS.0;
    match (low, high) {
        (Some(low), Some(high)) => (low, high),
        (Some(low), None) => (low, low + width),
        (None, Some(high)) => (NUMBERS.0.min(high - width), high),
        (None, None) => NUMBERS,
    }
}

fn whole(table: &Map<String, Value>) -> Option<Generator> {
    let (low, high) = ends(table);
    let step = table.get("multipleOf").map_or(Some(1.0), Value::as_f64)?;
    if step < 1.0 || step.fract() != 0.0 {
        return None;
    }
    let is = |key: &str, end: f64| table.get(key).and_then(Value::as_f64) == Some(end);
    let mut first = (low.max(-SAFE) / step).ceil();
    let mut last = (high.min(SAFE) / step).floor();
    first += f64::from(u8::from(is("exclusiveMinimum", first * step)));
    last -= f64::from(u8::from(is("exclusiveMaximum", last * step)));
    // Whole by the rounding, and within 53 bits.
    (first <= last).then_some(Generator::Whole {
        low: (first * step) as i64,
        step: step as u64,
        steps: (last - first) as u64,
    })
}

/// From the least to the most, both included.
fn lengths(table: &Map<String, Value>, keys: [&str; 2], more: u64) -> Option<(u64, u64)> {
    let at = |key: &str| table.get(key).and_then(Value::as_u64);
    let least = at(keys[0]).unwrap_or(0);
    // A text of some length says more than none, where both are allowed.
    let most = at(keys[1]).unwrap_or(u64::MAX).min(least.saturating_add(more)).min(LONGEST);
    (least <= most).then_some((least, most))
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
