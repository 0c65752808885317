//! Live control.

use std::time::Duration;

use protocol::event::{Event, Verdict};
use protocol::v1::control_run::Action;

use crate::bench::{Bench, baseline};

#[tokio::test(start_paused = true)]
async fn pause_resume_rate_and_skip_are_done_and_stand_in_the_history_with_who_asked() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    assert_eq!(bench.control(run, Action::Rate(42.5), "cli").await, "");
    assert_eq!(bench.control(run, Action::Pause(true), "cli").await, "");
    assert!(bench.control(run, Action::Pause(true), "cli").await.contains("paused already"));
    assert!(bench.control(run, Action::Rate(1.0), "cli").await.contains("resume it first"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.control(run, Action::Resume(true), "api").await, "");
    assert!(bench.control(run, Action::Resume(true), "api").await.contains("not paused"));
    assert!(bench.control(run, Action::Rate(f64::NAN), "api").await.contains("rate NaN"));
    assert_eq!(bench.control(run, Action::Skip(true), "api").await, "");
    assert_eq!(bench.ended(run).await, (0, Vec::new()));

    let changes: Vec<(String, String)> = bench
        .history(run)
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::LoadChanged { change, by, .. } => Some((change, by)),
            _ => None,
        })
        .collect();
    let expected = [("rate 42.5", "cli"), ("pause", "cli"), ("resume", "api"), ("skip", "api")];
    assert_eq!(changes, expected.map(|(change, by)| (change.to_owned(), by.to_owned())));

    let log = bench.peers.log();
    let changes: Vec<&str> = log
        .iter()
        .filter_map(|command| command.strip_prefix("worker "))
        .skip_while(|command| !command.starts_with("rate"))
        .collect();
    assert_eq!(changes[..2], ["rate 42.5", "pause"]);
    // The time of the pause was added before the load went on.
    let extended: u64 = changes[2].strip_prefix("extend ").unwrap().parse().unwrap();
    assert!(extended >= 603_000_000_000, "{changes:?}");
    assert_eq!(changes[3..5], ["resume", "end 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlasts_the_phase_and_its_time_is_added() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(20, "")).await;
    bench.wait_for_phase(run, 0).await;
    assert_eq!(bench.control(run, Action::Pause(true), "cli").await, "");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(!bench.peers.log().contains(&"worker end 0".to_owned()), "the phase ended while paused");
    assert!(
        bench.peers.log().iter().any(|command| command.starts_with("worker extend")),
        "workers were not told"
    );
    assert_eq!(bench.control(run, Action::Resume(true), "cli").await, "");
    assert_eq!(bench.ended(run).await.0, 0);
    let lasted = bench.history(run).await.into_iter().find_map(|event| match event {
        Event::PhaseEnded { lasted_ms, .. } => Some(lasted_ms),
        _ => None,
    });
    assert!(lasted.unwrap() >= 60_000, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ramps_down_collects_and_ends_as_aborted() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    assert_eq!(bench.control(run, Action::Stop(true), "api").await, "");
    assert!(bench.control(run, Action::Stop(true), "api").await.contains("stopping already"));
    let (code, reasons) = bench.ended(run).await;
    assert_eq!((code, reasons), (96, vec!["stopped by api".to_owned()]));
    let log = bench.peers.log();
    let tail: Vec<&str> = log[log.len() - 4..].iter().map(String::as_str).collect();
    assert_eq!(tail, ["worker ramp-down 1000000000", "worker end 0", "worker end-run", "metrics unwatch"]);
    let events = bench.history(run).await;
    assert!(
        events.iter().any(|event| matches!(event, Event::PhaseEnded { decision, .. } if decision == "abort"))
    );
    assert!(matches!(events.last(), Some(Event::RunEnded { verdict: Verdict::Aborted, .. })));
    assert!(bench.control(run, Action::Stop(true), "api").await.contains("over"));
}

#[tokio::test(start_paused = true)]
async fn a_signal_has_its_own_exit_code_by_command_and_by_shutdown() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    assert_eq!(bench.control(run, Action::Stop(true), "signal SIGTERM").await, "");
    assert_eq!(bench.ended(run).await.0, 143);

    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.shutdown.trigger("signal SIGINT");
    // While the run ends; after that the scheduler is gone.
    let (_, problems) = bench.try_create("name = \"late\"").await;
    assert!(problems[0].contains("shutting down"), "{problems:?}");
    assert_eq!(bench.ended(run).await.0, 130);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let bench = Bench::paced().await;
    let plan =
        baseline(2, "phases.idle.duration = \"20s\"\nphases.light = { duration = \"600s\", users = 3 }")
            .replace("phases.baseline.duration = \"2s\"", "")
            .replace("phases.baseline.rate = 100", "")
            .replace("[\"baseline\"]", "[\"idle\", \"light\"]");
    let run = bench.create(&plan).await;
    bench.wait_for(run, "idle", |event| matches!(event, Event::PhaseStarted { phase: 0, .. })).await;
    assert!(bench.control(run, Action::Rate(10.0), "cli").await.contains("sends nothing"));
    assert!(bench.control(run, Action::Pause(true), "cli").await.contains("sends nothing"));
    assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
    bench.wait_for_phase(run, 1).await;
    assert!(bench.control(run, Action::Rate(10.0), "cli").await.contains("closed model"));
    assert_eq!(bench.control(run, Action::Stop(true), "cli").await, "");
    assert_eq!(bench.ended(run).await.0, 96);
    let unknown = protocol::id::RunId::new();
    assert!(bench.control(unknown, Action::Stop(true), "cli").await.contains("no run"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_phase_ends_the_run_without_load() {
    let bench = Bench::paced().await;
    bench.peers.script().healthy = false;
    let run = bench.create(&baseline(600, "").replace("\"2s\"", "\"600s\"")).await;
    bench.wait_for(run, "ready workers", |event| matches!(event, Event::WorkersReady { .. })).await;
    assert!(bench.control(run, Action::Pause(true), "cli").await.contains("no phase is running"));
    assert_eq!(bench.control(run, Action::Stop(true), "cli").await, "");
    assert_eq!(bench.ended(run).await, (96, vec!["stopped by cli".to_owned()]));
    assert!(!bench.peers.log().iter().any(|command| command.starts_with("worker start")));
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_samples_are_collected_is_kept_for_the_next_phase() {
    let bench = Bench::paced().await;
    bench.peers.script().last_batch_lost = true;
    let plan = baseline(2, "phases.light.duration = \"600s\"")
        .replace("[\"baseline\"]", "[\"baseline\", \"light\"]");
    let run = bench.create(&plan).await;
    bench.wait_for_phase(run, 0).await;
    while !bench.peers.log().contains(&"worker end 0".to_owned()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.control(run, Action::Stop(true), "cli").await, "");
    bench.peers.script().last_batch_lost = false;
    assert_eq!(bench.ended(run).await, (96, vec!["stopped by cli".to_owned()]));
    assert!(!bench.peers.log().contains(&"worker start 1".to_owned()));
}
