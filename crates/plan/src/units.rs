//! Durations, shares, rates and sizes: how a plan writes them, and back.

use std::time::Duration;

const DURATION_UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A century: anything longer is a slip of the pen, and would overflow nanoseconds further on.
const LONGEST_NS: u128 = 100 * 365 * 86_400_000_000_000;

/// Reads `300ms`, `5s`, `1m30s`, `1.5h`. `None` when it is not a duration, or longer than a century.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, unit_ns) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled_decimal(number, *unit_ns)?)?;
        rest = tail.trim_start();
    }
    (total <= LONGEST_NS).then(|| Duration::from_nanos(u64::try_from(total).unwrap_or(u64::MAX)))
}

/// `number` (decimal digits, at most one point) times `unit`, rounded down.
fn scaled_decimal(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 12 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(unit)?;
    if !fraction.is_empty() {
        let digits: u128 = fraction.parse().ok()?;
        let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        value = value.checked_add(digits.checked_mul(unit)? / power)?;
    }
    Some(value)
}

/// Writes a duration so that [`parse_duration`] gives the same one back: `1m30s`, `300ms`, `0s`.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in DURATION_UNITS.iter().rev().filter(|(name, _)| *name != "µs" && *name != "d") {
        let count = left / unit;
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            left %= unit;
        }
    }
    text
}

/// Reads `50%` or `0.5`. `None` when it is neither; the range is the caller's to check.
#[must_use]
pub fn parse_share(text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse::<f64>().ok()?,
    };
    value.is_finite().then_some(value)
}

/// Writes a share as a percentage where that is exact, else as a number.
#[must_use]
pub fn print_share(share: f64) -> String {
    let percent = (share * 1e12).round() / 1e10;
    if percent / 100.0 == share { format!("{percent}%") } else { share.to_string() }
}

/// Reads `500`, `500/s`, `500 req/s`, `30/m`, `30 req/min`, per second. `None` when it is none of these.
#[must_use]
pub fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let per = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return None,
    };
    let number = number.trim();
    let number = number.strip_suffix("req").unwrap_or(number).trim();
    let value = number.parse::<f64>().ok()? / per;
    value.is_finite().then_some(value)
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads `64MiB`, `1.5 GB`, `512B`, in bytes. `None` when it is not a size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (name, unit) = SIZE_UNITS.iter().find(|(name, _)| text.ends_with(name))?;
    let number = text.strip_suffix(name)?.trim();
    u64::try_from(scaled_decimal(number, u128::from(*unit))?).ok()
}

/// Writes a size in the largest binary unit that divides it: `64MiB`, `1000B`.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    for (name, unit) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// The name among `known` that `found` was probably meant to be.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| (distance(&found, &name.to_lowercase().replace('_', "-")), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
