//! A generator that was the bottleneck makes the run invalid, with the rule and its figure.

use gauntlet_tests::Alone;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::run;

use crate::plans::OnePhase;

#[test]
fn a_generator_asked_for_more_than_it_can_give_is_invalid() {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    // One load thread of a debug build, and a rate that no machine of this kind reaches with it.
    let mut plan = OnePhase::new(&core.url(), "rate = 400000\nduration = \"12s\"\nconnections = 64");
    plan.end = "[load]\nthreads = 1".to_owned();
    plan.validity = String::new();
    let ended = run(dir.path(), &plan.text()).expect(98);
    let summary = ended.summary();
    assert_eq!(summary["verdict"], "invalid");
    let broken: Vec<&serde_json::Value> = summary["phases"][0]["validity"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["result"] == "fail")
        .collect();
    assert!(!broken.is_empty(), "{}", summary["phases"][0]["validity"]);
    for rule in broken {
        assert!(rule["seen"].as_str().unwrap().chars().any(|c| c.is_ascii_digit()), "a figure: {rule}");
    }
}

#[test]
fn the_same_run_within_its_means_is_valid() {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), "rate = 200\nduration = \"5s\"\nconnections = 16");
    plan.end = "[load]\nthreads = 1".to_owned();
    // Whatever else this machine does must not fail the test; the rules' own edges are the scheduler's tests.
    plan.validity = "send-lag = \"500ms\"\nbusy-for = \"5m\"".to_owned();
    let ended = run(dir.path(), &plan.text()).expect(0);
    let summary = ended.summary();
    for rule in summary["phases"][0]["validity"].as_array().unwrap() {
        assert_eq!(rule["result"], "pass", "{rule}");
    }
}
