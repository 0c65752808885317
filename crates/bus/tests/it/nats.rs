//! The transport over NATS: its promises, and what is its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, NatsOptions};
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
