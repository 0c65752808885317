//! Agent, proxy and the service itself die in the middle of faults.

use std::time::Duration;

use platform::InstanceState;
use platform::identity::{ProcessId, Signal};
use protocol::faults::FaultState;

use crate::lab::{Lab, eventually, fault};
use crate::target::ask;

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
    let agent = lab.helper("fault-agent").await;
    lab.kill_chaos();
    eventually("the agent's end", || (!agent.is_alive().unwrap()).then_some(()), || ()).await;
    lab.nothing_left().await;
    lab.start_chaos().await;
    let end = protocol::v1::EndChaosPhase { run: lab.run.to_bytes(), phase: 1, reason: String::new() };
    let refused = lab.send(&end).await.unwrap_err().to_string();
    assert!(refused.contains("chaos does not know run"), "{refused}");
    let second = lab.open().await;
    assert_eq!(first.detours, second.detours, "load goes on by the same ways");
    assert_eq!(first.planned_json, second.planned_json);
    lab.begin().await;
    let held =
        || lab.events().iter().filter(|event| format!("{event:?}").starts_with("FaultInjected")).count();
    eventually("both faults again", || (held() >= 4).then_some(()), || lab.events()).await;
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
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
    assert_eq!(lab.state_of("dies").await, FaultState::Planned);
    lab.close().await;
}
