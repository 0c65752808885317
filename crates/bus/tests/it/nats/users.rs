//! A server as it is deployed: with one user for each role. Also what the tests of this directory share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus::{Bus, Credentials, NatsOptions, ServerConfig, server_config};
use protocol::access::ROLES;
use store::RecordKey;
use tempfile::TempDir;
use test_servers::nats::Nats;

/// Longer than anything takes that works.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A server with users, and a directory for the copies of objects.
pub(super) struct Deployed {
    pub(super) server: Nats,
    dir: TempDir,
}

/// Hard to quote, so that the configuration is seen to quote them.
pub(super) fn password(role: &str) -> String {
    format!("{role}'s \"$secret\"\\n # {{\u{e9}}}")
}

pub(super) fn deployed() -> Deployed {
    let server = Nats::configured(|home, listen| {
        let config = ServerConfig {
            listen,
            monitor_port: None,
            store_dir: home.join("jetstream"),
            max_store: Some(64 << 20),
            passwords: ROLES.map(|role| (role.to_owned(), password(role))).into(),
            tls: None,
            private_network: false,
        };
        server_config(&config).unwrap()
    });
    Deployed { server, dir: tempfile::tempdir().unwrap() }
}

impl Deployed {
    /// How a role connects.
    pub(super) fn options(&self, role: &str) -> NatsOptions {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        NatsOptions {
            credentials: Some(Credentials { user: role.to_owned(), password: password(role) }),
            ack_wait: Duration::from_millis(600),
            max_log_bytes: 8 << 20,
            ..NatsOptions::new(&self.server.url(), role, self.dir.path().join(format!("objects-{number}")))
        }
    }

    pub(super) async fn bus(&self, role: &str) -> Bus {
        Bus::connect(self.options(role)).await.unwrap()
    }
}

pub(super) fn key(producer: u8, sequence: u64) -> RecordKey {
    RecordKey { producer: [producer; 16], incarnation: [0; 16], sequence, part: 0 }
}

/// What comes of a future, which must come soon.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {LONG:?}"),
    }
}

/// Waits until a condition holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, holds).await;
}

/// Tries something until it gives a value.
pub(super) async fn until_async<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let value = async {
        loop {
            if let Some(value) = attempt().await {
                break value;
            }
        }
    };
    soon(what, value).await
}
