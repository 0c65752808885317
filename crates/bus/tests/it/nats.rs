//! The transport over NATS: its promises, and what is its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, NatsOptions, RecordError};
use protocol::v1::SampleBatch;
use store::RecordKey;
use tempfile::TempDir;
use test_servers::nats::Nats;

use crate::contract::{MAX_LOG, Setup};

mod away;
mod commands;
mod consumers;
mod permissions;
mod refusals;
mod users;

/// Options for a server; impatient, and with every log's consumers as the contract tests have them.
fn options(server: &Nats, dir: &TempDir) -> NatsOptions {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    NatsOptions {
        ack_wait: Duration::from_millis(600),
        max_log_bytes: MAX_LOG,
        consumers: ["load.samples", "load.guest-faults"]
            .map(|log| (log.to_owned(), vec!["metrics".to_owned()]))
            .into(),
        ..NatsOptions::new(&server.url(), "test", dir.path().join(format!("objects-{number}")))
    }
}

/// A server of its own for each test, and a second bus that is there when the first one has been killed.
async fn setup() -> (Setup, (Nats, TempDir)) {
    let (server, dir) = (Nats::start(), tempfile::tempdir().unwrap());
    let bus = Bus::connect(options(&server, &dir)).await.unwrap();
    let next = Arc::new(Mutex::new(Some(Bus::connect(options(&server, &dir)).await.unwrap())));
    let first = bus.clone();
    let again = Box::new(move || {
        first.sever();
        next.lock().unwrap().take().unwrap()
    });
    (Setup { bus, again }, (server, dir))
}

mod contract {
    crate::contract::contract_tests!(super::setup);
}

#[tokio::test]
async fn appends_that_come_at_once_to_a_server_that_hangs_wait_side_by_side() {
    const AT_ONCE: u64 = 8;
    let (server, dir) = (Nats::start(), tempfile::tempdir().unwrap());
    let patient = Duration::from_secs(2);
    let options = NatsOptions { ack_timeout: patient, ..options(&server, &dir) };
    let bus = Bus::connect(options).await.unwrap();
    server.freeze(true);
    // The log was not used yet: its stream is asked for first.
    let asked = tokio::time::Instant::now();
    let mut appends = tokio::task::JoinSet::new();
    for sequence in 0..AT_ONCE {
        let bus = bus.clone();
        let key = RecordKey { producer: [1; 16], incarnation: [0; 16], sequence, part: 0 };
        appends.spawn(async move { bus.record(&key, &SampleBatch::default()).await });
    }
    let answers = appends.join_all().await;
    server.freeze(false);
    assert!(answers.iter().all(|answer| matches!(answer, Err(RecordError::Bus(_)))), "{answers:?}");
    // One after the other they would take as many times as long as there are of them.
    assert!(asked.elapsed() < patient * (AT_ONCE as u32) / 2, "{:?}", asked.elapsed());
}
