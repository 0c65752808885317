use super::*;

#[test]
fn the_grammar() {
    for (text, measure, op, limit) in [
        ("p(99) < 300ms", Measure::Latency { percentile: 99.0 }, Op::Less, 300_000.0),
        ("p(99.9)<=1s", Measure::Latency { percentile: 99.9 }, Op::LessOrEqual, 1_000_000.0),
        ("med < 10ms", Measure::Latency { percentile: 50.0 }, Op::Less, 10_000.0),
        ("max < 1m", Measure::Latency { percentile: 100.0 }, Op::Less, 60_000_000.0),
        ("service(50) > 1us", Measure::Service { percentile: 50.0 }, Op::Greater, 1.0),
        ("queue(95) < 5ms", Measure::Queue { percentile: 95.0 }, Op::Less, 5_000.0),
        ("avg < 1ms", Measure::Mean, Op::Less, 1_000.0),
        ("error_rate < 1%", Measure::ErrorRate, Op::Less, 0.01),
        ("checks >= 0.995", Measure::Checks, Op::GreaterOrEqual, 0.995),
        ("throughput > 500", Measure::Throughput, Op::Greater, 500.0),
        ("goodput >= 600/m", Measure::Goodput, Op::GreaterOrEqual, 10.0),
        ("dropped <= 0", Measure::Dropped, Op::LessOrEqual, 0.0),
        ("achieved > 99%", Measure::Achieved, Op::Greater, 0.99),
    ] {
        let check: Check = text.parse().unwrap();
        assert_eq!(check, Check { measure, op, limit }, "{text}");
        assert_eq!(check.to_string().parse(), Ok(check), "{check}");
    }
}

#[test]
fn what_is_no_check_says_what_would_be() {
    for (text, message, mend) in [
        ("p(99)", "expected MEASURE < LIMIT", "such as"),
        ("p99 < 1s", "found the measure \"p99\"", "did you mean p(99)?"),
        ("error-rate < 1%", "found the measure", "did you mean error_rate?"),
        ("p(101) < 1s", "from 0 to 100", "p(99)"),
        ("p(99) < 300", "expected a duration such as 300ms", ""),
        ("error_rate < 300ms", "expected a share", ""),
        ("p(99) == 1s", "expected <, <=, > or >=", "never just equal"),
        ("dropped < -1", "expected a number of arrivals", ""),
    ] {
        let error = text.parse::<Check>().unwrap_err();
        assert!(error.message.contains(message), "{text}: {error:?}");
        assert!(error.mend.contains(mend), "{text}: {error:?}");
    }
}

#[test]
fn shown_as_written() {
    let threshold = Threshold {
        over: Some(Duration::from_secs(30)),
        scenario: Some("shop".to_owned()),
        ..Threshold::from("error_rate < 1%".parse::<Check>().unwrap())
    };
    assert_eq!(threshold.to_string(), "error_rate < 1% over 30s, scenario shop");
}
