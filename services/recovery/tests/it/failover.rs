//! Load goes to a backup, and back.

use fault_proxy::ToxicInput;
use fault_proxy::toxic::{Attributes, Stream, Timeout};
use platform::{InstanceState, Platform as _};
use protocol::event::Event;

use crate::rig::{Rig, Setup, actions, id, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_stands_in_until_the_instance_is_well_again() {
    let recovery = "interval = \"1s\"\nstrategy = [\"failover\"]".to_owned();
    let rig = Rig::start(Setup { proxy: true, spare: true, recovery, ..Setup::default() }).await;
    let client = rig.proxy.as_ref().unwrap().client();
    let own = format!("127.0.0.1:{}", rig.ports[0]);
    assert_eq!(rig.platform.instance(&id("spare")).await.unwrap().state, InstanceState::Created);
    rig.beginning("shop dies", "kill", &name(0)).await;
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.injected("shop dies").await;
    let closed = rig.closed("shop-1").await;
    let Event::IncidentClosed { how, fault, .. } = &closed else { panic!("{closed:?}") };
    assert_eq!((how.as_str(), fault.as_deref()), ("failover", Some("shop dies")));
    assert_eq!(actions(&rig.told()), ["failover Done"]);
    assert_eq!(rig.platform.instance(&id("spare")).await.unwrap().state, InstanceState::Running);
    assert_eq!(client.proxy("shop-0").await.unwrap().upstream, format!("127.0.0.1:{}", rig.spare_port));
    rig.until("the backup is seen to stand in", |view| view.targets[0].seen == "the backup stands in for it")
        .await;

    // Chaos sees to it that its victim runs at the fault's end.
    rig.platform.start(&id(&name(0))).await.unwrap();
    rig.ended("shop dies").await;
    rig.wait_for("the way back", |told| (actions(told).last()? == "fail back Done").then_some(())).await;
    assert_eq!(client.proxy("shop-0").await.unwrap().upstream, own);
    rig.until("it is well by itself", |view| view.targets[0].seen == "it is well").await;
    assert_eq!(rig.view().await.incidents.len(), 1, "{:#?}", rig.told());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_is_led_around_a_broken_way_and_back_once_that_is_whole() {
    let recovery = "interval = \"1s\"\nstrategy = [\"restart\", \"failover\"]".to_owned();
    let rig = Rig::start(Setup { proxy: true, spare: true, recovery, ..Setup::default() }).await;
    let client = rig.proxy.as_ref().unwrap().client();
    let own = format!("127.0.0.1:{}", rig.ports[0]);
    rig.beginning("cut off", "partition", &format!("http://{own}")).await;
    let toxic = ToxicInput::new("cut", &Attributes::Timeout(Timeout { timeout: 0 })).on(Stream::Both);
    client.add_toxic("shop-0", &toxic.only_for(&own)).await.unwrap();
    rig.injected("cut off").await;
    let closed = rig.closed("shop-1").await;
    assert!(
        matches!(&closed, Event::IncidentClosed { how, fault: Some(fault), .. } if how == "failover" && fault == "cut off"),
        "{closed:?}"
    );
    // It answers directly all the while, and is looked at several times.
    let seen = async |times: u32| {
        for _ in 0..times {
            rig.phase(1).await;
            rig.until("it is looked at", |view| view.targets[0].seen == "the backup stands in for it").await;
        }
    };
    seen(5).await;
    assert_eq!(actions(&rig.told()), ["restart NotPossible", "failover Done"]);
    client.remove_toxic("shop-0", "cut").await.unwrap();
    rig.ended("cut off").await;
    rig.wait_for("the way back", |told| (actions(told).last()? == "fail back Done").then_some(())).await;
    assert_eq!(client.proxy("shop-0").await.unwrap().upstream, own);
    assert_eq!(rig.view().await.incidents.len(), 1, "{:#?}", rig.told());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_started_leads_to_the_next_strategy() {
    let recovery = "interval = \"1s\"\nstrategy = [\"failover\", \"restart\"]".to_owned();
    let rig = Rig::start(Setup { proxy: true, spare: true, recovery, ..Setup::default() }).await;
    std::fs::write(rig.knobs("spare").join("broken"), "").unwrap();
    rig.platform.kill(&id(&name(0))).await.unwrap();
    let closed = rig.closed("shop-1").await;
    assert!(matches!(&closed, Event::IncidentClosed { how, .. } if how == "restart"), "{closed:?}");
    assert_eq!(actions(&rig.told()), ["failover Failed", "restart Done"]);
    let client = rig.proxy.as_ref().unwrap().client();
    assert_eq!(client.proxy("shop-0").await.unwrap().upstream, format!("127.0.0.1:{}", rig.ports[0]));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_phase_without_detours_there_is_no_failover() {
    let recovery = "interval = \"1s\"\nstrategy = [\"failover\", \"restart\"]".to_owned();
    let rig = Rig::start(Setup { proxy: true, spare: true, recovery, ..Setup::default() }).await;
    rig.phase(2).await;
    rig.platform.kill(&id(&name(0))).await.unwrap();
    rig.closed("shop-1").await;
    assert_eq!(actions(&rig.told()), ["failover NotPossible", "restart Done"]);
    rig.end().await;
}
