//! Kill, pause, restart, clock.

use std::time::Duration;

use platform::processes::libfaketime;
use platform::{InstanceState, Platform as _};
use protocol::event::Event;
use protocol::faults::FaultState;

use crate::lab::{LONG, Lab, eventually, fault, unix_ns};
use crate::target::{ask, clock_of};

/// The instance that a fault of this name hits.
fn victim(lab: &Lab, id: &str) -> String {
    let planned = lab.events().into_iter().find_map(|event| match event {
        Event::FaultsPlanned { faults, .. } => faults.into_iter().find(|fault| fault.fault == id),
        _ => None,
    });
    planned.unwrap().victims.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_is_gone_and_runs_again_at_its_end() {
    let lab = Lab::new(&fault("dies", "kill", "200ms", "1500ms", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("dies").await;
    let name = victim(&lab, "dies");
    assert_eq!(lab.instance(&name).await.state, InstanceState::Exited);
    let (how, verified) = lab.ended("dies").await;
    assert_eq!(how, "its time is over");
    assert!(verified.contains(&format!("{name} was started again")), "{verified}");
    let instance = lab.instance(&name).await;
    assert_eq!((instance.state, instance.generation), (InstanceState::Running, 2));
    let told: Vec<_> = lab
        .events()
        .iter()
        .map(|event| match event {
            Event::FaultsPlanned { .. } => "planned",
            Event::FaultBeginning { .. } => "beginning",
            Event::FaultInjected { .. } => "injected",
            Event::FaultEnded { .. } => "ended",
            _ => "another",
        })
        .collect();
    assert_eq!(told, ["planned", "beginning", "injected", "ended"]);
    let ended = lab.end("").await;
    assert_eq!((ended.unrecovered, ended.last_sequence), (vec![], 4));
    assert_eq!(lab.sequences(), [1, 2, 3, 4]);
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_that_somebody_else_started_stays_as_it_is() {
    let lab = Lab::new(&fault("dies", "kill", "200ms", "2s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("dies").await;
    let name = victim(&lab, "dies");
    let started = lab.processes().start(&lab.instance(&name).await.id).await.unwrap();
    let (_, verified) = lab.ended("dies").await;
    assert!(verified.contains(&format!("{name} runs again already")), "{verified}");
    assert_eq!(lab.instance(&name).await.process, started.instance.process);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_instance_stands_still_and_goes_on() {
    let lab = Lab::new(&fault("hangs", "pause", "200ms", "1500ms", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    let name = victim(&lab, "hangs");
    assert_eq!(lab.instance(&name).await.state, InstanceState::Paused);
    assert_eq!(lab.state_of("hangs").await, FaultState::Injected);
    let (how, _) = lab.ended("hangs").await;
    assert_eq!(how, "its time is over");
    assert_eq!(lab.instance(&name).await.state, InstanceState::Running);
    assert_eq!(lab.state_of("hangs").await, FaultState::Ended);
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_instance_is_another_process() {
    let lab = Lab::new(&fault("rolls", "restart", "200ms", "5s", "")).await;
    lab.open().await;
    lab.begin().await;
    let (_, verified) = lab.ended("rolls").await;
    let name = victim(&lab, "rolls");
    let instance = lab.instance(&name).await;
    assert_eq!((instance.state, instance.generation), (InstanceState::Running, 2));
    assert!(verified.contains("was started again"), "{verified}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_is_set_off_and_right_again() {
    if let Err(why) = libfaketime() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let lab = Lab::new(&fault("late", "clock-skew", "200ms", "2s", "offset = \"-1h\"")).await;
    let planned = lab.open().await.planned_json.join("");
    assert!(planned.contains("-1h"), "{planned}");
    lab.begin().await;
    lab.injected("late").await;
    let off = |ms: i64| ms - unix_ns() / 1_000_000;
    let address = &lab.targets[usize::from(victim(&lab, "late") == "b")];
    assert!(off(clock_of(address)) < -3_500_000, "{}", off(clock_of(address)));
    lab.ended("late").await;
    let right = || (off(clock_of(address)).abs() < 60_000).then_some(());
    eventually("the right time", right, || clock_of(address)).await;
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_victim_that_is_gone_is_not_hit() {
    let lab = Lab::new(&fault("hangs", "pause", "500ms", "1s", "")).await;
    lab.open().await;
    let name = victim_of_plan(&lab).await;
    let id = lab.instance(&name).await.id;
    lab.processes().stop(&id).await.unwrap();
    lab.begin().await;
    let why = lab.skipped("hangs").await;
    assert!(why.contains(&format!("instance {name} does not run")), "{why}");
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
}

async fn victim_of_plan(lab: &Lab) -> String {
    lab.told("FaultsPlanned", |event| matches!(event, Event::FaultsPlanned { .. })).await;
    victim(lab, "hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_be_started_again_is_unrecovered() {
    let lab = Lab::new(&fault("dies", "kill", "100ms", "1s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("dies").await;
    let name = victim(&lab, "dies");
    let address = &lab.targets[usize::from(name == "b")];
    let taken = std::net::TcpListener::bind(address).unwrap();
    let is_it = |event: &Event| matches!(event, Event::FaultUnrecovered { .. });
    let Event::FaultUnrecovered { fault, detail, .. } = lab.told("FaultUnrecovered", is_it).await else {
        unreachable!()
    };
    assert_eq!(fault, "dies");
    assert!(detail.contains(&format!("process {name}: something else is listening")), "{detail}");
    drop(taken);
    assert_eq!(lab.end("").await.unrecovered, ["dies"]);
    assert_eq!(lab.close().await.unrecovered, ["dies"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_answer_again_after_all() {
    let faults = fault("dies", "kill", "100ms", "1s", "") + &fault("hangs", "pause", "4s", "1s", "");
    let lab = Lab::new(&faults).await;
    lab.open().await;
    lab.begin().await;
    lab.ended("dies").await;
    lab.ended("hangs").await;
    for address in &lab.targets {
        let answered = || ask(address, Duration::from_secs(5)).ok();
        eventually("an answer", answered, || address.clone()).await;
    }
    let ended = tokio::time::timeout(LONG, lab.end("")).await.unwrap();
    assert_eq!(ended.unrecovered, Vec::<String>::new());
    lab.close().await;
}
