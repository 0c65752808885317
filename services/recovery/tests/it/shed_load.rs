//! Less load while an incident lasts.

use protocol::event::Event;

use crate::rig::{Rig, Setup, actions, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_is_shed_while_an_incident_lasts_and_restored_after_it() {
    let recovery = "interval = \"1s\"\nstrategy = [\"shed-load\"]\nshed = 40".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    let knob = rig.knobs(&name(0)).join("status");
    std::fs::write(&knob, "503 Busy").unwrap();
    rig.wait_for("the load to be shed", |told| actions(told).first().cloned()).await;
    std::fs::remove_file(&knob).unwrap();
    let closed = rig.closed("shop-1").await;
    assert!(matches!(&closed, Event::IncidentClosed { how, .. } if how == "shed-load"), "{closed:?}");
    rig.wait_for("the load to be restored", |told| (actions(told).len() == 2).then_some(())).await;
    assert_eq!(actions(&rig.told()), ["shed-load Done", "restore load Done"]);
    let incident = "shop-1".to_owned();
    assert_eq!(*rig.shed.lock().unwrap(), [(incident.clone(), 0.4), (incident, 1.0)]);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_phases_there_is_no_load_to_shed() {
    let recovery = "interval = \"1s\"\nstrategy = [\"shed-load\"]".to_owned();
    let rig = Rig::start(Setup { recovery, ..Setup::default() }).await;
    assert_eq!(rig.end_phase(1).await, [""; 0]);
    std::fs::write(rig.knobs(&name(0)).join("status"), "503 Busy").unwrap();
    rig.wait_for("what is not possible", |told| actions(told).first().cloned()).await;
    assert_eq!(actions(&rig.told()), ["shed-load NotPossible"]);
    // Once there is, it is.
    rig.phase(2).await;
    rig.wait_for("the load to be shed", |told| (actions(told).last()? == "shed-load Done").then_some(()))
        .await;
    assert_eq!(*rig.shed.lock().unwrap(), [("shop-1".to_owned(), 0.5)]);
    rig.end().await;
}
