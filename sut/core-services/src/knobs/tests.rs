use super::*;

fn mean_ms(latency: Latency) -> f64 {
    let knobs = Knobs { latency, seed: 5, ..Knobs::default() };
    (0..20_000).map(|n| knobs.backend_time(n).as_secs_f64() * 1e3).sum::<f64>() / 20_000.0
}

#[test]
fn latencies_have_the_mean_that_was_asked_for() {
    assert!((mean_ms(Latency::Fixed { ms: 2.5 }) - 2.5).abs() < 1e-9);
    assert!((mean_ms(Latency::Uniform { min_ms: 1.0, max_ms: 3.0 }) - 2.0).abs() < 0.02);
    assert!((mean_ms(Latency::Exponential { mean_ms: 4.0 }) - 4.0).abs() < 0.12);
    assert!(mean_ms(Latency::None).abs() < 1e-9);
}

#[test]
fn draws_follow_seed_and_request_only() {
    let knobs = |seed| Knobs { error_rate: 0.5, seed, ..Knobs::default() };
    let sequence = |seed| (0..256).map(|n| knobs(seed).fails(n)).collect::<Vec<_>>();
    assert_eq!(sequence(1), sequence(1));
    assert_ne!(sequence(1), sequence(2));
}

#[test]
fn the_error_rate_is_met() {
    let knobs = Knobs { error_rate: 0.1, ..Knobs::default() };
    let failed = (0..50_000).filter(|&n| knobs.fails(n)).count();
    assert!((4_600..5_400).contains(&failed), "{failed} of 50000 failed");
    assert!((0..1_000).all(|n| !Knobs::default().fails(n)));
    assert!((0..1_000).all(|n| Knobs { error_rate: 1.0, ..Knobs::default() }.fails(n)));
}

#[test]
fn wrong_values_are_all_named() {
    let knobs = Knobs {
        latency: Latency::Uniform { min_ms: 9.0, max_ms: 3.0 },
        error_rate: 1.5,
        miss_ms: -1.0,
        cpu_burn_us: 20_000_000,
        memory_mib: 1 << 20,
        ..Knobs::default()
    };
    let problems = knobs.problems().join("\n");
    for key in ["latency.min_ms", "error_rate", "miss_ms", "cpu_burn_us", "memory_mib"] {
        assert!(problems.contains(key), "{key} is missing in {problems}");
    }
    assert!(Knobs::default().problems().is_empty());
}

#[test]
fn unknown_knobs_are_refused() {
    for text in [r#"{"latencies":1}"#, r#"{"latency":{"kind":"fixed","sec":1}}"#, r#"{"stall":{"for":1}}"#] {
        assert!(serde_json::from_str::<Knobs>(text).is_err(), "{text} was taken");
    }
}

#[test]
fn knobs_print_and_parse_back() {
    let knobs = Knobs {
        latency: Latency::Exponential { mean_ms: 3.0 },
        stall: Some(Stall { after_ms: 10, for_ms: 20 }),
        ..Knobs::default()
    };
    let text = serde_json::to_string(&knobs).unwrap();
    assert_eq!(serde_json::from_str::<Knobs>(&text).unwrap(), knobs, "{text}");
}
