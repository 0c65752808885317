//! A stall of the target must be seen by every request that it kept waiting: no coordinated omission.

use gauntlet_tests::core::Core;
use gauntlet_tests::setting::Setting;

use crate::plans::{OnePhase, assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    a_two_second_stall_stands_in_the_latency_from_intended_time,
    what_cannot_wait_is_dropped_counted_and_fails_the_threshold,
}

const KNOBS: &str = r#"{"latency": {"kind": "fixed", "ms": 1}}"#;

fn plan(core: &Core, more: &str) -> OnePhase {
    let phase = format!("rate = 500\nduration = \"20s\"\nconnections = 50\n{more}");
    let mut plan = OnePhase::new(&core.url(), &phase);
    plan.step =
        r#"{ name = "item", get = "/items/1", headers = { x-gauntlet-arrival = "{arrival}" } }"#.to_owned();
    // The stall is longer than a probe's patience; the point here is the load.
    plan.target = format!("health = \"{}/metrics\"", core.url());
    plan
}

/// Tells the target to stall for 2 s, 8 s from now.
fn stall(core: &Core) {
    let body = r#"{"latency": {"kind": "fixed", "ms": 1}, "stall": {"after_ms": 8000, "for_ms": 2000}}"#;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(
        reqwest::Client::new()
            .put(format!("{}/admin/knobs", core.url()))
            .bearer_auth("test")
            .header("content-type", "application/json")
            .body(body)
            .send(),
    );
    assert!(answer.unwrap().status().is_success());
}

fn a_two_second_stall_stands_in_the_latency_from_intended_time(setting: &Setting) {
    let core = Core::start(setting.path(), KNOBS);
    let plan = plan(&core, "");
    stall(&core);
    let summary = setting.run(&plan.text()).expect(0).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!(count(phase, "scheduled"), 10_000);
    assert_eq!(count(phase, "dropped"), 0);
    assert_eq!(count(phase, "answered"), 10_000);

    // The truth from the schedule (arrival k is due k / 500 s after the first) and the target's log: the answer's
    // time minus the due time, for all arrivals. The first arrival that met no stall anchors the schedule.
    let log = core.stop();
    assert_eq!(log.len(), 10_000);
    let mut answered: Vec<(u64, u64, u64)> = log
        .iter()
        .map(|line| (line.arrival.unwrap() & 0xff_ffff_ffff, line.arrival_mono_ns, line.answer_mono_ns))
        .collect();
    answered.sort_unstable();
    // Sending takes time and never comes early: the smallest (arrival − due) is the schedule's start.
    let start = answered.iter().map(|(k, arrival, _)| arrival - k * 2_000_000).min().unwrap();
    let mut truth: Vec<u64> =
        answered.iter().map(|(k, _, answer)| (answer - (start + k * 2_000_000)) / 1_000).collect();
    truth.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a test")]
    let wanted = truth[9_900 - 1] as f64;
    let p99 = phase["latency"]["p99"].as_f64().unwrap();
    assert!((p99 / wanted - 1.0).abs() < 0.05, "p99 {p99} µs, from schedule and log {wanted} µs");
    assert!((1.6e6..2.0e6).contains(&p99), "about 1.8 s: {p99}");

    let service = &phase["service"];
    assert!(service["p99"].as_f64().unwrap() < 50_000.0, "service p99 {}", service["p99"]);
    assert!(service["max"].as_f64().unwrap() >= 1.95e6, "service max {}", service["max"]);
    let queue = phase["queue"]["p99"].as_f64().unwrap();
    assert!(queue > 1.5e6, "queue p99 {queue}");
}

fn what_cannot_wait_is_dropped_counted_and_fails_the_threshold(setting: &Setting) {
    let core = Core::start(setting.path(), KNOBS);
    let mut plan = plan(&core, "max-waiting = 100");
    plan.end = "[thresholds]\nrun = [\"p(99) < 300ms\"]".to_owned();
    stall(&core);
    let summary = setting.run(&plan.text()).expect(99).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!(count(phase, "scheduled"), 10_000);
    let dropped = count(phase, "dropped");
    // 1 000 arrivals fall into the stall: 50 are on the wire, 100 wait, the rest is dropped.
    assert!((800..=860).contains(&dropped), "dropped {dropped}");
    assert_eq!(core.stop().len() as u64, count(phase, "started"), "the target saw what was started");
    assert_eq!(summary["thresholds"][0]["result"], "fail");
    assert_eq!(phase["latency_with_lost"]["p99"], serde_json::Value::Null, "infinite");
}
