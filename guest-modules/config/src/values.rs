//! Durations, statuses and header names as plans write them.

use serde_json::Value;

use crate::keys::{Keys, Problems};

/// The longest duration: an hour, which fits microseconds in 32 bits.
const MAX_US: f64 = 3_600e6;

/// A duration such as "50ms", "1.5s", "2m" in microseconds.
#[inline(never)]
pub fn duration(path: &str, value: &Value, problems: &mut Problems) -> Option<u32> {
    let found = value.as_str().and_then(parse_micros);
    if found.is_none() {
        problems.kind(path, "a duration from 1us to 1h", value, "write \"50ms\", \"1.5s\" or \"2m\"");
    }
    found
}

fn parse_micros(text: &str) -> Option<u32> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim_start() {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" | "min" => 60e6,
        "h" => 3_600e6,
        _ => return None,
    };
    let micros = (number.parse::<f64>().ok()? * factor).round();
    // Within 32 bits by the bound, and whole by the rounding.
    (1.0..=MAX_US).contains(&micros).then_some(micros as u32)
}

/// One status or several: 200, "2xx", "200-204", or a list of them. Sorted ranges, ends included.
pub fn statuses(path: &str, value: &Value, problems: &mut Problems) -> Vec<(u16, u16)> {
    let one = |value: &Value| match value {
        Value::Number(number) => {
            let status = u16::try_from(number.as_u64()?).ok()?;
            Some((status, status))
        }
        Value::String(text) => status_range(text),
        _ => None,
    };
    let values = match value {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut ranges = Vec::with_capacity(values.len());
    for value in values {
        match one(value).filter(|&(low, high)| 100 <= low && low <= high && high <= 599) {
            Some(range) => ranges.insert(ranges.partition_point(|known| *known < range), range),
            None => problems.kind(
                path,
                "a status from 100 to 599, a class or a range",
                value,
                "write 200, \"2xx\", \"200-204\" or a list of them",
            ),
        }
    }
    if values.is_empty() {
        problems.add(path, "the list of statuses is empty", "name at least one, or leave the key out");
    }
    ranges
}

fn status_range(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
}

/// Statuses as reports show them: `2xx, 301`.
#[must_use]
pub fn status_text(ranges: &[(u16, u16)]) -> String {
    let one = |&(low, high): &(u16, u16)| match (low, high) {
        (low, high) if low == high => low.to_string(),
        (low, high) if low % 100 == 0 && high == low + 99 => format!("{}xx", low / 100),
        (low, high) => format!("{low}-{high}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A text, a number or a flag, as it is written into a request.
#[inline(never)]
pub fn scalar(path: &str, value: &Value, problems: &mut Problems) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        other => {
            problems.kind(path, "a text, a number, true or false", other, "write a single value");
            None
        }
    }
}

/// Microseconds as reports show them.
#[must_use]
pub fn duration_text(micros: u32) -> String {
    match micros {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{} ms", us / 1_000),
        us => format!("{us} µs"),
    }
}

/// Whether a name may stand in front of the colon of a header, or be a method (RFC 9110, token).
#[must_use]
pub fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A user's pause under the key `think`, in microseconds, both ends included: "1s", or { min = "1s", max = "3s" }.
pub fn think(keys: &mut Keys<'_>, problems: &mut Problems) -> (u32, u32) {
    let at = keys.at("think");
    let (min, max) = match keys.get("think") {
        None => return (0, 0),
        Some(Value::Object(table)) => {
            let mut ends = Keys::new(&at, table);
            let (min, max) = (micros(&mut ends, "min", problems), micros(&mut ends, "max", problems));
            if max.is_none() && ends.get("max").is_none() {
                problems.add(
                    &ends.at("max"),
                    "the upper end is missing",
                    "write { min = \"1s\", max = \"3s\" }",
                );
            }
            ends.finish(problems);
            (min.unwrap_or(0), max.unwrap_or(u32::MAX))
        }
        Some(value) => {
            let fixed = duration(&at, value, problems).unwrap_or(0);
            (fixed, fixed)
        }
    };
    if min > max {
        problems.add(&at, "min is above max", "swap them");
    }
    (min, max)
}

/// The duration under a key, in microseconds.
pub fn micros(keys: &mut Keys<'_>, key: &'static str, problems: &mut Problems) -> Option<u32> {
    let value = keys.get(key)?;
    duration(&keys.at(key), value, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, us) in [
            ("50ms", Some(50_000)),
            ("1.5s", Some(1_500_000)),
            ("2m", Some(120_000_000)),
            ("1h", Some(3_600_000_000)),
            ("7us", Some(7)),
            ("10 ms", Some(10_000)),
            ("61m", None),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("", None),
        ] {
            assert_eq!(parse_micros(text), us, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_whole() {
        assert_eq!([2_000_000, 1_500_000, 7].map(duration_text), ["2 s", "1500 ms", "7 µs"]);
    }

    #[test]
    fn statuses_are_numbers_classes_ranges_and_lists() {
        let read = |text: &str| {
            let mut problems = Problems::default();
            let ranges = statuses("s", &serde_json::from_str(text).unwrap(), &mut problems);
            (ranges, problems.into_vec().len())
        };
        assert_eq!(read("200"), (vec![(200, 200)], 0));
        assert_eq!(read(r#""2xx""#), (vec![(200, 299)], 0));
        assert_eq!(read(r#"[301, "200-204"]"#), (vec![(200, 204), (301, 301)], 0));
        assert_eq!(read(r#"[99, "6xx", "204-200", {}, 600]"#), (vec![], 5));
        assert_eq!(read("[]"), (vec![], 1));
        assert_eq!(status_text(&[(200, 204), (301, 301), (400, 499)]), "200-204, 301, 4xx");
    }
}
