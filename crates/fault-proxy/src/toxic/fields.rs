//! Reading a toxic's attributes over those that it has, with all mistakes at once.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// A JSON object that is being read, field by field. A field that is absent or null keeps the present value.
pub(super) struct Fields<'a> {
    given: &'a Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(given: &'a Map<String, Value>) -> Self {
        Self { given, known: Vec::new(), problems: Vec::new() }
    }

    /// A whole number.
    pub(super) fn whole(&mut self, name: &'static str, present: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.field(name) else { return present };
        match value.as_u64() {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (range.start(), range.end());
                self.wrong(name, value, &format!("a whole number from {low} to {high}"));
                present
            }
        }
    }

    /// A share, 0 to 1.
    pub(super) fn share(&mut self, name: &'static str, present: f64) -> f64 {
        let Some(value) = self.field(name) else { return present };
        match value.as_f64() {
            Some(number) if (0.0..=1.0).contains(&number) => number,
            _ => {
                self.wrong(name, value, "a number from 0 to 1");
                present
            }
        }
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &'static str, present: bool) -> bool {
        let Some(value) = self.field(name) else { return present };
        value.as_bool().unwrap_or_else(|| {
            self.wrong(name, value, "true or false");
            present
        })
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str, present: &str) -> String {
        let Some(value) = self.field(name) else { return present.to_owned() };
        value
            .as_str()
            .unwrap_or_else(|| {
                self.wrong(name, value, "a text");
                present
            })
            .to_owned()
    }

    /// Something that holds between fields.
    pub(super) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.problems.is_empty() {
            self.problems.push(otherwise());
        }
    }

    /// All that is wrong, fields that nobody asked for included: a typing error must not become a toxic that does nothing.
    pub(super) fn finish(mut self) -> Result<(), String> {
        for name in self.given.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let known = self.known.join(", ");
            self.problems.push(format!("attributes: there is no {name:?}; there are: {known}"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems.join("; ")) }
    }

    fn field(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.given.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, name: &str, found: &Value, expected: &str) {
        self.problems.push(format!("attributes.{name}: found {found}, expected {expected}"));
    }
}
