//! Servers that cannot be used, and what is said of them: where, what was found, and what mends it. And TLS.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use bus::{Bus, BusError, Credentials, NatsOptions, ServerConfig, ServerTls, server_config};
use protocol::access::ROLES;
use protocol::v1::SampleBatch;
use tempfile::TempDir;
use test_servers::nats::Nats;

use super::users::{deployed, key, password};

fn options(server: &Nats, dir: &TempDir) -> NatsOptions {
    NatsOptions::new(&server.url(), "load", dir.path().join("objects"))
}

/// Connects, which must fail within 3 s and with a text that has these words in it.
async fn refused(options: NatsOptions, words: &[&str]) -> BusError {
    let url = options.urls.join(", ");
    let connecting = tokio::time::timeout(Duration::from_secs(3), Bus::connect(options));
    let error = connecting.await.expect("an answer in time").expect_err("a refusal");
    let text = error.to_string();
    for word in words.iter().copied().chain([url.as_str()]) {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(error.is_environment(), "{text}");
    error
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let (server, dir) = (Nats::with(|_| String::new()), tempfile::tempdir().unwrap());
    let error = refused(options(&server, &dir), &["JetStream cannot be used", "nats-server -js"]).await;
    assert!(matches!(error, BusError::NoJetStream { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_only_small_messages_is_refused() {
    let server = Nats::with(|home| {
        format!("max_payload: 65536\njetstream {{ store_dir: \"{}/jetstream\" }}\n", home.display())
    });
    let dir = tempfile::tempdir().unwrap();
    let error = refused(options(&server, &dir), &["65536", "266240", "raise its `max_payload`"]).await;
    assert!(matches!(error, BusError::SmallPayload { found: 65536, .. }), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_said_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let options = NatsOptions::new(&format!("nats://127.0.0.1:{port}"), "load", dir.path().join("objects"));
    let error = refused(options, &["refused", "start it, or correct its URL"]).await;
    assert!(matches!(error, BusError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let place = deployed();
    let wrong = Credentials { user: "load".to_owned(), password: "not-mine".to_owned() };
    let options = NatsOptions { credentials: Some(wrong), ..place.options("load") };
    let error = refused(options, &["authorization violation", "credentials"]).await;
    assert!(!error.to_string().contains("not-mine"), "{error}");
    let none = NatsOptions { credentials: None, ..place.options("load") };
    refused(none, &["authorization violation", "credentials"]).await;
    // Under another name than its own, a role gets no answers: it is not let to hear them.
    let other = NatsOptions {
        name: "scheduler".to_owned(),
        connect_timeout: Duration::from_millis(500),
        ..place.options("load")
    };
    let error = Bus::connect(other).await.unwrap_err();
    assert!(matches!(error, BusError::Lost { .. }), "{error}");
}

/// A certificate for 127.0.0.1 that is its own authority, with its key, as files of this name.
fn certificate(dir: &Path, name: &str) -> ServerTls {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem")));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    ServerTls { certificate, key, client_ca: None }
}

/// A server with TLS and all users.
fn with_tls(tls: ServerTls) -> Nats {
    Nats::configured(|home, listen| {
        let config = ServerConfig {
            listen,
            monitor_port: None,
            store_dir: home.join("jetstream"),
            max_store: None,
            passwords: ROLES.map(|role| (role.to_owned(), password(role))).into(),
            tls: Some(tls),
            private_network: false,
        };
        server_config(&config).unwrap()
    })
}

#[tokio::test]
async fn tls_needs_the_authority_that_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (right, wrong) = (certificate(dir.path(), "right"), certificate(dir.path(), "wrong"));
    let server = with_tls(right.clone());
    let load = |tls: &ServerTls| NatsOptions {
        credentials: Some(Credentials { user: "load".to_owned(), password: password("load") }),
        root_ca: Some(tls.certificate.clone()),
        ..options(&server, &dir)
    };
    let error = refused(load(&wrong), &["certificate", "correct its URL, credentials or certificates"]).await;
    assert!(matches!(error, BusError::Connect { .. }), "{error}");
    // An authority that is not there is said, too, and not replaced by the system's.
    let absent = NatsOptions { root_ca: Some(dir.path().join("absent.pem")), ..load(&right) };
    refused(absent, &["certificates"]).await;
    let bus = Bus::connect(load(&right)).await.unwrap();
    bus.record(&key(1, 1), &SampleBatch::default()).await.unwrap();
}

#[tokio::test]
async fn a_server_may_want_to_see_the_clients_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (server_side, client) = (certificate(dir.path(), "server"), certificate(dir.path(), "client"));
    let ca = server_side.certificate.clone();
    let server = with_tls(ServerTls { client_ca: Some(client.certificate.clone()), ..server_side });
    let without = NatsOptions {
        credentials: Some(Credentials { user: "load".to_owned(), password: password("load") }),
        root_ca: Some(ca),
        ..options(&server, &dir)
    };
    refused(without.clone(), &["certificates"]).await;
    let with = NatsOptions { client_certificate: Some((client.certificate, client.key)), ..without };
    let bus = Bus::connect(with).await.unwrap();
    bus.round_trip(Duration::from_secs(5)).await.unwrap();
}
