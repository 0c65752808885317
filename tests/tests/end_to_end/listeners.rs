//! Everything that a suite listens on is loopback: told by the kernel while a run goes on.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::start_run;
use gauntlet_tests::listeners;
use gauntlet_tests::suite::{Parts, Suite};

use crate::deployed::{finished, numbered};

/// The listeners of a process, all of which must be loopback, and at least so many.
fn assert_loopback(name: &str, pid: u32, least: usize) {
    let found = listeners::of(pid);
    assert!(found.len() >= least, "{name} listens on {found:?}, at least {least} were expected");
    assert!(found.iter().all(|address| address.ip().is_loopback()), "{name} listens on {found:?}");
}

#[test]
fn a_running_suite_listens_on_loopback_alone() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let parts = Parts { metrics: vec!["--prometheus=127.0.0.1:0".to_owned()], ..Parts::default() };
    let suite = Suite::of(dir.path(), 2, parts);
    let plan = numbered(&core.url(), "rate = 100\nduration = \"3s\"\nconnections = 10").text();
    let running = suite.start_run(dir.path(), &plan);
    running.until_history_has("phase-started");
    for (name, pid) in suite.pids() {
        // Health each; the scheduler has its API, too, and metrics what Prometheus scrapes.
        assert_loopback(&name, pid, if matches!(name.as_str(), "scheduler" | "metrics") { 2 } else { 1 });
    }
    assert_eq!(listeners::of(running.child().id()), [], "who follows a run listens on nothing");
    let _ = finished(&suite, &running.wait(Duration::from_secs(40)), 0);

    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let running = start_run(&own, &plan, &["--prometheus", "127.0.0.1:0"]);
    running.until_history_has("phase-started");
    assert_loopback("gauntlet run", running.child().id(), 2);
    let _ = running.wait(Duration::from_secs(40)).expect(0);
}
