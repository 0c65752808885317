//! Commands out of order, twice, or about a run that chaos does not know.

use protocol::id::RunId;
use protocol::v1;

use crate::lab::{Lab, fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_not_known_is_refused() {
    let lab = Lab::new("").await;
    let run = RunId::new().to_bytes();
    let begin = v1::BeginChaosPhase { run: run.clone(), phase: 1, ..v1::BeginChaosPhase::default() };
    let end = v1::EndChaosPhase { run: run.clone(), phase: 1, reason: String::new() };
    for refused in [
        lab.send(&begin).await.unwrap_err().to_string(),
        lab.send(&end).await.unwrap_err().to_string(),
        lab.send(&v1::CloseChaos { run: run.clone() }).await.unwrap_err().to_string(),
        lab.send(&v1::QueryFaults { run }).await.unwrap_err().to_string(),
    ] {
        assert!(refused.contains("chaos does not know run") && refused.contains("open it"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_may_come_twice() {
    let lab = Lab::new(&fault("slow", "latency", "100ms", "1s", "latency = \"1ms\"")).await;
    let first = lab.open().await;
    assert_eq!(lab.open().await, first);
    let t0 = crate::lab::unix_ns();
    lab.begin_at(t0).await;
    lab.begin_at(t0).await;
    lab.ended("slow").await;
    assert_eq!(lab.end("").await, lab.end("").await);
    assert_eq!(lab.close().await, lab.close().await);
    let begun =
        lab.events().iter().filter(|event| format!("{event:?}").starts_with("FaultBeginning")).count();
    assert_eq!(begun, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_waits_for_the_phase_of_the_first() {
    let lab = Lab::new("").await;
    lab.open().await;
    lab.begin().await;
    let other = v1::OpenChaos { run: RunId::new().to_bytes(), ..lab.open_command() };
    let refused = lab.send(&other).await.unwrap_err().to_string();
    assert!(refused.contains("whose phase is under way"), "{refused}");
    lab.end("").await;
    assert_eq!(lab.send(&other).await.unwrap().problems, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_whose_time_has_passed_is_skipped() {
    let faults = fault("early", "pause", "1s", "1s", "") + &fault("next", "pause", "8s", "1s", "");
    let lab = Lab::new(&faults).await;
    lab.open().await;
    lab.begin_at(crate::lab::unix_ns() - 7_500_000_000).await;
    let why = lab.skipped("early").await;
    assert!(why.contains("its time had passed"), "{why}");
    lab.ended("next").await;
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_cleared_keeps_runs_away() {
    let lab = Lab::new(&fault("hangs", "pause", "1s", "1s", "")).await;
    lab.kill_chaos();
    let agent = lab.state().join("agent");
    std::fs::create_dir_all(&agent).unwrap();
    std::fs::write(agent.join("journal"), "this is no journal\n").unwrap();
    lab.start_chaos().await;
    let reply = lab.send(&lab.open_command()).await.unwrap();
    let [problem] = reply.problems.as_slice() else { panic!("{reply:?}") };
    assert!(problem.message.contains("of an earlier run is not undone"), "{problem:?}");
    assert!(problem.mend.contains("fault-agent check --state"), "{problem:?}");
}
