//! Each failed pre-phase check ends the run with its own message, and nothing is left running.

use std::time::Duration;

use platform::processes::Processes;
use platform::{InstanceId, Platform as _};
use protocol::event::Event;
use protocol::id::RunId;
use protocol::v1;
use protocol::v1::control_run::Action;

use crate::bench::{Bench, baseline};

/// Ends with the code; the one reason; no phase has begun, and everything was released.
async fn fails(bench: &Bench, run: RunId, code: u8) -> String {
    let (exit_code, reasons) = bench.ended(run).await;
    assert_eq!(exit_code, code, "{reasons:?}");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let events = bench.history(run).await;
    assert!(!events.iter().any(|event| matches!(event, Event::PhaseStarted { .. })));
    assert!(!bench.peers.log().iter().any(|command| command.starts_with("worker start")));
    reasons[0].clone()
}

async fn failed_check(bench: &Bench, run: RunId) -> (String, String, String) {
    let events = bench.history(run).await;
    let mut failed = events.into_iter().filter_map(|event| match event {
        Event::PrePhaseCheck { check, passed: false, seen, mend, .. } => Some((check, seen, mend)),
        _ => None,
    });
    let only = failed.next().expect("a failed check");
    assert_eq!(failed.next(), None);
    only
}

#[tokio::test(start_paused = true)]
async fn target_down() {
    let bench = Bench::paced().await;
    bench.peers.script().healthy = false;
    let run = bench.create(&baseline(1, "")).await;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("app") && reason.contains("connection refused"), "{reason}");
    let (check, _, mend) = failed_check(&bench, run).await;
    assert_eq!(check, "target ready");
    assert!(mend.contains("start the target"), "{mend}");
    assert!(bench.peers.log().ends_with(&["worker end-run".to_owned(), "metrics unwatch".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_last_look_that_the_deadline_cuts_short_does_not_hide_what_was_seen_before() {
    let bench = Bench::paced().await;
    bench.peers.script().healthy = false;
    let run = bench.create(&baseline(1, "")).await;
    bench.wait_for(run, "ready workers", |event| matches!(event, Event::WorkersReady { .. })).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    bench.peers.script().probes_silent = true;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("connection refused"), "{reason}");
    assert_eq!(failed_check(&bench, run).await.0, "target ready");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_up_within_the_timeout_passes() {
    let bench = Bench::paced().await;
    bench.peers.script().healthy = false;
    let run = bench.create(&baseline(1, "").replace("\"2s\"", "\"60s\"")).await;
    bench.wait_for(run, "ready workers", |event| matches!(event, Event::WorkersReady { .. })).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.peers.script().healthy = true;
    assert_eq!(bench.ended(run).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn resources_short() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(1, "phases.baseline.connections = 10000000")).await;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("10000256 open files"), "{reason}");
    let (check, _, mend) = failed_check(&bench, run).await;
    assert_eq!(check, "resources available");
    assert!(mend.contains("phases.baseline.connections"), "{mend}");
}

#[tokio::test(start_paused = true)]
async fn monitoring_stale() {
    let bench = Bench::paced().await;
    bench.peers.script().probe_age = Duration::from_secs(11);
    let run = bench.create(&baseline(1, "")).await;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("11 s old"), "{reason}");
    assert_eq!(failed_check(&bench, run).await.0, "monitoring fresh");
}

#[tokio::test(start_paused = true)]
async fn no_worker() {
    let bench = Bench::new(true, |options, peers| {
        options.workers.clear();
        peers.script().beating = false;
    })
    .await;
    let run = bench.create(&baseline(1, "")).await;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("no load-worker was heard within 2s"), "{reason}");
    assert_eq!(failed_check(&bench, run).await.0, "workers ready");
}

// On the real clock: a worker that may be lost is, when the clock runs ahead of a store that is slow.
#[tokio::test]
async fn a_worker_that_is_only_known_by_its_heartbeats_takes_part() {
    let bench = Bench::new(false, |options, _| options.workers.clear()).await;
    let run = bench.create(&baseline(1, "")).await;
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn validation_can_be_turned_off() {
    let bench = Bench::paced().await;
    bench.peers.script().healthy = false;
    let run = bench.create(&baseline(1, "control.validate = false")).await;
    assert_eq!(bench.ended(run).await.0, 0);
    let events = bench.history(run).await;
    assert!(!events.iter().any(|event| matches!(event, Event::PrePhaseCheck { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_the_user_wrote_is_bad_input_and_what_the_host_lacks_is_the_environment() {
    for (kind, code) in [("plan", 2), ("guest", 2), ("environment", 3)] {
        let bench = Bench::paced().await;
        bench.peers.script().problems = vec![v1::Problem {
            message: "it does not fit".to_owned(),
            mend: "make it fit".to_owned(),
            kind: kind.to_owned(),
        }];
        let run = bench.create(&baseline(1, "")).await;
        assert_eq!(fails(&bench, run, code).await, "it does not fit: make it fit");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_step_in_a_threshold_is_bad_input_and_the_known_ones_are_named() {
    let bench = Bench::paced().await;
    let threshold = "thresholds.run = [{ check = \"p(99) < 300ms\", step = \"hoem\" }]";
    let run = bench.create(&baseline(1, threshold)).await;
    let reason = fails(&bench, run, 2).await;
    assert!(reason.contains("hoem") && reason.contains("home"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_be_started_is_the_environment() {
    let bench = Bench::paced().await;
    let process = "processes.shop.command = [\"./no-such-program\"]";
    let run = bench.create(&baseline(1, process)).await;
    let reason = fails(&bench, run, 3).await;
    assert!(reason.contains("shop") && reason.contains("no-such-program"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn processes_are_started_before_and_stopped_after_the_run() {
    let bench = Bench::paced().await;
    let process = "processes.shop.command = [\"sleep\", \"1000\"]";
    let run = bench.create(&baseline(1, process)).await;
    let started = bench.wait_for(run, "process", |event| matches!(event, Event::ProcessStarted { .. })).await;
    let Event::ProcessStarted { pid, .. } = started else { unreachable!("just matched") };
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(bench.ended(run).await.0, 0);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_process_that_another_kills_and_starts_again_is_in_the_history_and_ends_with_the_run() {
    let bench = Bench::real().await;
    let process = "processes.shop.command = [\"sleep\", \"1000\"]";
    let run = bench.create(&baseline(600, process)).await;
    bench.wait_for_phase(run, 0).await;
    // As chaos and recovery do, from wherever they are.
    let platform = Processes::open(&bench.dir.path().join("processes")).unwrap();
    let shop = InstanceId::new("shop").unwrap();
    platform.kill(&shop).await.unwrap();
    let exited = bench.wait_for(run, "exit", |event| matches!(event, Event::ProcessExited { .. })).await;
    assert_eq!(exited, Event::ProcessExited { process: "shop".to_owned(), status: "signal 9".to_owned() });
    let again = platform.start(&shop).await.unwrap();
    assert!(again.by_us && again.instance.generation == 2);
    assert_eq!(bench.control(run, Action::Skip(true), "test").await, "");
    assert_eq!(bench.ended(run).await.0, 0);
    assert!(!again.instance.process.unwrap().is_alive().unwrap());
    assert!(!platform.dir().exists(), "what was known of it is gone");
    let exits = bench.history(run).await.into_iter();
    assert_eq!(exits.filter(|event| matches!(event, Event::ProcessExited { .. })).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_metrics_ends_the_run_naming_it() {
    let bench = Bench::paced().await;
    bench.peers.script().metrics_silent = true;
    let run = bench.create(&baseline(1, "")).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96, "{reasons:?}");
    assert!(reasons[0].contains("lost metrics"), "{reasons:?}");
}
