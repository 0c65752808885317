//! CPU, memory, connections, disk: taken, and given back.

use protocol::event::Event;

use crate::lab::{Lab, fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_of_the_host_is_given_back() {
    let disk = tempfile::tempdir().unwrap();
    let fill = format!("path = {:?}\nsize = \"4MiB\"", disk.path());
    let faults = [
        fault("busy", "cpu", "100ms", "2s", "cores = 1"),
        fault("full", "memory", "100ms", "2s", "size = \"16MiB\""),
        fault("held", "connections", "100ms", "2s", "connections = 20\nmode = \"all\""),
        fault("filled", "disk-full", "100ms", "2s", &fill),
    ];
    let lab = Lab::new(&faults.concat()).await;
    lab.open().await;
    lab.begin().await;
    for id in ["busy", "full", "held", "filled"] {
        let seen = lab.injected(id).await;
        assert!(!seen.is_empty());
        let (how, verified) = lab.ended(id).await;
        assert_eq!(how, "its time is over", "{id}");
        assert!(!verified.is_empty());
    }
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_here_is_skipped_with_its_reason() {
    let faults = [
        fault("nowhere", "disk-full", "100ms", "1s", "path = \"/nowhere/at/all\"\nsize = \"1MiB\""),
        fault("too much", "memory", "100ms", "1s", "size = \"1TiB\""),
    ];
    let lab = Lab::new(&faults.concat()).await;
    lab.open().await;
    let why = lab.skipped("nowhere").await;
    assert!(why.contains("/nowhere/at/all is no directory of this host"), "{why}");
    let planned = lab.told("FaultsPlanned", |event| matches!(event, Event::FaultsPlanned { .. })).await;
    let Event::FaultsPlanned { capabilities, .. } = planned else { unreachable!() };
    let named = |recipe: &str| capabilities.iter().find(|one| one.recipe == recipe).unwrap();
    assert!(!named("disk-full").available && named("memory").available, "{capabilities:?}");
    assert_eq!(named("memory").backend, "fault agent");
    lab.begin().await;
    let why = lab.skipped("too much").await;
    assert!(why.contains("memory"), "{why}");
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
    lab.nothing_left().await;
}
