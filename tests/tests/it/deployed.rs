//! The suite as separate services over NATS and PostgreSQL: what the embedded one does, and what only a deployed one has to.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_tests::Alone;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::Ended;
use gauntlet_tests::suite::Suite;

use crate::plans::{OnePhase, assert_closes, count, phase};

/// A plan whose requests carry their arrival's number.
fn numbered(url: &str, phase: &str) -> OnePhase {
    let mut plan = OnePhase::new(url, phase);
    plan.step =
        r#"{ name = "item", get = "/items/1", headers = { x-gauntlet-arrival = "{arrival}" } }"#.to_owned();
    plan
}

/// The target's lines by arrival number: how often each was seen.
fn arrivals(core: Core) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for line in core.stop() {
        *seen.entry(line.arrival.unwrap()).or_default() += 1;
    }
    seen
}

fn finished(suite: &Suite, ended: Ended, code: i32) -> serde_json::Value {
    assert_eq!(ended.code, Some(code), "{ended:#?}\n{}", suite.logs());
    ended.summary()
}

#[test]
fn a_run_over_nats_with_three_workers_is_counted_exactly() {
    let dir = Alone::new();
    let core = Core::start(dir.path(), "{}");
    let suite = Suite::start(dir.path(), 3);
    let plan = numbered(&core.url(), "rate = 500\nduration = \"5s\"\nconnections = 30").text();
    let ended = suite.start_run(dir.path(), &plan).wait(Duration::from_secs(20));
    let summary = finished(&suite, ended, 0);
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!((count(phase, "scheduled"), count(phase, "answered")), (2_500, 2_500), "{phase}");
    let seen = arrivals(core);
    assert_eq!(seen.len(), 2_500);
    assert!(seen.values().all(|times| *times == 1), "each arrival is sent once, by one worker");
}
