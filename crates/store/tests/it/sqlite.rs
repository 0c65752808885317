//! The embedded store: its promises, what survives closing, and what is refused on opening.

use std::path::{Path, PathBuf};

use protocol::event::{Entry, Event};
use protocol::id::RunId;
use rusqlite::Connection;
use store::{Options, Store, StoreError};
use tempfile::TempDir;

async fn open(options: Options) -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(&dir.path().join("gauntlet.db"), options).unwrap();
    (store, dir)
}

mod contract {
    crate::contract::contract_tests!(super::open);
}

fn refused(path: &Path) -> StoreError {
    let error = Store::open(path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(error.is_environment());
    error
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gauntlet.db");
    (dir, path)
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_anew() {
    let (_dir, path) = place();
    let store = Store::open(&path).unwrap();
    let run = RunId::new();
    let event = Event::Notice { message: "kept".to_owned() };
    let entry = Entry { sequence: 1, at_unix_ns: 1, producer: "scheduler".to_owned(), event };
    store.append_history(run, &entry).await.unwrap();
    store.close().await;
    let store = Store::open(&path).unwrap();
    assert_eq!(store.history(run, 0).await.unwrap(), [entry]);
}

#[tokio::test]
async fn a_second_store_on_the_same_file_sees_what_the_first_has_written() {
    let (_dir, path) = place();
    let (first, second) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    assert!(first.acquire_lease("scheduler", "first", 1_000, 0).await.unwrap());
    assert!(!second.acquire_lease("scheduler", "second", 1_000, 0).await.unwrap());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (_dir, path) = place();
    Store::open(&path).unwrap().close().await;
    Connection::open(&path).unwrap().execute("UPDATE schema_version SET version = 99", []).unwrap();
    let before = std::fs::read(&path).unwrap();
    match refused(&path) {
        StoreError::NewerSchema { found: 99, supported: 1, .. } => {}
        error => panic!("{error}"),
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let (_dir, path) = place();
    std::fs::write(&path, "not a database, but long enough to have a header of one hundred bytes".repeat(20))
        .unwrap();
    assert!(matches!(refused(&path), StoreError::Corrupt { .. }));
}

#[test]
fn somebody_elses_database_is_refused_and_left_as_it_is() {
    let (_dir, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE customers (id INTEGER)").unwrap();
    match refused(&path) {
        StoreError::Corrupt { detail, .. } => assert!(detail.contains("customers"), "{detail}"),
        error => panic!("{error}"),
    }
}

#[test]
fn a_missing_directory_is_named() {
    let (dir, _) = place();
    assert!(matches!(refused(&dir.path().join("absent/gauntlet.db")), StoreError::CannotOpen { .. }));
}

#[tokio::test]
async fn a_file_locked_by_another_process_is_said_to_be() {
    let (_dir, path) = place();
    let store = Store::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let result = store.acquire_lease("scheduler", "me", 1, 0).await;
    assert!(matches!(result, Err(StoreError::Locked { .. })), "{result:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.acquire_lease("scheduler", "me", 1, 0).await.unwrap());
}

#[tokio::test]
async fn damage_found_while_reading_is_said_to_be() {
    let (_dir, path) = place();
    let store = Store::open(&path).unwrap();
    let run = RunId::new();
    let other = Connection::open(&path).unwrap();
    other.execute("INSERT INTO history VALUES ($1, 1, 'not JSON')", [run.to_bytes()]).unwrap();
    let result = store.history(run, 0).await;
    assert!(matches!(result, Err(StoreError::Corrupt { .. })), "{result:?}");
}

#[tokio::test]
async fn opening_leaves_nothing_but_the_store_behind() {
    let (dir, path) = place();
    Store::open(&path).unwrap().close().await;
    Store::open(&path).unwrap().close().await;
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["gauntlet.db"]);
}

#[test]
fn stores_opened_at_once_on_a_fresh_file_share_one() {
    let (_dir, path) = place();
    std::thread::scope(|scope| {
        let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(&path))).collect();
        for store in opened {
            store.join().unwrap().unwrap();
        }
    });
}
