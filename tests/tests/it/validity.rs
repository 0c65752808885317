//! A generator that was the bottleneck makes the run invalid, with the rule and its figure.

use std::time::{Duration, Instant};

use gauntlet_tests::Alone;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{run, start_run};
use rustix::process::Signal;

use crate::plans::{OnePhase, count, phase};

#[test]
fn a_generator_that_stood_still_is_invalid() {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), "rate = 500\nduration = \"6s\"\nconnections = 64");
    plan.validity = String::new();
    let running = start_run(dir.path(), &plan.text(), &[]);
    running.until_history_has("phase-started");
    // The whole generator gets no processor for a second: what was due then is sent up to a second late.
    gauntlet_tests::signal(running.child(), Signal::STOP);
    let stopped = Instant::now();
    gauntlet_tests::wait::until(
        "a second of standstill",
        Duration::from_secs(5),
        || (stopped.elapsed() >= Duration::from_secs(1)).then_some(()),
        String::new,
    );
    gauntlet_tests::signal(running.child(), Signal::CONT);
    let ended = running.wait(Duration::from_secs(60)).expect(98);
    let summary = ended.summary();
    assert_eq!(summary["verdict"], "invalid");
    let rules = summary["phases"][0]["validity"].as_array().unwrap();
    let lag = rules.iter().find(|rule| rule["name"] == "send lag").unwrap();
    assert_eq!(lag["result"], "fail", "{lag}");
    assert!(lag["seen"].as_str().unwrap().chars().any(|c| c.is_ascii_digit()), "a figure: {lag}");
    let reasons = summary["reasons"].to_string();
    assert!(reasons.contains("send lag"), "the verdict names the rule: {reasons}");
    assert_eq!(
        core.stop().len() as u64,
        count(phase(&summary), "started"),
        "what was late was sent all the same"
    );
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
