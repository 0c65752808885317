//! The transport within a process: its promises, and what is its own.

use std::path::PathBuf;
use std::time::Duration;

use bus::{Address, Bus, BusError, CommandError, RecordError, Why};
use protocol::v1::{Ack, GuestFault, SampleBatch, StartPhase};
use store::{Options, RecordKey, Store};
use tempfile::TempDir;

use crate::contract::{MAX_LOG, Setup};

fn place() -> (Store, PathBuf, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_log_bytes: MAX_LOG, ..Options::default() };
    let store = Store::open_with(&dir.path().join("gauntlet.db"), options).unwrap();
    (store, dir.path().join("objects"), dir)
}

async fn setup() -> (Setup, TempDir) {
    let (store, objects, dir) = place();
    let bus = Bus::in_process(store.clone(), &objects).unwrap();
    let again = Box::new(move || Bus::in_process(store.clone(), &objects).unwrap());
    (Setup { bus, again }, dir)
}

mod contract {
    crate::contract::contract_tests!(super::setup);
}

const KEY: RecordKey = RecordKey { producer: [1; 16], incarnation: [2; 16], sequence: 1, part: 0 };

#[tokio::test]
async fn a_record_is_in_the_store_when_it_is_recorded() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store.clone(), &objects).unwrap();
    bus.record(&KEY, &SampleBatch::default()).await.unwrap();
    assert_eq!(store.read_records("load.samples", 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn acknowledged_records_leave_the_store() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store.clone(), &objects).unwrap();
    let mut records = bus.consume::<GuestFault>("metrics").await.unwrap();
    bus.record(&KEY, &GuestFault::default()).await.unwrap();
    records.next().await.unwrap().ack().await.unwrap();
    assert!(store.read_records("load.guest-faults", 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_skipped_and_counted() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store.clone(), &objects).unwrap();
    let mut records = bus.consume::<GuestFault>("metrics").await.unwrap();
    store.append_record("load.guest-faults", &KEY, vec![0xff; 9]).await.unwrap();
    bus.record(&RecordKey { sequence: 2, ..KEY }, &GuestFault::default()).await.unwrap();
    let delivery = records.next().await.unwrap();
    assert_eq!((delivery.key.sequence, records.malformed()), (2, 1));
    delivery.ack().await.unwrap();
    assert!(store.read_records("load.guest-faults", 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn records_end_when_the_store_is_closed() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store.clone(), &objects).unwrap();
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    store.close().await;
    assert!(records.next().await.is_none());
    assert!(matches!(
        bus.record(&KEY, &SampleBatch::default()).await,
        Err(RecordError::Bus(BusError::Store(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_queue_is_full_makes_callers_wait_until_their_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("gauntlet.db")).unwrap();
    let bus = Bus::in_process(store, dir.path()).unwrap();
    let mut requests = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for phase in 0..65 {
        let bus = bus.clone();
        asking.spawn(async move {
            let command = StartPhase { phase, ..Default::default() };
            bus.command(&Address::Service, &command, Duration::from_secs(5)).await
        });
    }
    let mut whys = Vec::new();
    for result in asking.join_all().await {
        match result {
            Err(CommandError::NoAnswer(unanswered)) => whys.push(unanswered.why),
            result => panic!("{result:?}"),
        }
    }
    assert_eq!(whys.iter().filter(|why| **why == Why::Busy).count(), 1);
    assert_eq!(whys.iter().filter(|why| **why == Why::Silent).count(), 64);
    // Those that waited are still there to be served, for callers that would wait longer.
    requests.next().await.unwrap().reply(Ok(Ack {}));
}

#[tokio::test]
async fn a_damaged_object_is_refused_and_put_anew() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store, &objects).unwrap();
    let digest = bus.put_object(b"abc").await.unwrap();
    let path = bus.fetch_object(&digest).await.unwrap();
    std::fs::write(&path, b"abd").unwrap();
    match bus.fetch_object(&digest).await {
        Err(BusError::Damaged { digest: named, path: place, found }) => {
            assert_eq!((named, place), (digest.clone(), path.clone()));
            assert!(found.starts_with("sha256:") && found != digest);
        }
        result => panic!("{result:?}"),
    }
    assert_eq!(bus.put_object(b"abc").await.unwrap(), digest);
    assert_eq!(std::fs::read(bus.fetch_object(&digest).await.unwrap()).unwrap(), b"abc");
}

#[tokio::test]
async fn putting_leaves_nothing_but_the_object() {
    let (store, objects, _dir) = place();
    let bus = Bus::in_process(store, &objects).unwrap();
    let digest = bus.put_object(b"abc").await.unwrap();
    let names: Vec<_> =
        std::fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [digest.strip_prefix("sha256:").unwrap()]);
}

#[tokio::test]
async fn an_object_directory_that_cannot_be_made_is_named() {
    let (store, objects, _dir) = place();
    std::fs::write(&objects, "a file in its place").unwrap();
    let error = Bus::in_process(store, &objects).unwrap_err();
    assert!(error.to_string().contains(&objects.display().to_string()), "{error}");
}
