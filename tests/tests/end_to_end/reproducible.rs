//! Requirement R9.5: what is sent is a function of the seed and the arrival's number, of nothing else.

use std::collections::BTreeMap;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::run;

use crate::plans::OnePhase;

/// The paths that the target saw, by arrival number.
fn sequence(seed: u64, threads: u32, batch: u32) -> BTreeMap<u64, String> {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let rows: String = (1..=97).map(|i| format!("{i},name-{i}\n")).collect();
    std::fs::write(dir.path().join("items.csv"), format!("id,name\n{rows}")).unwrap();
    let mut plan =
        OnePhase::new(&core.url(), "rate = 400\nduration = \"5s\"\nconnections = 16\narrivals = \"poisson\"");
    plan.step = r#"
    { name = "item", weight = 3, get = "/items/{id}", feed = "items.csv", feed-order = "random", headers = { x-gauntlet-arrival = "{arrival}" } },
    { name = "search", weight = 1, get = "/search?q={name}-{random:1..1000}", feed = "items.csv", headers = { x-gauntlet-arrival = "{arrival}" } }"#
        .to_owned();
    plan.end = format!("[load]\nthreads = {threads}\nbatch = {batch}");
    let text = plan.text().replace("seed = 7", &format!("seed = {seed}"));
    let _ended = run(dir.path(), &text).expect(0);
    core.stop().into_iter().map(|line| (line.arrival.unwrap(), line.path)).collect()
}

#[test]
fn the_same_seed_sends_the_same_sequence_whatever_the_threads_and_batches() {
    let one = sequence(7, 1, 64);
    assert!(one.len() > 1_500, "{} arrivals", one.len());
    let two = sequence(7, 2, 3);
    assert_eq!(one, two, "one thread in batches of 64, two threads in batches of 3");
    let other = sequence(8, 1, 64);
    assert_ne!(one, other, "another seed");
}
