//! The store on a server: its promises, what is refused on connecting, and how it shares the server with others.

use std::time::{Duration, Instant};

use protocol::id::RunId;
use store::{Options, PostgresOptions, RecordKey, Store, StoreError};
use test_servers::postgres::{PASSWORD, Postgres, Settings};

mod away;
mod proxy;

async fn open(options: Options) -> (Store, ()) {
    let postgres = PostgresOptions {
        max_log_bytes: options.max_log_bytes,
        ..PostgresOptions::new(Postgres::shared().database())
    };
    (Store::connect(postgres).await.unwrap(), ())
}

mod contract {
    crate::contract::contract_tests!(super::open);
}

/// The name of a database, as its URL has it.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// What connecting fails of: an error with the place, and without the password.
async fn refused(options: PostgresOptions) -> StoreError {
    let error = Store::connect(options).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("postgres://") && !text.contains(PASSWORD), "{text}");
    assert!(error.is_environment());
    error
}

fn key(sequence: u64) -> RecordKey {
    RecordKey { producer: [1; 16], incarnation: [2; 16], sequence, part: 0 }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    Store::connect(PostgresOptions::new(&url)).await.unwrap().close().await;
    server.execute(name(&url), "UPDATE schema_version SET version = 99");
    match refused(PostgresOptions::new(&url)).await {
        StoreError::NewerSchema { found: 99, supported: 1, .. } => {}
        error => panic!("{error}"),
    }
    assert_eq!(server.execute(name(&url), "SELECT version FROM schema_version"), ["99"]);
}

#[tokio::test]
async fn somebody_elses_database_is_refused_and_left_as_it_is() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    server.execute(name(&url), "CREATE TABLE customers (id BIGINT)");
    match refused(PostgresOptions::new(&url)).await {
        StoreError::Corrupt { detail, .. } => assert!(detail.contains("customers"), "{detail}"),
        error => panic!("{error}"),
    }
    assert_eq!(
        server.execute(name(&url), "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"),
        ["1"]
    );
    // A schema of its own in the same database is another place.
    server.execute(name(&url), "CREATE SCHEMA load");
    let options = PostgresOptions::new(format!("{url}?options=-c%20search_path%3Dload"));
    assert!(Store::connect(options).await.unwrap().runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn stores_connected_at_once_to_an_empty_database_share_one() {
    let url = Postgres::shared().database();
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..4 {
        connecting.spawn(Store::connect(PostgresOptions::new(&url)));
    }
    let stores: Vec<_> = connecting.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(stores[0].acquire_lease("scheduler", "first", 1_000, 0).await.unwrap());
    assert!(!stores[3].acquire_lease("scheduler", "second", 1_000, 0).await.unwrap());
}

#[tokio::test]
async fn damage_found_while_reading_is_said_to_be() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    let store = Store::connect(PostgresOptions::new(&url)).await.unwrap();
    let run = RunId::from_bytes(&[7; 16]).unwrap();
    let id = "decode(repeat('07', 16), 'hex')";
    server.execute(name(&url), &format!("INSERT INTO history VALUES ({id}, 1, 'not JSON')"));
    let result = store.history(run, 0).await;
    assert!(matches!(result, Err(StoreError::Corrupt { .. })), "{result:?}");
    server.execute(name(&url), "DROP TABLE history");
    let result = store.history(run, 0).await;
    assert!(
        matches!(&result, Err(StoreError::Corrupt { detail, .. }) if detail.contains("history")),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let url = Postgres::shared().database();
    let wrong = PostgresOptions::new(url.replace(PASSWORD, "wrong-password"));
    let asked = Instant::now();
    let error = refused(wrong.clone()).await;
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    let text = error.to_string();
    for part in ["password authentication failed", "correct user, password", name(&url)] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("wrong-password"), "{text}");
    assert!(asked.elapsed() < wrong.patience);
    // One from a file takes its place.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let options = PostgresOptions { password_file: Some(file), ..wrong };
    assert!(Store::connect(options).await.unwrap().runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_database_and_missing_rights_are_said_to_be() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    let error = refused(PostgresOptions::new(server.url("absent"))).await;
    assert!(
        matches!(&error, StoreError::Denied { .. }) && error.to_string().contains("\"absent\""),
        "{error}"
    );
    server.execute(
        name(&url),
        "CREATE USER guest PASSWORD 'guest-password'; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let guest = url.replace(&format!("gauntlet:{PASSWORD}"), "guest:guest-password");
    let error = refused(PostgresOptions::new(guest)).await;
    assert!(
        matches!(&error, StoreError::Denied { detail, .. } if detail.contains("permission denied")),
        "{error}"
    );
}

#[tokio::test]
async fn the_pool_is_bounded_and_callers_wait_for_their_turn() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    let store = Store::connect(PostgresOptions { pool: 3, ..PostgresOptions::new(&url) }).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for sequence in 1..=60 {
        let store = store.clone();
        writers.spawn(async move { store.append_record("log", &key(sequence), vec![1]).await.unwrap() });
    }
    writers.join_all().await;
    // None is closed before it has been idle for long: there never were more.
    let sessions = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'gauntlet' AND datname = ";
    assert_eq!(server.execute("postgres", &format!("{sessions}'{}'", name(&url))), ["3"]);
    assert_eq!(store.read_records("log", 0, 100).await.unwrap().len(), 60);
    store.close().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_next_call_has_another() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    let idle_timeout = Duration::from_millis(200);
    let store = Store::connect(PostgresOptions { idle_timeout, ..PostgresOptions::new(&url) }).await.unwrap();
    let sessions = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{}'", name(&url));
    let started = Instant::now();
    while server.execute("postgres", &sessions) != ["0"] {
        assert!(started.elapsed() < Duration::from_secs(30), "it is still there");
        tokio::task::yield_now().await;
    }
    assert!(store.apply_sample(RunId::new(), 0, &key(1), vec![]).await.unwrap());
}

#[tokio::test]
async fn a_table_locked_by_another_session_is_said_to_be() {
    let (server, url) = (Postgres::shared(), Postgres::shared().database());
    let patience = Duration::from_secs(2);
    let store = Store::connect(PostgresOptions { patience, ..PostgresOptions::new(&url) }).await.unwrap();
    let database = name(&url).to_owned();
    let other = tokio::task::spawn_blocking(move || {
        server.execute(&database, "BEGIN; LOCK TABLE leases; SELECT pg_sleep(600)")
    });
    let locks = "SELECT COUNT(*) FROM pg_locks WHERE relation = 'leases'::regclass AND granted";
    let started = Instant::now();
    while server.execute(name(&url), locks) == ["0"] {
        assert!(started.elapsed() < Duration::from_secs(30), "the other session has no lock");
        tokio::task::yield_now().await;
    }
    let result = store.acquire_lease("scheduler", "me", 1, 0).await;
    assert!(matches!(result, Err(StoreError::Locked { .. })), "{result:?}");
    let ending =
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'leases'::regclass AND granted";
    server.execute(name(&url), ending);
    assert!(other.await.is_err(), "its session was ended");
    assert!(store.acquire_lease("scheduler", "me", 1, 0).await.unwrap());
}

#[tokio::test]
async fn commits_wait_for_the_disk_where_the_server_would_not() {
    let server = Postgres::shared();
    let url = server.database();
    server.execute("postgres", &format!("ALTER DATABASE {} SET synchronous_commit = off", name(&url)));
    // The lease's table says what its writer had set.
    let store = Store::connect(PostgresOptions::new(&url)).await.unwrap();
    server.execute(
        name(&url),
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.holder = current_setting('synchronous_commit'); RETURN NEW; END $$; \
         CREATE TRIGGER note BEFORE INSERT ON leases FOR EACH ROW EXECUTE FUNCTION note()",
    );
    assert!(store.acquire_lease("run", "me", 1, 0).await.unwrap());
    assert_eq!(server.execute(name(&url), "SELECT holder FROM leases"), ["on"]);
}

#[tokio::test]
async fn tls_is_verified_by_the_authority_given() {
    let certify = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certified, stranger) = (certify(), certify());
    let tls = Some((certified.cert.pem(), certified.signing_key.serialize_pem()));
    let server = Postgres::start(Settings { tls, ..Settings::default() });
    let dir = tempfile::tempdir().unwrap();
    let ca = |name: &str, pem: String| {
        let file = dir.path().join(name);
        std::fs::write(&file, pem).unwrap();
        Some(file)
    };
    let url = server.database();
    let good = PostgresOptions { ca: ca("ca.pem", certified.cert.pem()), ..PostgresOptions::new(&url) };
    let store = Store::connect(good).await.unwrap();
    let encrypted =
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'gauntlet'";
    assert_eq!(server.execute("postgres", encrypted), ["t"]);
    store.close().await;
    let bad = PostgresOptions { ca: ca("stranger.pem", stranger.cert.pem()), ..PostgresOptions::new(&url) };
    let error = refused(bad.clone()).await;
    assert!(matches!(&error, StoreError::Denied { detail, .. } if detail.contains("certificate")), "{error}");
    // A server without TLS is none that an authority vouches for.
    let error = refused(PostgresOptions { url: Postgres::shared().database(), ..bad.clone() }).await;
    assert!(matches!(&error, StoreError::Denied { detail, .. } if detail.contains("TLS")), "{error}");
    let error =
        Store::connect(PostgresOptions { ca: ca("empty.pem", String::new()), ..bad }).await.unwrap_err();
    assert!(matches!(&error, StoreError::Options { detail, .. } if detail.contains("empty.pem")), "{error}");
}
