use gauntlet_sdk::Problem;

use super::*;

fn problems(config: &str) -> Vec<Problem> {
    Experts::configure(config, 7, USERS).err().unwrap_or_default()
}

/// The one problem of a scenario with further keys.
#[track_caller]
fn wrong(more: Value, path: &str, message: &str) {
    let config = one("anthropic", more).to_string();
    let found = problems(&config);
    assert_eq!(found.len(), 1, "{config}: {found:#?}");
    assert_eq!(found[0].path, path, "{found:#?}");
    assert!(found[0].message.contains(message), "{found:#?}");
    assert!(!found[0].mend.is_empty());
}

#[test]
fn what_is_no_configuration_is_said() {
    for (config, message) in [
        ("", "not JSON"),
        ("[]", "expected a table, found a list"),
        (r#"{"prompt":"x"}"#, "there are no experts"),
        (r#"{"prompt":"x","experts":[]}"#, "expected 1 to 100 experts, found 0"),
        (r#"{"prompt":"x","experts":{}}"#, "expected a list of experts, found a table"),
        (r#"{"prompt":"x","experts":["claude"]}"#, "expected an expert, found the text"),
    ] {
        let found = problems(config);
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].message.contains(message), "{config}: {found:?}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let config = json!({
        "experts": [
            { "api": "openai", "model": "m", "key": "k" },
            { "api": "gemini", "model": "a b", "key": "bad key", "wieght": 1, "weight": 1.2345, "path": "v1" },
            { "name": "x", "api": "deepseek", "options": { "model": "y" } },
            { "name": "x", "api": "openrouter", "model": "m", "key": "k", "max-tokens": 0 },
        ],
        "timeout": "5", "retries": 21, "size": { "min": 5 }, "slo": {}, "breaker": 3, "retry-budget": 1,
        "conversation": {}, "circle": { "coverage": 2, "vote": ["a"], "tie": "flip", "min-experts": 9 },
    });
    let found = problems(&config.to_string());
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "prompt",
        "experts[0].api",
        "experts[1].model",
        "experts[1].key",
        "experts[1].wieght",
        "experts[1].weight",
        "experts[1].path",
        "experts[2].model",
        "experts[2].key",
        "experts[2].options",
        "experts[3].name",
        "experts[3].max-tokens",
        "timeout",
        "retries",
        "size",
        "slo",
        "breaker",
        "retry-budget",
        "conversation.turns",
        "conversation",
        "circle.coverage",
        "circle.vote",
        "circle.tie",
        "circle.min-experts",
    ] {
        assert!(paths.contains(&path), "{path} is missing in {paths:?}");
    }
    assert_eq!(paths.len(), 24, "{found:#?}");
}

#[test]
fn what_does_not_fit_together_is_said() {
    wrong(json!({ "feed-order": "random" }), "feed-order", "no feed");
    wrong(json!({ "feed": "q.csv" }), "feed", "nothing takes a value");
    wrong(json!({ "prompt": "{what}" }), "prompt", "nothing provides {what}");
    wrong(json!({ "expect": "answer" }), "expect", "nothing provides {answer}");
    wrong(json!({ "expect": "arrival" }), "expect", "no column");
    wrong(json!({ "slo": { "ttft": "1s" } }), "slo", "without streams");
    wrong(json!({ "verify": "status", "circle": {} }), "circle", "votes are what answers say");
    wrong(
        json!({ "verify": "status", "conversation": { "turns": 2 } }),
        "conversation",
        "verify = \"status\" reads none",
    );
    wrong(
        json!({ "verify": "status", "stream": true, "slo": { "ttft": "1s" } }),
        "slo",
        "times of what answers say",
    );
    wrong(json!({ "promt": "x" }), "promt", "unknown key");
    wrong(json!({ "circle": { "quorum": 1 } }), "circle.quorum", "unknown key");
    wrong(json!({ "size": { "median": 5, "min": 3 } }), "size", "do not make a distribution");
    wrong(json!({ "size": { "median": 5, "sigma": 9 } }), "size.sigma", "from 0 to 5");
    wrong(
        json!({ "conversation": { "turns": 2, "history": 4096 } }),
        "conversation.history",
        "from 0 to 2048",
    );
}

#[test]
fn weights_that_are_all_nothing_are_said() {
    let mut config = one("gemini", json!({}));
    config["experts"][0]["weight"] = json!(0);
    assert_eq!(problems(&config.to_string())[0].path, "experts[0].weight");
}
