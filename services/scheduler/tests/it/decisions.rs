//! What ends a run, what holds a phase, and what makes a run fail or invalid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::event::{Event, OutcomeResult, Verdict};

use crate::bench::{Bench, baseline};

fn position(log: &[String], start: &str) -> usize {
    log.iter()
        .position(|command| command.starts_with(start))
        .unwrap_or_else(|| panic!("no {start} in {log:?}"))
}

#[tokio::test(start_paused = true)]
async fn an_abort_threshold_ends_with_99_after_ramp_down_and_collection() {
    let bench = Bench::paced().await;
    let threshold = "thresholds.baseline = [{ check = \"p(99) < 1ms\", abort = true, delay = \"2s\" }]";
    let run = bench.create(&baseline(600, threshold)).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 99);
    assert!(reasons[0].contains("p(99) < 1ms") && reasons[0].contains("2 ms"), "{reasons:?}");

    let log = bench.peers.log();
    let (ramp, end) = (position(&log, "worker ramp-down 1000000000"), position(&log, "worker end 0"));
    assert!(ramp < end, "{log:?}");
    let at = bench.peers.script().at.clone();
    assert!(at[end] - at[ramp] >= Duration::from_secs(1), "the load had no time to ramp down");
    assert!(at[ramp] - at[position(&log, "worker start 0")] >= Duration::from_secs(2), "before its delay");
    let events = bench.history(run).await;
    assert!(events.iter().any(|event| {
        matches!(event, Event::StopRequested { by, exit_code: 99 } if by.contains("p(99) < 1ms"))
    }));
    let Some(Event::PhaseEnded { decision, thresholds, lasted_ms, .. }) =
        events.iter().find(|event| matches!(event, Event::PhaseEnded { .. }))
    else {
        panic!("the phase was not judged: {events:#?}")
    };
    assert_eq!(decision, "abort");
    assert_eq!(thresholds[0].result, OutcomeResult::Fail);
    assert!(*lasted_ms >= 3_000 && *lasted_ms < 300_000, "{lasted_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_threshold_without_abort_lets_the_run_go_on_and_fails_it() {
    let bench = Bench::paced().await;
    let thresholds =
        "thresholds.baseline = [\"p(99) < 1ms\"]\nthresholds.run = [\"error_rate < 1%\", \"avg < 1us\"]";
    let run = bench.create(&baseline(3, thresholds)).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 99);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    let Some(Event::RunEnded { verdict, thresholds, .. }) = bench.history(run).await.pop() else {
        panic!("no end")
    };
    assert_eq!(verdict, Verdict::Failed);
    assert_eq!(
        thresholds.iter().map(|outcome| &outcome.result).collect::<Vec<_>>(),
        [&OutcomeResult::Pass, &OutcomeResult::Fail]
    );
}

/// A baseline in which 5 % of operations fail until the flag falls.
fn failing_until(bench: &Bench) -> Arc<AtomicBool> {
    let failing = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&failing);
    bench.peers.script().edit = Box::new(move |series| {
        if flag.load(Ordering::SeqCst)
            && let Some(series) = series.total.as_mut().and_then(|total| total.total.as_mut())
        {
            series.failed += series.answered / 20;
        }
    });
    failing
}

#[tokio::test(start_paused = true)]
async fn a_phase_is_held_until_its_objectives_pass() {
    let bench = Bench::paced().await;
    let failing = failing_until(&bench);
    let run = bench.create(&baseline(2, "phases.baseline.on-objective-failure = { hold = \"500s\" }")).await;
    let held = bench
        .wait_for(run, "hold", |event| {
            matches!(event, Event::LoadChanged { change, by, .. }
                if change.starts_with("hold: normal operation") && by == "decision")
        })
        .await;
    assert!(matches!(held, Event::LoadChanged { at_ms, .. } if at_ms < 60_000));
    assert!(bench.peers.log().contains(&"worker extend 502000000000".to_owned()));
    failing.store(false, Ordering::SeqCst);
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
    let events = bench.history(run).await;
    let ended = events.iter().find_map(|event| match event {
        Event::PhaseEnded { decision, reason, lasted_ms, .. } => {
            Some((decision.as_str(), reason.clone(), *lasted_ms))
        }
        _ => None,
    });
    let (decision, reason, lasted_ms) = ended.unwrap();
    assert_eq!(decision, "hold");
    assert!(reason.contains("until its objectives passed"), "{reason}");
    assert!(lasted_ms < 400_000, "{lasted_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_phase_is_held_at_most_as_long_as_the_plan_says() {
    let bench = Bench::paced().await;
    let _failing = failing_until(&bench);
    let run = bench.create(&baseline(2, "phases.baseline.on-objective-failure = { hold = \"5s\" }")).await;
    // It is reported, and the run goes on to its end.
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
    let events = bench.history(run).await;
    let Some(Event::PhaseEnded { decision, reason, lasted_ms, objectives, .. }) =
        events.iter().find(|event| matches!(event, Event::PhaseEnded { .. }))
    else {
        panic!("no end of the phase")
    };
    assert_eq!(decision, "hold");
    assert!(reason.contains("still fail"), "{reason}");
    assert!(*lasted_ms >= 7_000, "{lasted_ms}");
    assert_eq!(objectives[0].result, OutcomeResult::Fail);
}

#[tokio::test(start_paused = true)]
async fn a_failed_objective_ends_the_run_when_the_plan_says_so() {
    let bench = Bench::paced().await;
    let _failing = failing_until(&bench);
    let plan =
        baseline(2, "phases.baseline.on-objective-failure = \"abort\"\nphases.light.duration = \"2s\"")
            .replace("[\"baseline\"]", "[\"baseline\", \"light\"]");
    let run = bench.create(&plan).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 99);
    assert!(reasons[0].contains("normal operation"), "{reasons:?}");
    assert!(!bench.peers.log().contains(&"worker start 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_generator_makes_the_run_invalid_and_says_by_which_rule() {
    for (judge, expected) in [(true, 98), (false, 0)] {
        let bench = Bench::paced().await;
        bench.peers.script().edit = Box::new(|series| {
            if let Some(counts) = series.total.as_mut().and_then(|total| total.arrivals.as_mut()) {
                counts.dropped = 1;
                counts.dropped_by_generator = 1;
            }
        });
        let run = bench.create(&baseline(2, &format!("validity.judge = {judge}"))).await;
        let (code, reasons) = bench.ended(run).await;
        assert_eq!(code, expected, "{reasons:?}");
        if judge {
            assert!(reasons[0].contains("dropped by the generator: 1 of 200"), "{reasons:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn missing_samples_are_told_and_make_the_run_invalid() {
    let bench = Bench::paced().await;
    bench.peers.script().last_batch_lost = true;
    let run = bench.create(&baseline(1, "")).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 98);
    assert!(reasons[0].contains("samples complete"), "{reasons:?}");
    let events = bench.history(run).await;
    assert!(events.iter().any(|event| {
        matches!(event, Event::Notice { message } if message.contains("samples are missing, and none came for 10 s"))
    }));
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_ends_the_run_as_aborted_and_is_named() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.peers.script().beating = false;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96);
    assert!(reasons[0].contains(&bench.peers.worker.to_string()), "{reasons:?}");
    assert!(reasons[0].contains("no heartbeat"), "{reasons:?}");
    let events = bench.history(run).await;
    assert!(
        events
            .iter()
            .any(|event| { matches!(event, Event::WorkerChanged { change, .. } if change == "lost") })
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_end_its_phase_is_lost() {
    let bench = Bench::paced().await;
    bench.peers.script().end_silent = true;
    let run = bench.create(&baseline(1, "load.grace = \"1s\"")).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains(&bench.peers.worker.to_string())), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_metrics_ends_the_load_and_the_run_and_is_named() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.peers.script().metrics_silent = true;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96);
    assert!(reasons[0].contains("lost metrics"), "{reasons:?}");
    let log = bench.peers.log();
    assert!(position(&log, "worker ramp-down") < position(&log, "worker end 0"), "{log:?}");
    let events = bench.history(run).await;
    let ended = events.iter().find_map(|event| match event {
        Event::PhaseEnded { objectives, .. } => Some(objectives),
        _ => None,
    });
    assert!(ended.unwrap().iter().all(|one| matches!(one.result, OutcomeResult::NotEvaluable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_falls_and_rises_is_in_the_history() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.peers.script().healthy = false;
    let health = |wanted: bool| move |event: &Event| matches!(event, Event::TargetHealth { healthy, .. } if *healthy == wanted);
    bench.wait_for(run, "fall", health(false)).await;
    bench.peers.script().healthy = true;
    bench.wait_for(run, "rise", health(true)).await;
    bench.shutdown.trigger("signal SIGTERM");
    assert_eq!(bench.ended(run).await.0, 143);
}

#[tokio::test(start_paused = true)]
async fn guest_faults_are_in_the_history_and_too_many_make_the_run_invalid() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(20, "")).await;
    bench.wait_for_phase(run, 0).await;
    for sequence in 1..=6 {
        let key = store::RecordKey { producer: [1; 16], incarnation: [2; 16], sequence, part: 0 };
        let fault = protocol::v1::GuestFault {
            run: run.to_bytes(),
            guest: "http".to_owned(),
            kind: "trap".to_owned(),
            message: "unreachable".to_owned(),
            offset_ns: sequence,
            operations_cancelled: 3,
            ..Default::default()
        };
        bench.bus.record(&key, &fault).await.unwrap();
    }
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 98, "{reasons:?}");
    assert!(reasons[0].contains("guest traps: 6 in the worst minute"), "{reasons:?}");
    let events = bench.history(run).await;
    assert_eq!(events.iter().filter(|event| matches!(event, Event::GuestFaulted { .. })).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_go_out_of_use_are_in_the_history() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    for (sequence, out) in [(1, true), (2, false)] {
        let key = store::RecordKey { producer: [1; 16], incarnation: [2; 16], sequence, part: 0 };
        let news = protocol::v1::EndpointNews {
            run: run.to_bytes(),
            worker: protocol::id::WorkerId::new().to_bytes(),
            target: "shop".to_owned(),
            endpoint: "http://shop:1".to_owned(),
            out,
            cause: "health-check".to_owned(),
            detail: "3 checks in a row failed".to_owned(),
            ..Default::default()
        };
        bench.bus.record(&key, &news).await.unwrap();
        let told = move |event: &Event| matches!(event, Event::EndpointChanged { target, out: told, .. } if target == "shop" && *told == out);
        bench.wait_for(run, "the change", told).await;
    }
    bench.shutdown.trigger("signal SIGTERM");
    assert_eq!(bench.ended(run).await.0, 143);
}
