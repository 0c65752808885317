//! Figures as people read them, and outcomes built from them.

use protocol::event::{Outcome, OutcomeResult};

/// What a formula came to, before it is put beside its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// The figures seen.
    pub(crate) seen: String,
    /// How it came out.
    pub(crate) result: OutcomeResult,
}

impl Finding {
    /// It holds, or it does not.
    pub(crate) fn judged(holds: bool, seen: impl Into<String>) -> Self {
        let result = if holds { OutcomeResult::Pass } else { OutcomeResult::Fail };
        Self { seen: seen.into(), result }
    }

    /// It could not be evaluated; never without a reason.
    pub(crate) fn not_evaluable(reason: impl Into<String>) -> Self {
        Self { seen: String::new(), result: OutcomeResult::NotEvaluable { reason: reason.into() } }
    }

    /// Puts name and formula beside it.
    pub(crate) fn named(self, name: impl Into<String>, expected: impl Into<String>) -> Outcome {
        Outcome { name: name.into(), expected: expected.into(), seen: self.seen, result: self.result }
    }
}

/// Whether an outcome is a failure.
pub(crate) fn failed(outcome: &Outcome) -> bool {
    outcome.result == OutcomeResult::Fail
}

/// `12.3 %`.
pub(crate) fn share(value: f64) -> String {
    format!("{} %", plain(value * 100.0))
}

/// `312 µs`, `1.84 ms`, `2.05 s`; `inf` for a percentile that falls among lost operations.
pub(crate) fn micros(value: f64) -> String {
    if value.is_infinite() {
        "inf".to_owned()
    } else if value < 1_000.0 {
        format!("{} µs", plain(value))
    } else if value < 1_000_000.0 {
        format!("{} ms", plain(value / 1_000.0))
    } else {
        format!("{} s", plain(value / 1_000_000.0))
    }
}

/// `1 250 /s` without the blank: `1250 /s`.
pub(crate) fn rate(value: f64) -> String {
    format!("{} /s", plain(value))
}

/// At most three significant digits after the point, none of them idle zeros.
pub(crate) fn plain(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1 worker`, `2 workers`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(share(0.0123), "1.23 %");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(micros(312.0), "312 µs");
        assert_eq!(micros(1_840.0), "1.84 ms");
        assert_eq!(micros(2_050_000.0), "2.05 s");
        assert_eq!(micros(f64::INFINITY), "inf");
        assert_eq!(rate(1250.4), "1250 /s");
        assert_eq!(plain(0.0), "0");
    }
}
