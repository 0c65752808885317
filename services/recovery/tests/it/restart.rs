//! Instances that die or hang are started again.

use platform::{InstanceState, Platform as _};
use protocol::event::Event;
use protocol::faults::Issue;

use crate::rig::{LONG, Rig, Setup, actions, beginning, id, name, opened, unix_ns};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_is_found_at_once_and_runs_again() {
    // A probe would come in five minutes only.
    let recovery = "interval = \"5m\"".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    rig.beginning("shop dies", "kill", &name(0)).await;
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.injected("shop dies").await;
    let closed = rig.closed("shop-1").await;
    let told = rig.told();
    let Event::IncidentOpened { issue, instance, seen, fault, detected_after_ms, .. } = &told[0].event else {
        panic!("{told:?}")
    };
    assert_eq!((*issue, instance.as_deref()), (Issue::ComponentFailure, Some("shop-a")));
    assert!(seen.starts_with("its process has ended: "), "{seen}");
    assert_eq!(fault.as_deref(), Some("shop dies"));
    assert!(detected_after_ms.is_some_and(|ms| u128::from(ms) < LONG.as_millis()), "{detected_after_ms:?}");
    assert_eq!(actions(&told), ["restart Done"]);
    let Event::IncidentClosed { how, fault, .. } = closed else { panic!("{told:?}") };
    assert_eq!((how.as_str(), fault.as_deref()), ("restart", Some("shop dies")));
    assert_eq!(rig.platform.instance(&id(&name(0))).await.unwrap().generation, 2);
    let view = rig.view().await;
    assert_eq!((view.targets[0].restarts, view.targets[0].healthy), ((1, 4), true));
    assert_eq!(view.incidents[0].actions.len(), 1);
    assert!(view.incidents[0].closed_unix_ns.is_some());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_hangs_is_found_by_probes_and_replaced() {
    let rig = Rig::start(Setup { instances: 2, ..Setup::default() }).await;
    rig.beginning("pause", "pause", &name(1)).await;
    rig.platform.pause(&id(&name(1))).await.unwrap();
    rig.injected("pause").await;
    let closed = rig.closed("shop-1").await;
    let told = rig.told();
    let Event::IncidentOpened { issue, instance, seen, fault, .. } = &told[0].event else {
        panic!("{told:?}")
    };
    assert_eq!((*issue, instance.as_deref()), (Issue::ComponentFailure, Some("shop-b")));
    assert!(seen.starts_with("its process stands still; no answer within 600ms"), "{seen}");
    assert_eq!(fault.as_deref(), Some("pause"));
    let Event::IncidentClosed { how, .. } = closed else { panic!("{told:?}") };
    assert_eq!(how, "restart");
    assert_eq!((actions(&told), opened(&told).len()), (vec!["restart Done".to_owned()], 1));
    let instance = rig.platform.instance(&id(&name(1))).await.unwrap();
    assert_eq!((instance.state, instance.generation), (InstanceState::Running, 2));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_fail_together_are_a_cascade() {
    let rig = Rig::start(Setup { instances: 2, ..Setup::default() }).await;
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.platform.kill(&id(&name(1))).await.unwrap();
    let view = rig.until("both run again", |view| {
        view.targets[0].healthy && view.targets[0].restarts.0 == 2 && !view.incidents.is_empty()
    });
    let view = view.await;
    let issues: Vec<Issue> = view.incidents.iter().map(|incident| incident.issue).collect();
    assert!(
        issues == [Issue::ComponentFailure, Issue::CascadingFailure]
            // The first was well again before the second died.
            || issues == [Issue::ComponentFailure, Issue::ComponentFailure]
            || issues == [Issue::CascadingFailure],
        "{issues:?}"
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cause_that_is_told_late_is_there_at_the_end() {
    let rig = Rig::start(Setup::default()).await;
    let knob = rig.knobs(&name(0)).join("broken");
    std::fs::write(&knob, "").unwrap();
    let began = unix_ns();
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.wait_for("the incident", |told| (!told.is_empty()).then_some(())).await;
    let told = rig.told();
    assert!(
        matches!(&told[0].event, Event::IncidentOpened { fault: None, detected_after_ms: None, .. }),
        "{told:?}"
    );
    rig.chaos_at(began, beginning("late", "kill", &name(0))).await;
    rig.until("its cause", |view| view.incidents[0].fault.as_deref() == Some("late")).await;
    std::fs::remove_file(&knob).unwrap();
    let closed = rig.closed("shop-1").await;
    assert!(
        matches!(&closed, Event::IncidentClosed { fault: Some(fault), .. } if fault == "late"),
        "{closed:?}"
    );
    rig.end().await;
}
