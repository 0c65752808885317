//! How figures are written for people: the same in the report, the terminal and messages.

/// Microseconds with a fitting unit and three significant digits: `870 µs`, `12.3 ms`, `1.80 s`; `∞` for infinite.
#[must_use]
pub fn micros(value: f64) -> String {
    if value.is_infinite() {
        return "∞".to_owned();
    }
    if value < 1_000.0 {
        format!("{value:.0} µs")
    } else if value < 1_000_000.0 {
        format!("{} ms", significant(value / 1_000.0))
    } else {
        format!("{} s", significant(value / 1_000_000.0))
    }
}

/// A round number of microseconds, as limits are written: `20 µs`, `5 ms`, `1 s`.
#[must_use]
pub fn round_micros(value: u64) -> String {
    match value {
        1_000_000.. if value.is_multiple_of(1_000_000) => format!("{} s", value / 1_000_000),
        1_000.. if value.is_multiple_of(1_000) => format!("{} ms", value / 1_000),
        _ => format!("{value} µs"),
    }
}

/// Three significant digits.
fn significant(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A count with thin spaces between thousands: `1 234 567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A rate per second: whole above 100, one decimal above 10, else two.
#[must_use]
pub fn rate(value: f64) -> String {
    if value >= 100.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is far below 2^63 and not negative here"
        )]
        let whole = value.round() as u64;
        count(whole)
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.2}")
    }
}

/// A share as per cent: `0 %`, `0.02 %`, `12.5 %`, `100 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 || value >= 99.995 {
        format!("{value:.0} %")
    } else if value < 0.01 {
        "< 0.01 %".to_owned()
    } else if value < 1.0 {
        format!("{value:.2} %")
    } else {
        format!("{value:.1} %")
    }
}

/// The same without a decimal that is zero, as limits are written: `95 %`, `99.5 %`.
#[must_use]
pub fn round_percent(share: f64) -> String {
    percent(share).replace(".0 %", " %")
}

/// A length of time from milliseconds: `850 ms`, `12.5 s`, `3 min 20 s`, `2 h 05 min`.
#[must_use]
pub fn length(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => {
            let text = format!("{:.1}", f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1_000.0);
            format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
        }
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// The same without a part that is zero, as limits are written: `2 min`, `90 s`.
#[must_use]
pub fn round_length(ms: u64) -> String {
    match ms {
        60_000..3_600_000 if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        60_000..3_600_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        3_600_000.. if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ => length(ms),
    }
}

/// Bytes with a decimal unit.
#[must_use]
pub fn bytes(value: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let v = value as f64;
    match value {
        0..1_000 => format!("{value} B"),
        1_000..1_000_000 => format!("{} kB", significant(v / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", significant(v / 1e6)),
        _ => format!("{} GB", significant(v / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(micros(870.0), "870 µs");
        assert_eq!(micros(12_340.0), "12.3 ms");
        assert_eq!(micros(1_800_000.0), "1.80 s");
        assert_eq!(micros(f64::INFINITY), "∞");
        assert_eq!([20, 5_000, 1_500, 1_000_000].map(round_micros), ["20 µs", "5 ms", "1500 µs", "1 s"]);
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(50_000.4), "50\u{202f}000");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "< 0.01 %");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(round_percent(0.95), "95 %");
        assert_eq!(round_percent(0.125), "12.5 %");
        assert_eq!(length(850), "850 ms");
        assert_eq!(length(12_500), "12.5 s");
        assert_eq!(length(200_000), "3 min 20 s");
        assert_eq!(length(7_500_000), "2 h 05 min");
        assert_eq!(round_length(120_000), "2 min");
        assert_eq!(round_length(90_000), "90 s");
        assert_eq!(round_length(30_000), "30 s");
        assert_eq!(round_length(3_600_000), "1 h");
        assert_eq!(round_length(61_500), "1 min 01 s");
        assert_eq!(bytes(1_500_000), "1.50 MB");
    }
}
