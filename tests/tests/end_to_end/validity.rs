//! A generator that was the bottleneck makes the run invalid, with the rule and its figure.

use std::time::{Duration, Instant};

use gauntlet_tests::Alone;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{Ended, run, start_run};
use rustix::process::Signal;

use crate::plans::{OnePhase, assert_closes, count, phase};

/// The phase of a run at 500 a second whose generator gets no processor for one of its six seconds, under these
/// rules; the exit code is checked.
fn standstill(phase_keys: &str, rules: &str, code: i32) -> serde_json::Value {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), &format!("rate = 500\nduration = \"6s\"\n{phase_keys}"));
    plan.end = "[load]\nthreads = 1".to_owned();
    plan.validity = rules.to_owned();
    let running = start_run(dir.path(), &plan.text(), &[]);
    running.until_history_has("phase-started");
    gauntlet_tests::signal(running.child(), Signal::STOP);
    let stopped = Instant::now();
    gauntlet_tests::wait::until(
        "a second of standstill",
        Duration::from_secs(5),
        || (stopped.elapsed() >= Duration::from_secs(1)).then_some(()),
        String::new,
    );
    gauntlet_tests::signal(running.child(), Signal::CONT);
    let ended = running.wait(Duration::from_secs(60)).expect(code);
    let summary = ended.summary();
    assert_lag_is_reported(&ended, &summary);
    assert_eq!(summary["verdict"], if code == 98 { "invalid" } else { "passed" });
    let phase = phase(&summary).clone();
    assert_closes(&phase);
    assert_eq!(core.stop().len() as u64, count(&phase, "started"), "what was started was sent, late or not");
    for rule in rules_of(&phase, "fail") {
        assert!(
            summary["reasons"].to_string().contains(&rule),
            "the verdict names {rule}: {}",
            summary["reasons"]
        );
    }
    phase
}

/// What was sent in the second of standstill is late in each view of the run: as many as the load thread took up after it.
fn assert_lag_is_reported(ended: &Ended, summary: &serde_json::Value) {
    let (lag, phase) = (&summary["send_lag"], phase(summary));
    assert_eq!(lag, &phase["send_lag"], "the run has one phase");
    assert_eq!(lag["count"].as_u64().unwrap(), count(phase, "started"));
    let steps = lag["histogram"].as_array().unwrap();
    let sum = |late: &dyn Fn(u64) -> bool| -> u64 {
        let taken = steps.iter().filter(|step| late(step["up_to_us"].as_u64().unwrap_or(u64::MAX)));
        taken.map(|step| step["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&|_| true), count(phase, "started"));
    assert!(sum(&|us| us > 100_000) > 0 && lag["max"].as_f64().unwrap() > 500_000.0, "{lag}");
    assert_eq!(lag["p99"], phase["generator"]["send_lag_p99_us"]);
    assert!(ended.stdout.contains("send lag: how late the generator itself sent"), "{}", ended.stdout);
    let page = std::fs::read_to_string(ended.run_dir.as_ref().unwrap().join("report.html")).unwrap();
    assert!(page.contains("The histogram of the send lag"));
}

/// Names of a phase's rules with this result; each that was judged has a figure.
fn rules_of(phase: &serde_json::Value, result: &str) -> Vec<String> {
    let rules = phase["validity"].as_array().unwrap().iter().filter(|rule| rule["result"] == result);
    rules
        .map(|rule| {
            assert!(rule["seen"].as_str().unwrap().chars().any(|c| c.is_ascii_digit()), "a figure: {rule}");
            rule["name"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn what_is_sent_late_trips_the_send_lag_rule() {
    let phase = standstill("connections = 64", "busy-for = \"5m\"", 98);
    assert!(rules_of(&phase, "fail").contains(&"send lag".to_owned()), "{}", phase["validity"]);
}

#[test]
fn what_the_generator_drops_trips_the_rules_on_rate_and_drops() {
    // What came due meanwhile is caught up with, 20 ms of it at once: ten arrivals, of which one may begin and one may wait.
    let phase = standstill("connections = 1\nmax-waiting = 1", "send-lag = \"5s\"\nbusy-for = \"5m\"", 98);
    assert_eq!(
        rules_of(&phase, "fail"),
        ["achieved rate", "dropped by the generator"],
        "{}",
        phase["validity"]
    );
}

#[test]
fn the_same_standstill_just_short_of_the_rules_is_valid() {
    let rules = "send-lag = \"5s\"\nshort-seconds = \"67%\"\ndrops = \"40%\"\nbusy-for = \"5m\"";
    let phase = standstill("connections = 1\nmax-waiting = 1", rules, 0);
    assert_eq!(rules_of(&phase, "fail"), [""; 0], "{}", phase["validity"]);
}

#[test]
fn a_load_thread_busy_for_long_trips_its_rule_and_one_second_less_does_not() {
    let run_with = |busy_for: &str, code: i32| {
        let dir = Alone::new();
        let core = Core::start(dir.path(), "{}");
        let mut plan = OnePhase::new(&core.url(), "rate = 500\nduration = \"5s\"\nconnections = 8");
        plan.validity = format!("send-lag = \"5s\"\nbusy = \"0.01%\"\nbusy-for = \"{busy_for}\"");
        let summary = run(dir.path(), &plan.text()).expect(code).summary();
        rules_of(phase(&summary), "fail")
    };
    assert_eq!(run_with("4s", 98), ["load thread busy"]);
    assert_eq!(run_with("6s", 0), [""; 0]);
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
