//! A scheduler that dies in the middle of a run and is started anew: the run goes on, or is closed, and has one scheduler.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{self, Running};
use gauntlet_tests::suite::Suite;
use gauntlet_tests::wait;
use rustix::process::Signal;

use crate::deployed::{arrivals, assert_true, finished, numbered, pass, running_history, until_in_phase};
use crate::plans::{assert_closes, count, phase};

/// Kills the scheduler, and starts it again two seconds later.
fn kill_and_restart(suite: &mut Suite) {
    suite.signal("scheduler", Signal::KILL);
    pass(Duration::from_secs(2));
    suite.restart("scheduler");
}

/// Steers the run from the command line through the scheduler's API. One that was started anew refuses that until it has
/// taken the run up.
fn control(suite: &Suite, arguments: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    wait::until(
        &format!("{arguments:?} to be done"),
        Duration::from_secs(30),
        || {
            // A scheduler that is being started anew has not said yet where its own is.
            let api = suite.api();
            let mut all = vec!["control"];
            all.extend(arguments);
            all.extend(["--api", &api]);
            let ended = gauntlet::command(scratch.path(), &all);
            (ended.code == Some(0)).then_some(())
        },
        || suite.logs(),
    );
}

fn until_taken_up(running: &Running) {
    running.until_history_has("run-resumed");
}

#[test]
fn a_run_whose_scheduler_was_killed_goes_on_and_lacks_nothing() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 3);
    let plan = numbered(&core.url(), "rate = 300\nduration = \"8s\"\nconnections = 30").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_secs(2));
    kill_and_restart(&mut suite);
    let ended = running.wait(Duration::from_secs(90));
    let summary = finished(&suite, &ended, 0);
    let seen = arrivals(core);
    assert_true(&summary, &seen, "killed at 2 s");
    assert_eq!((seen.len(), count(phase(&summary), "answered")), (2_400, 2_400));
    assert_eq!(phase(&summary)["decision"], "continue");
    let report = std::fs::read_to_string(ended.run_dir.unwrap().join("report.html")).unwrap();
    assert!(report.contains("was started anew"), "the report does not say so");
}

#[test]
fn a_plan_may_say_that_a_run_is_closed_when_its_scheduler_was_killed() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 2);
    let mut plan = numbered(&core.url(), "rate = 200\nduration = \"20s\"\nconnections = 20");
    plan.end = "[control]\nscheduler-restart = \"close\"".to_owned();
    let running = suite.start_run(dir.path(), &plan.text());
    until_in_phase(&running, Duration::from_secs(2));
    kill_and_restart(&mut suite);
    let summary = finished(&suite, &running.wait(Duration::from_secs(90)), 96);
    let reasons = summary["reasons"].to_string();
    assert!(reasons.contains("lost service scheduler") && reasons.contains("scheduler-restart"), "{reasons}");
    assert_true(&summary, &arrivals(core), "closed by the plan");
}

#[test]
fn what_was_changed_before_the_scheduler_died_holds_after_it_and_for_who_joins() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 2);
    let mut plan = numbered(&core.url(), "rate = 100\nduration = \"12s\"\nconnections = 20");
    plan.end = "[phases.light]\nrate = 100\nduration = \"12s\"\nconnections = 20".to_owned();
    let text = plan.text().replace("[\"baseline\"]", "[\"baseline\", \"light\"]");
    let running = suite.start_run(dir.path(), &text);
    until_in_phase(&running, Duration::from_secs(1));
    control(&suite, &["rate", "200"]);
    control(&suite, &["pause"]);
    running.until_history_has("\"change\":\"pause\"");
    kill_and_restart(&mut suite);
    until_taken_up(&running);
    suite.add("worker-3", &["--threads=1"]);
    control(&suite, &["resume"]);
    running.until_history_has("\"name\":\"light\"");
    // The second phase has begun: its scheduler dies again, and what ended is known to the next one.
    kill_and_restart(&mut suite);
    let summary = finished(&suite, &running.wait(Duration::from_secs(90)), 0);
    let phases = summary["phases"].as_array().unwrap();
    phases.iter().for_each(assert_closes);
    let answered: u64 = phases.iter().map(|phase| count(phase, "answered")).sum();
    assert_eq!(core.stop().len() as u64, answered, "each that was sent was answered");
    // From 100 to 200 a second soon after it began, for the rest of the twelve; nothing while it was paused.
    let first = count(&phases[0], "answered");
    assert!((2_000..=2_400).contains(&first), "{first} in the first phase: {}", phases[0]);
    let second = count(&phases[1], "answered");
    assert_eq!(second, 1_200, "{}", phases[1]);
    let events = running_history(dir.path());
    assert_eq!(events.matches("run-resumed").count(), 2, "{events}");
}

#[test]
fn a_run_whose_workers_gave_up_waiting_for_a_scheduler_is_closed_with_what_they_counted() {
    // It is back when they have ended the phase; while they ramp down; when the phase is over, and they ended it before.
    for (length, ramp_down, away) in [("30s", "500ms", 4), ("30s", "8s", 3), ("5s", "500ms", 6)] {
        let dir = Beside::new();
        let core = Core::start(dir.path(), "{}");
        let mut suite = Suite::start(dir.path(), 2);
        let load = format!("rate = 200\nduration = \"{length}\"\nconnections = 20");
        let mut plan = numbered(&core.url(), &load);
        plan.end = format!("[control]\ncontroller-lease = \"1s\"\nramp-down = \"{ramp_down}\"");
        let running = suite.start_run(dir.path(), &plan.text());
        until_in_phase(&running, Duration::from_secs(2));
        suite.signal("scheduler", Signal::KILL);
        pass(Duration::from_secs(away));
        suite.restart("scheduler");
        let summary = finished(&suite, &running.wait(Duration::from_secs(60)), 96);
        assert!(summary["reasons"].to_string().contains("by themselves"), "{}", summary["reasons"]);
        assert_true(&summary, &arrivals(core), &format!("away for {away} s, which is too long"));
        let seconds = phase(&summary)["lasted_ms"].as_f64().unwrap() / 1e3;
        assert!(seconds < 20.0, "closed after {seconds} s");
    }
}

#[test]
fn a_scheduler_that_was_only_away_does_not_touch_the_run_of_the_next_one() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 2);
    let mut plan = numbered(&core.url(), "rate = 100\nduration = \"45s\"\nconnections = 20");
    plan.end = "[control]\ncontroller-lease = \"60s\"".to_owned();
    let running = suite.start_run(dir.path(), &plan.text());
    until_in_phase(&running, Duration::from_secs(1));
    suite.signal("scheduler", Signal::STOP);
    // Under another name: it waits for the first one's lease to end.
    suite.add("scheduler-2", &["--api=127.0.0.1:0", "--workers=2", "--instance=scheduler-2"]);
    until_taken_up(&running);
    suite.signal("scheduler", Signal::CONT);
    let summary = finished(&suite, &running.wait(Duration::from_secs(120)), 0);
    let seen = arrivals(core);
    assert_true(&summary, &seen, "two schedulers");
    assert_eq!(seen.len(), 4_500);
    assert!(suite.log("scheduler").contains("another scheduler"), "{}", suite.log("scheduler"));
    let events = running_history(dir.path());
    assert_eq!(events.matches("\"kind\":\"phase-ended\"").count(), 1, "{events}");
}
