//! The server goes away: killed, not there, frozen, or cut off in the middle of a commit.

use std::time::{Duration, Instant};

use protocol::event::{Entry, Event};
use protocol::id::RunId;
use store::{Appended, PostgresOptions, RunRow, RunState, Store, StoreError};
use test_servers::postgres::{Postgres, Settings};

use super::proxy::{Cut, Proxy};
use super::{key, refused};

fn entry(sequence: u64) -> Entry {
    let event = Event::Notice { message: format!("number {sequence}") };
    Entry { sequence, at_unix_ns: 1, producer: "scheduler".to_owned(), event }
}

/// Every operation that writes, once, each with the answer that it has when nothing goes wrong.
async fn write_all(store: &Store, before_each: impl Fn()) {
    let run = RunRow {
        id: RunId::new(),
        name: "shop".to_owned(),
        created_unix_ns: 1,
        plan_digest: "sha256:00".to_owned(),
        base_dir: String::new(),
        state: RunState::Created,
    };
    before_each();
    store.create_run(run.clone()).await.unwrap();
    before_each();
    store.set_run_state(run.id, RunState::Running).await.unwrap();
    before_each();
    store.put_result(run.id, "probes", vec![1]).await.unwrap();
    for sequence in 1..=2 {
        before_each();
        store.append_history(run.id, &entry(sequence)).await.unwrap();
        before_each();
        assert!(store.apply_sample(run.id, 0, &key(sequence), vec![1]).await.unwrap());
        before_each();
        let appended = store.append_record("log", &key(sequence), vec![1]).await.unwrap();
        assert_eq!(appended, Appended::New { position: sequence });
    }
    before_each();
    store.ack("metrics", "log", 1).await.unwrap();
    before_each();
    assert!(store.acquire_lease("run", "me", 100, 0).await.unwrap());
    before_each();
    store.release_lease("run", "me").await.unwrap();
    let stored = store.run(run.id).await.unwrap();
    assert_eq!(stored, Some(RunRow { state: RunState::Running, ..run.clone() }));
    assert_eq!(store.history(run.id, 0).await.unwrap(), [entry(1), entry(2)]);
    assert_eq!(store.samples(run.id, None).await.unwrap().len(), 2);
    assert_eq!(store.read_records("log", 0, 10).await.unwrap().len(), 1);
}

/// Cuts each write's connection so many times where it commits; the answers are as if nothing had happened.
async fn write_all_through_cuts(cut: Cut, times: u32) {
    let server = Postgres::shared();
    let proxy = Proxy::start(server.port(), cut).await;
    let url = server.database().replace(&server.port().to_string(), &proxy.address.port().to_string());
    let store = Store::connect(PostgresOptions::new(url)).await.unwrap();
    write_all(&store, || {
        assert_eq!(proxy.left(), 0);
        proxy.cut(times);
    })
    .await;
    assert_eq!(proxy.left(), 0);
}

#[tokio::test]
async fn a_write_whose_commit_never_arrived_is_repeated() {
    write_all_through_cuts(Cut::BeforeCommit, 2).await;
}

#[tokio::test]
async fn a_write_whose_commit_was_never_answered_took_effect_once() {
    // Once: what was committed is not committed again.
    write_all_through_cuts(Cut::AfterCommit, 1).await;
}

#[tokio::test]
async fn a_server_killed_and_restarted_amid_writes_loses_none_and_doubles_none() {
    let mut server = Postgres::start(Settings { durable: true, ..Settings::default() });
    let store = Store::connect(PostgresOptions::new(server.database())).await.unwrap();
    let run = RunId::new();
    // Nobody reads while the server is killed, so that by then no more than these and the first 60 are written.
    let (done, mut progress) = tokio::sync::mpsc::channel::<()>(80);
    let mut writers = tokio::task::JoinSet::new();
    for task in 0..4_u8 {
        let (store, done, history) = (store.clone(), done.clone(), RunId::from_bytes(&[task; 16]).unwrap());
        writers.spawn(async move {
            for sequence in 1..=50 {
                let key = store::RecordKey { producer: [task; 16], ..key(sequence) };
                match task {
                    0 => store.append_history(history, &entry(sequence)).await.unwrap(),
                    1 => assert!(store.apply_sample(run, 0, &key, vec![task]).await.unwrap()),
                    _ => {
                        let appended = store.append_record("log", &key, vec![task]).await.unwrap();
                        assert!(matches!(appended, Appended::New { .. }));
                    }
                }
                done.send(()).await.unwrap();
            }
        });
    }
    for _ in 0..60 {
        progress.recv().await.unwrap();
    }
    let server = tokio::task::spawn_blocking(move || {
        server.kill();
        server.start_again();
        server
    });
    let server = server.await.unwrap();
    drop(done);
    while progress.recv().await.is_some() {}
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let history = store.history(RunId::from_bytes(&[0; 16]).unwrap(), 0).await.unwrap();
    assert_eq!(history, (1..=50).map(entry).collect::<Vec<_>>());
    assert_eq!(store.samples(run, None).await.unwrap().len(), 50);
    let records = store.read_records("log", 0, 1000).await.unwrap();
    let positions: Vec<_> = records.iter().map(|record| record.position).collect();
    assert_eq!(positions, (1..=100).collect::<Vec<_>>());
    for producer in [2, 3] {
        let own = records.iter().filter(|record| record.key.producer == [producer; 16]);
        let sequences: Vec<_> = own.map(|record| record.key.sequence).collect();
        assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
    }
    store.close().await;
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_when_patience_ends() {
    // Bound but not listening: nobody else gets the port, and nobody answers on it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let patience = Duration::from_millis(500);
    let url = format!("postgres://me:secret@127.0.0.1:{port}/runs");
    let asked = Instant::now();
    let error = refused(PostgresOptions { patience, ..PostgresOptions::new(url) }).await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    for part in
        [&format!("postgres://127.0.0.1:{port}/runs"), "refused", "tried for 500ms", "start the server"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert!(asked.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_store_waits_for_a_server_that_starts_later() {
    let mut server = Postgres::start(Settings::default());
    let url = server.database();
    server.kill();
    let starting = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    });
    let store = Store::connect(PostgresOptions::new(url)).await.unwrap();
    assert!(store.runs().await.unwrap().is_empty());
    drop(starting.await.unwrap());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_used_again_when_it_goes_on() {
    let server = Postgres::start(Settings::default());
    let patience = Duration::from_secs(2);
    let store = Store::connect(PostgresOptions { patience, ..PostgresOptions::new(server.database()) });
    let store = store.await.unwrap();
    let run = RunId::new();
    server.freeze(true);
    let result = store.apply_sample(run, 0, &key(1), vec![]).await;
    server.freeze(false);
    assert!(matches!(&result, Err(StoreError::Unreachable { .. })), "{result:?}");
    let patient = Instant::now();
    while store.apply_sample(run, 0, &key(2), vec![]).await.is_err() {
        assert!(patient.elapsed() < Duration::from_secs(60), "it does not come back");
    }
    // Nothing of the first was committed: its client was gone before it came to that.
    assert!(store.apply_sample(run, 0, &key(1), vec![]).await.unwrap());
    assert_eq!(store.samples(run, None).await.unwrap().len(), 2);
}
