//! Signals: once is graceful, twice is at once, and nothing is left behind.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::start_run;
use rustix::process::Signal;
use test_servers::ports;

use crate::plans::OnePhase;

#[test]
fn sigterm_is_graceful_and_exits_with_143() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), "rate = 100\nduration = \"60s\"\nconnections = 10");
    plan.end = "[control]\nramp-down = \"200ms\"".to_owned();
    let running = start_run(dir.path(), &plan.text(), &[]);
    running.until_history_has("phase-started");
    gauntlet_tests::signal(running.child(), Signal::TERM);
    let summary = running.wait(Duration::from_secs(30)).expect(143).summary();
    assert_eq!(summary["verdict"], "aborted");
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_takes_the_plans_processes_along() {
    let dir = Beside::new();
    let port = ports::free();
    let mut plan = OnePhase::new(
        &format!("http://127.0.0.1:{port}"),
        "rate = 100\nduration = \"60s\"\nconnections = 10",
    );
    plan.target = "platform = { process = \"core\" }".to_owned();
    plan.end = format!(
        "[processes.core]\ncommand = [{:?}, \"--port\", \"{port}\"]\nready = \"http://127.0.0.1:{port}/health\"\n[control]\nramp-down = \"50s\"",
        gauntlet_tests::program("core-services").display().to_string()
    );
    let running = start_run(dir.path(), &plan.text(), &[]);
    running.until_history_has("phase-started");
    gauntlet_tests::signal(running.child(), Signal::INT);
    running.until_history_has("stop-requested");
    gauntlet_tests::signal(running.child(), Signal::INT);
    let ended = running.wait(Duration::from_secs(10));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    gauntlet_tests::wait::until(
        "the plan's process to be gone",
        Duration::from_secs(5),
        || std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()),
        || "it still accepts".to_owned(),
    );
}
