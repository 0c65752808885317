//! The suite on a NATS as it is deployed: each role with its own user, password and permissions.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet;
use gauntlet_tests::suite::{Parts, Suite};

use crate::deployed::{arrivals, finished, numbered};
use crate::plans::{assert_closes, count, phase};

#[test]
fn the_permissions_of_each_role_suffice_and_those_of_a_worker_start_no_run() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let suite = Suite::of(dir.path(), 3, Parts { users: true, ..Parts::default() });
    let plan = numbered(&core.url(), "rate = 300\nduration = \"5s\"\nconnections = 30").text();
    let ended = suite.start_run(dir.path(), &plan).wait(Duration::from_secs(40));
    let summary = finished(&suite, &ended, 0);
    let phase = phase(&summary);
    assert_closes(phase);
    let refused = |log: &str| log.lines().any(|line| line.contains("Violation"));
    assert!(!refused(&suite.nats.log()), "{}", suite.nats.log());

    // Another role's credential, as whoever takes a worker's host would have it.
    let url = suite.nats.url();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for (role, password_of) in [("load", "load"), ("metrics", "metrics"), ("cli", "load")] {
        let file = suite.password_file(password_of).display().to_string();
        let flags = ["--nats", &url, "--nats-user", role, "--nats-password-file", &file];
        let ended = gauntlet::start_run(&other, &plan, &flags).wait(Duration::from_secs(40)).expect(3);
        assert!(ended.stderr.contains(&url), "{ended:#?}");
        assert!(!ended.stderr.contains("$secret"), "{ended:#?}");
    }
    // None at all.
    let ended = gauntlet::start_run(&other, &plan, &["--nats", &url]).wait(Duration::from_secs(40)).expect(3);
    assert!(ended.stderr.contains("authorization violation"), "{ended:#?}");
    let runs = format!("{}/v1/runs", suite.api());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runs: serde_json::Value =
        runtime.block_on(async { reqwest::get(runs).await.unwrap().json().await.unwrap() });
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");

    let seen = arrivals(core);
    assert_eq!((seen.len(), count(phase, "answered")), (1_500, 1_500));
}
