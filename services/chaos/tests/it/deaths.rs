//! Agent, proxy and the service itself die in the middle of faults.

use std::time::Duration;

use platform::InstanceState;
use platform::identity::{ProcessId, Signal};
use protocol::event::Event;
use protocol::faults::FaultState;

use crate::lab::{LONG, Lab, eventually, fault, unix_ns};
use crate::target::{ask, ask_over};

fn kill(process: &ProcessId) {
    process.open().unwrap().expect("it is alive").signal(Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_has_its_faults_undone_and_told() {
    let faults =
        fault("hangs", "pause", "100ms", "50s", "") + &fault("busy", "cpu", "100ms", "50s", "cores = 1");
    let lab = Lab::new(&faults).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    lab.injected("busy").await;
    kill(&lab.helper("fault-agent").await);
    for id in ["hangs", "busy"] {
        let (how, verified) = lab.ended(id).await;
        assert!(how.contains("the fault agent"), "{how}");
        assert!(!verified.is_empty());
    }
    lab.nothing_left().await;
    // There is another one.
    let asked = "recipe = \"pause\"\ntarget = \"shop\"\nduration = \"1s\"\nstop = \"none\"\n";
    let reply = lab.inject(asked).await;
    assert_eq!(reply.refused, "");
    lab.ended(&reply.fault).await;
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_dies_is_there_again_on_the_same_ports_without_faults() {
    let faults = fault("cut", "partition", "100ms", "50s", "mode = \"one\"")
        + &fault("slow", "latency", "100ms", "50s", "latency = \"10ms\"\nmode = \"all\"");
    let lab = Lab::new(&faults).await;
    let opened = lab.open().await;
    lab.begin().await;
    lab.injected("cut").await;
    lab.injected("slow").await;
    let proxy = lab.helper("fault-proxy").await;
    kill(&proxy);
    for id in ["cut", "slow"] {
        let (how, verified) = lab.ended(id).await;
        assert_eq!(how, "the fault proxy died");
        assert!(verified.contains("has no toxic of its name in another process"), "{verified}");
    }
    for detour in &opened.detours {
        let answers = || ask(&detour.address, Duration::from_secs(5)).ok();
        eventually("an answer on the same port", answers, || detour.address.clone()).await;
    }
    assert_ne!(lab.helper("fault-proxy").await, proxy);
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_was_started_anew_goes_on_in_the_run() {
    let faults = [
        fault("hangs", "pause", "100ms", "40s", ""),
        fault("slow", "latency", "100ms", "40s", "latency = \"10ms\""),
    ];
    let lab = Lab::new(&faults.concat()).await;
    let first = lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    lab.injected("slow").await;
    let (agent, proxy) = (lab.helper("fault-agent").await, lab.helper("fault-proxy").await);
    let lasting = std::net::TcpStream::connect(&first.detours[0].address).unwrap();
    lab.kill_chaos();
    eventually("the agent's end", || (!agent.is_alive().unwrap()).then_some(()), || ()).await;
    lab.nothing_left().await;
    lab.start_chaos().await;
    let end = protocol::v1::EndChaosPhase { run: lab.run.to_bytes(), phase: 1, reason: String::new() };
    let refused = lab.send(&end).await.unwrap_err().to_string();
    assert!(refused.contains("chaos does not know run"), "{refused}");
    let second = lab.open().await;
    assert_eq!(first.detours, second.detours, "load goes on by the same ways");
    assert_eq!(lab.helper("fault-proxy").await, proxy, "it is taken over");
    ask_over(lasting, LONG).expect("load does not notice");
    assert_eq!(first.planned_json, second.planned_json);
    let (how, verified) = lab.ended("hangs").await;
    assert!(how.starts_with("the chaos service that held it ended: the fault agent"), "{how}");
    assert!(!verified.is_empty() && !verified.contains("journal has nothing"), "{verified}");
    let (how, verified) = lab.ended("slow").await;
    assert!(how.ends_with("the one after it cleared the fault proxy of it"), "{how}");
    assert!(verified.contains("listens and has no toxic of its name"), "{verified}");
    lab.begin().await;
    let held =
        || lab.events().iter().filter(|event| format!("{event:?}").starts_with("FaultInjected")).count();
    eventually("both faults again", || (held() >= 4).then_some(()), || lab.events()).await;
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_a_dead_service_held_ends_in_the_history_and_is_not_skipped_after_it() {
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "40s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    let agent = lab.helper("fault-agent").await;
    lab.kill_chaos();
    eventually("the agent's end", || (!agent.is_alive().unwrap()).then_some(()), || ()).await;
    lab.start_chaos().await;
    lab.open().await;
    // The phase is too old for it to come again.
    lab.begin_at(unix_ns() - 5_000_000_000).await;
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    assert_eq!(lab.state_of("hangs").await, FaultState::Ended);
    assert_eq!(lab.close().await.last_sequence, 2, "its plan, and the end of the fault");
    lab.ended("hangs").await;
    let told = lab.events();
    let is = |event: &&Event| !matches!(event, Event::FaultsPlanned { .. });
    let [beginning, injected, ended] = told.iter().filter(is).collect::<Vec<_>>()[..] else {
        panic!("{told:#?}")
    };
    assert!(matches!(beginning, Event::FaultBeginning { .. }), "{beginning:?}");
    assert!(matches!(injected, Event::FaultInjected { .. }), "{injected:?}");
    let Event::FaultEnded { how, held_ms, undo_ms, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(how, "the chaos service that held it ended: the fault agent undid it");
    assert!(held_ms.is_none() && undo_ms.is_some(), "{ended:?}");
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_service_had_killed_runs_again_when_the_run_is_opened_again() {
    let lab = Lab::new(&fault("dies", "kill", "100ms", "40s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("dies").await;
    let running = async |name| lab.instance(name).await.state == InstanceState::Running;
    assert!(!(running("a").await && running("b").await));
    lab.kill_chaos();
    lab.start_chaos().await;
    lab.open().await;
    assert!(running("a").await && running("b").await);
    let (how, verified) = lab.ended("dies").await;
    assert_eq!(how, "the chaos service that held it ended: what it had ended runs again");
    assert!(verified.contains("was started again"), "{verified}");
    assert_eq!(lab.state_of("dies").await, FaultState::Planned);
    lab.close().await;
}
