//! A scheduler that falls silent in the middle of faults.

use std::time::Duration;

use protocol::faults::FaultState;
use protocol::id::RunId;
use protocol::v1;

use crate::lab::{Lab, fault};

/// Added to a plan: after a second of silence nobody steers.
const LEASE: &str = "[control]\ncontroller-lease = \"1s\"\n";
const SILENT: &str = "the scheduler was not heard for 1s (control.controller-lease)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_end_when_the_scheduler_is_silent_and_begin_when_it_is_heard_again() {
    let faults = [
        fault("hangs", "pause", "100ms", "50s", ""),
        fault("busy", "cpu", "100ms", "50s", "cores = 1"),
        fault("slow", "latency", "100ms", "50s", "latency = \"10ms\""),
        fault("meanwhile", "memory", "10s", "40s", "size = \"1MiB\""),
        fault("later", "connections", "16s", "1s", "connections = 1"),
    ];
    let lab = Lab::new(&[LEASE, &faults.concat()].concat()).await;
    lab.open().await;
    lab.begin().await;
    for id in ["hangs", "busy", "slow"] {
        lab.injected(id).await;
    }
    lab.stop_beats();
    for id in ["hangs", "busy", "slow"] {
        assert_eq!(lab.ended(id).await.0, SILENT, "{id}");
    }
    lab.nothing_left().await;
    assert_eq!(lab.skipped("meanwhile").await, SILENT);
    lab.start_beats(lab.run);
    assert_eq!(lab.ended("later").await.0, "its time is over");
    // What was ended stays so.
    assert_eq!(lab.state_of("hangs").await, FaultState::Ended);
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_of_another_run_are_no_sign_of_life() {
    let lab = Lab::new(&[LEASE, &fault("hangs", "pause", "100ms", "50s", "")].concat()).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    lab.start_beats(RunId::new());
    assert_eq!(lab.ended("hangs").await.0, SILENT);
    // A command is one, and whoever gives it finds that faults may begin.
    let asked = "recipe = \"pause\"\ntarget = \"shop\"\nduration = \"300ms\"\nstop = \"none\"\n";
    assert_eq!(lab.inject(asked).await.refused, "");
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_and_commands_keep_faults_going() {
    for beats in [true, false] {
        let lab = Lab::new(&[LEASE, &fault("hangs", "pause", "100ms", "4s", "")].concat()).await;
        lab.open().await;
        lab.begin().await;
        let over = lab.ended("hangs");
        let asking = async {
            if beats {
                return std::future::pending::<()>().await;
            }
            lab.stop_beats();
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                lab.faults().await;
            }
        };
        tokio::select! {
            (how, _) = over => assert_eq!(how, "its time is over", "beats: {beats}"),
            () = asking => unreachable!("it asks for ever"),
        }
        lab.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_scheduler_is_silent_keeps_no_other_away() {
    let lab = Lab::new(&[LEASE, &fault("hangs", "pause", "100ms", "50s", "")].concat()).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    let other = v1::OpenChaos { run: RunId::new().to_bytes(), ..lab.open_command() };
    let refused = lab.send(&other).await.unwrap_err().to_string();
    assert!(refused.contains("whose phase is under way"), "{refused}");
    lab.stop_beats();
    lab.ended("hangs").await;
    assert_eq!(lab.send(&other).await.unwrap().problems, []);
}
