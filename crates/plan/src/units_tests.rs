use super::*;

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, ns) in [
        ("300ms", 300_000_000),
        ("5s", 5_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1m 30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("250us", 250_000),
        ("250µs", 250_000),
        ("2d", 172_800_000_000_000),
        ("0s", 0),
    ] {
        assert_eq!(parse_duration(text), Some(Duration::from_nanos(ns)), "{text}");
    }
    for text in ["", "5", "s", "5 parsecs", "-5s", "1..5s", "99999999999d", "5s3"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn printed_durations_read_back() {
    for ns in [0, 1, 999, 1_000, 90_000_000_000, 86_400_000_000_000, 3_661_001_002_003] {
        let duration = Duration::from_nanos(ns);
        assert_eq!(parse_duration(&print_duration(duration)), Some(duration));
    }
    assert_eq!(print_duration(Duration::from_secs(90)), "1m30s");
}

#[test]
fn shares_rates_and_sizes() {
    assert_eq!(parse_share("50%"), Some(0.5));
    assert_eq!(parse_share("0.5"), Some(0.5));
    assert_eq!(parse_share("half"), None);
    assert_eq!(print_share(0.07), "7%");
    assert_eq!(print_share(0.1), "10%");
    assert_eq!(parse_share(&print_share(1.0 / 3.0)), Some(1.0 / 3.0));
    assert_eq!(parse_rate("30/m"), Some(0.5));
    assert_eq!(parse_rate("500 req/s"), Some(500.0));
    assert_eq!(parse_rate("500/fortnight"), None);
    assert_eq!(parse_size("64MiB"), Some(64 << 20));
    assert_eq!(parse_size("1.5 kB"), Some(1500));
    assert_eq!(parse_size("64"), None);
    assert_eq!(print_size(64 << 20), "64MiB");
    assert_eq!(parse_size(&print_size(1000)), Some(1000));
}

#[test]
fn a_slip_finds_its_word() {
    assert_eq!(nearest("durration", ["rate", "duration"]), Some("duration"));
    assert_eq!(nearest("max_users", ["max-users", "users"]), Some("max-users"));
    assert_eq!(nearest("shpo", ["shop", "pay"]), Some("shop"));
    assert_eq!(nearest("colour", ["rate", "duration"]), None);
}
