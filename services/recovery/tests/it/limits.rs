//! Where recovery ends: instances that cannot be started, restart loops, partitions, the borders of phases.

use fault_proxy::ToxicInput;
use fault_proxy::toxic::{Attributes, Stream, Timeout};
use platform::{InstanceState, Platform as _};
use protocol::event::Event;
use protocol::faults::{ActionOutcome, Issue};

use crate::rig::{Rig, Setup, actions, id, name};

/// The details of actions that ended so.
fn details(rig: &Rig, wanted: ActionOutcome) -> Vec<String> {
    let told = rig.told().into_iter();
    let details = told.filter_map(|told| match told.event {
        Event::RecoveryActed { outcome, detail, .. } if outcome == wanted => Some(detail),
        _ => None,
    });
    details.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_be_started_is_tried_as_often_as_the_plan_says() {
    let recovery = "interval = \"1s\"\nrestarts = 2".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    std::fs::write(rig.knobs(&name(0)).join("broken"), "").unwrap();
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.wait_for("the last restart", |told| (actions(told).last()? == "restart NotPossible").then_some(()))
        .await;
    assert_eq!(actions(&rig.told()), ["restart Failed", "restart Failed", "restart NotPossible"]);
    for failed in details(&rig, ActionOutcome::Failed) {
        assert!(failed.starts_with("process shop-a: ended before it was ready: exit code"), "{failed}");
    }
    let last = details(&rig, ActionOutcome::NotPossible);
    assert_eq!(last, ["no restart is left: raise `restarts`, or mend what ends it"]);
    // Over the phase's end the incident stays open.
    assert_eq!(rig.end_phase(1).await, ["shop-1"]);
    rig.phase(2).await;
    assert_eq!(rig.end_phase(2).await, ["shop-1"]);
    assert_ne!(rig.platform.instance(&id(&name(0))).await.unwrap().state, InstanceState::Running);
    assert_eq!(rig.view().await.targets[0].restarts, (2, 0));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loop_ends_with_the_budget() {
    let recovery = "interval = \"1s\"\nrestarts = 3".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    std::fs::write(rig.knobs(&name(0)).join("mortal"), "").unwrap();
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.wait_for("the last restart", |told| (actions(told).last()? == "restart NotPossible").then_some(()))
        .await;
    let told = actions(&rig.told());
    // Of one that dies while it is looked at, the restart failed.
    let restarts = told.iter().filter(|action| ["restart Done", "restart Failed"].contains(&action.as_str()));
    assert_eq!(restarts.count(), 3, "{told:?}");
    assert_eq!(rig.platform.instance(&id(&name(0))).await.unwrap().generation, 4);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_told_apart_and_no_reason_to_restart() {
    let rig = Rig::start(Setup { proxy: true, ..Setup::default() }).await;
    let client = rig.proxy.as_ref().unwrap().client();
    let url = format!("http://127.0.0.1:{}", rig.ports[0]);
    rig.beginning("cut off", "partition", &url).await;
    let toxic = ToxicInput::new("cut", &Attributes::Timeout(Timeout { timeout: 0 })).on(Stream::Both);
    client.add_toxic("shop-0", &toxic).await.unwrap();
    rig.injected("cut off").await;
    rig.wait_for("an action", |told| actions(told).first().cloned()).await;
    client.remove_toxic("shop-0", "cut").await.unwrap();
    rig.ended("cut off").await;
    let closed = rig.closed("shop-1").await;
    let told = rig.told();
    let Event::IncidentOpened { issue, seen, fault, .. } = &told[0].event else { panic!("{told:?}") };
    assert_eq!((*issue, fault.as_deref()), (Issue::NetworkPartition, Some("cut off")));
    assert!(seen.contains("; directly it answers within"), "{seen}");
    assert_eq!(actions(&told), ["restart NotPossible"]);
    let why = details(&rig, ActionOutcome::NotPossible);
    assert_eq!(why, ["the instance answers directly: a restart does not mend the way to it"]);
    let Event::IncidentClosed { how, fault, .. } = closed else { panic!("{told:?}") };
    assert_eq!((how.as_str(), fault.as_deref()), ("the fault ended", Some("cut off")));
    assert_eq!(rig.platform.instance(&id(&name(0))).await.unwrap().generation, 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_well_by_itself_is_said_to() {
    let recovery = "interval = \"1s\"\nstrategy = []\nfall = 2\nrise = 3".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    let knob = rig.knobs(&name(0)).join("status");
    std::fs::write(&knob, "503 Busy").unwrap();
    rig.wait_for("the incident", |told| (!told.is_empty()).then_some(())).await;
    std::fs::remove_file(&knob).unwrap();
    let closed = rig.closed("shop-1").await;
    let Event::IncidentClosed { how, fault: None, validated_after_ms, .. } = &closed else {
        panic!("{closed:?}")
    };
    assert_eq!(how, "by itself");
    // Three good probes in a row, a tenth of a second apart.
    assert!(*validated_after_ms >= 190, "{validated_after_ms}");
    assert_eq!(actions(&rig.told()), [""; 0]);
    rig.end().await;
}
