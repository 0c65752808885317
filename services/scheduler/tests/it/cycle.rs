//! The whole cycle.

use protocol::event::{Event, OutcomeResult, Verdict};

use crate::bench::{Bench, baseline};

#[tokio::test(start_paused = true)]
async fn seven_phases_run_in_order_and_all_twenty_one_objectives_stand_in_the_history() {
    let bench = Bench::paced().await;
    // 3 s, 9 s, 12 s, …, and 30 s of chaos.
    let run = bench.create("time-scale = 0.01\nload-scale = 0.01\nvalidity.judge = true").await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!((code, reasons), (0, Vec::new()));

    let events = bench.history(run).await;
    let started: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::PhaseStarted { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(started, ["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"]);
    let mut objectives = Vec::new();
    for event in &events {
        if let Event::PhaseEnded { objectives: three, validity, decision, name, .. } = event {
            assert_eq!(three.len(), 3, "{name}");
            assert_eq!(validity.len(), 7, "{name}");
            assert_eq!(decision, "continue");
            objectives.extend(three.clone());
        }
    }
    assert_eq!(objectives.len(), 21);
    for objective in &objectives {
        assert!(!objective.expected.contains('{'), "{objective:?}");
        match &objective.result {
            OutcomeResult::Pass => assert!(!objective.seen.is_empty(), "{objective:?}"),
            OutcomeResult::Fail => {}
            OutcomeResult::NotEvaluable { reason } => assert!(!reason.is_empty(), "{objective:?}"),
        }
    }
    // Probes are asked for at the end of a phase, however short.
    assert_eq!(objectives[1].result, OutcomeResult::Pass, "{:?}", objectives[1]);
    let passed = objectives.iter().filter(|objective| objective.result == OutcomeResult::Pass).count();
    assert!(passed >= 8, "{objectives:#?}");
    assert!(matches!(events.last(), Some(Event::RunEnded { verdict: Verdict::Passed, .. })));
}

#[tokio::test(start_paused = true)]
async fn commands_come_in_the_order_of_the_flow_and_idle_asks_nothing_of_workers() {
    let bench = Bench::paced().await;
    let plan =
        baseline(2, "phases.idle.duration = \"1s\"").replace("[\"baseline\"]", "[\"idle\", \"baseline\"]");
    let run = bench.create(&plan).await;
    assert_eq!(bench.ended(run).await.0, 0);
    let mut log = bench.peers.log();
    // Marking the phase and starting it go out together.
    log[3..5].sort();
    assert_eq!(
        log,
        [
            "worker prepare",
            "metrics watch",
            "metrics mark 0",
            "metrics mark 1",
            "worker start 1",
            "worker end 1",
            "worker end-run",
            "metrics unwatch",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn only_one_run_at_a_time_and_a_wrong_bundle_is_refused_with_everything_that_is_wrong() {
    let bench = Bench::paced().await;
    let (_, problems) = bench.try_create("nmae = 3\nseed = \"x\"").await;
    assert!(problems.len() >= 2, "{problems:?}");
    let parameter = format!(
        "{}\n[targets.app]\nurl = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"http\"",
        baseline(1, "phases.baseline.objectives.chekcs = 1")
    );
    let (_, problems) = bench.try_create(&parameter).await;
    assert!(problems.iter().any(|problem| problem.contains("chekcs")), "{problems:?}");

    let first = bench.create(&baseline(5, "")).await;
    let (_, problems) = bench.try_create("name = \"second\"").await;
    assert!(problems[0].contains(&first.to_string()), "{problems:?}");
    assert_eq!(bench.ended(first).await.0, 0);
}
