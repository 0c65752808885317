use super::*;

fn parse(text: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let expected = r#"{
        "timeout_ms": 30000, "attempt_timeout_ms": 10000, "retries": 3, "backoff_ms": 500, "max_backoff_ms": 8000,
        "retry_budget": { "percent": 10, "reserve": 10 },
        "breaker": { "failures": 5, "open_ms": 30000, "probes": 3 },
        "bulkhead": { "concurrent": 50, "waiting": 100 },
        "questions": 1000, "early": true, "vote": ["A", "B", "C", "D"],
        "min_experts": null, "coverage": 0.5, "support": 0.5, "tie": "tie",
        "knobs": { "latency": { "kind": "none" }, "error_rate": 0, "memory_mb": 0 }
    }"#;
    assert_eq!(parse(expected).unwrap(), Settings::default());
    assert_eq!(parse("{}").unwrap(), Settings::default());
    assert_eq!(Settings::default().problems(), Vec::<String>::new());
    let readme = include_str!("../../../README.md");
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    assert!(plain(readme).contains(&plain(expected)), "the README has them");
}

#[test]
fn what_is_null_is_off() {
    let settings = parse(r#"{"breaker":null,"retry_budget":null,"vote":"number","tie":"heaviest"}"#).unwrap();
    assert_eq!((settings.breaker, settings.retry_budget), (None, None));
    assert_eq!(settings.vote(), consensus::Vote::Number);
    assert_eq!(settings.rules(vec![1; 5]).tie, Tie::Heaviest);
}

#[test]
fn wrong_values_are_all_named() {
    let text = r#"{
        "timeout_ms": 0, "retries": 21, "backoff_ms": 9, "max_backoff_ms": 8, "coverage": 2, "vote": ["a", "A "],
        "breaker": { "failures": 0, "open_ms": 1, "probes": 1 }, "questions": 0, "min_experts": 0,
        "knobs": { "latency": { "kind": "uniform", "min_ms": 5, "max_ms": 1 }, "error_rate": -1, "memory_mb": 99999 }
    }"#;
    let problems = parse(text).unwrap().problems().join("\n");
    for key in [
        "timeout_ms: 0",
        "retries: 21",
        "max_backoff_ms: 8",
        "coverage: 2",
        "vote: ",
        "breaker.failures: 0",
        "questions: 0",
        "min_experts: 0",
        "knobs.latency.min_ms: 5",
        "knobs.error_rate: -1",
        "knobs.memory_mb: 99999",
    ] {
        assert!(problems.contains(key), "{key} in\n{problems}");
    }
}

#[test]
fn unknown_keys_and_words_are_refused() {
    assert!(parse(r#"{"timeout": 1}"#).unwrap_err().to_string().contains("unknown field `timeout`"));
    let vote = parse(r#"{"vote": 7}"#).unwrap_err().to_string();
    assert!(vote.contains("expected \"text\", \"number\" or a list of the choices"), "{vote}");
}

#[test]
fn half_of_the_experts_are_a_quorum_unless_it_is_said() {
    let settings = Settings::default();
    assert_eq!(settings.rules(vec![1; 5]).min_experts, 3);
    let told = Settings { min_experts: Some(2), ..settings };
    assert_eq!(told.rules(vec![1; 5]).min_experts, 2);
}
