//! Over a SQLite file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use core_services::database::{DistributedSettings, PoolSettings, ReusedSettings};
use futures::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_servers::nats::Nats;

use super::*;
use crate::process::listening;

/// A file that is not there yet.
fn file() -> (Settings, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Settings::sqlite(&directory.path().join("items.db")), directory)
}

fn connect(directory: &tempfile::TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.path().join("items.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_read_listed_found_and_added() {
    let (settings, _directory) = file();
    let target = start(uncached(settings.clone()));
    let item: Value = get(&target, "/items/7").await.json().await.unwrap();
    assert_eq!((&item["id"], item["name"].as_str().unwrap()), (&json!(7), "hazel anvil 7"));
    let list: Value = get(&target, "/items?offset=98&limit=50").await.json().await.unwrap();
    assert_eq!((&list["total"], list["items"].as_array().unwrap().len()), (&json!(100), 2));
    let beyond: Value = get(&target, "/items?offset=500").await.json().await.unwrap();
    assert_eq!(beyond, json!({ "total": 100, "items": [] }));

    let (created, answer) = add(&target, "odd 100% harp").await;
    assert_eq!((created, &answer["id"]), (201, &json!(101)), "{answer}");
    let found: Value = get(&target, "/search?q=100%25%20harp").await.json().await.unwrap();
    assert_eq!(found["items"], json!([{ "id": 101, "name": "odd 100% harp", "price": 1.5 }]));
    assert_eq!(add(&target, "").await.0, 422);
    assert_eq!(status(&target, "/items/5000").await, 404);
    assert_eq!(status(&target, "/items/18446744073709551615").await, 404);
    assert_eq!(status(&target, "/ready").await, 200);
    target.stop().unwrap();

    let again = start(settings);
    let list: Value = get(&again, "/items").await.json().await.unwrap();
    assert_eq!(list["total"], json!(101), "what is there is not made again");
    assert_eq!(add(&again, "next").await.1["id"], json!(102));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_and_is_lost_or_altered_is_seen() {
    let (settings, directory) = file();
    let target = start(settings);
    for n in 0..20 {
        assert_eq!(add(&target, &format!("harp {n}")).await.0, 201);
    }
    // The negative zero, which SQLite does not keep.
    let client = reqwest::Client::new();
    let zero = client.post(format!("{}/items", target.url())).header("content-type", "application/json");
    let zero = zero.body(r#"{"name":"free harp","price":-0.0}"#).send().await.unwrap();
    assert_eq!(zero.status(), 201);

    let report = || async { get(&target, "/admin/integrity").await.json::<Value>().await.unwrap() };
    let whole = report().await;
    assert_eq!((&whole["acknowledged"], whole["servers"].as_array().unwrap().len()), (&json!(21), 1));
    let server = &whole["servers"][0];
    let found =
        [&server["server"], &server["error"], &server["checked"], &server["missing"], &server["altered"]];
    assert_eq!(found, [&json!("primary"), &Value::Null, &json!(21), &json!(0), &json!(0)]);

    let other = connect(&directory);
    other.execute_batch("DELETE FROM items WHERE id IN (103, 120)").unwrap();
    other.execute_batch("UPDATE items SET price = price + 0.5 WHERE id = 110").unwrap();
    let server = &report().await["servers"][0];
    assert_eq!((&server["missing"], &server["missing_ids"]), (&json!(2), &json!([103, 120])), "{server}");
    assert_eq!(server["altered_ids"], json!([110]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_file_and_a_third_level() {
    let nats = Nats::start();
    let (settings, _directory) = file();
    let timeout = Duration::from_secs(20);
    let distributed = Some(DistributedSettings { timeout, ..DistributedSettings::new(&nats.url()) });
    let settings = Settings { distributed, ..settings };
    let (first, second) = (start(settings.clone()), start(settings));
    for target in [&first, &second] {
        let opened = || async { metric(target, "cache_level_bytes_max{level=\"l3\"}").await > 0.0 };
        wait_for("the bucket to be opened", opened).await;
    }
    let id = add(&first, "harp").await.1["id"].clone();
    let answer = get(&second, &format!("/items/{id}")).await;
    assert_eq!(answer.headers()["x-cache"], "l3");
    assert_eq!(answer.json::<Value>().await.unwrap()["name"], "harp");
    assert_eq!(add(&second, "lyre").await.1["id"].as_u64().unwrap(), id.as_u64().unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_a_query_takes_its_delay_with_one_in_use() {
    let (settings, _directory) = file();
    let pool = PoolSettings { keep: 2, max: 4, timeout: Duration::from_secs(30), ..settings.pool };
    let target = start(uncached(Settings { pool, ..settings }));
    assert_eq!(metric(&target, "database_pool_connections_max{server=\"primary\"}").await, 4.0);
    assert_eq!(put(&target, "/admin/knobs", &json!({ "query_ms": 2_000.0 })).await.0, 200);
    let begin = Instant::now();
    let target = &target;
    let reads = join_all((1..=6).map(|id| async move { status(target, &format!("/items/{id}")).await }));
    let (statuses, ()) = tokio::join!(reads, async {
        // One of the four is the writer's.
        wait_for("three connections in use and three calls that wait", || async {
            let of = |name: &str| format!("database_pool_{name}{{server=\"primary\"}}");
            metric(target, &of("connections_in_use")).await == 3.0
                && metric(target, &of("waiting")).await == 3.0
        })
        .await;
    });
    assert_eq!(statuses, [200; 6]);
    assert!(begin.elapsed() >= Duration::from_secs(4), "two turns of two seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_given_up_after_its_timeout() {
    let (settings, _directory) = file();
    let pool = PoolSettings { keep: 2, max: 3, timeout: Duration::from_millis(1_500), ..settings.pool };
    let target = start(uncached(Settings { pool, ..settings }));
    assert_eq!(put(&target, "/admin/limits", &json!({ "pool_held": 2 })).await.0, 200);
    assert_eq!((status(&target, "/items/1").await, add(&target, "harp").await.0), (500, 201));
    assert_eq!(put(&target, "/admin/limits", &json!({ "pool_held": 3 })).await.0, 200);
    assert_eq!(metric(&target, "database_pool_usage_ratio{server=\"primary\"}").await, 1.0);
    let (refused, why) = add(&target, "harp").await;
    assert_eq!(refused, 500);
    let why = why["error"].as_str().unwrap();
    assert!(why.contains("items.db") && why.contains("all 1 connections were in use"), "{why}");
    assert_eq!(put(&target, "/admin/limits", &json!({})).await.0, 200);
    assert_eq!((status(&target, "/items/1").await, add(&target, "harp").await.0), (200, 201));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_keeps_from_being_written_opens_the_breaker() {
    let (mut settings, directory) = file();
    settings.breaker.open_for = Duration::from_secs(2);
    settings.pool.timeout = Duration::from_secs(4);
    let target = start(uncached(settings));
    let other = connect(&directory);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..5 {
        let (refused, why) = add(&target, "lost").await;
        assert_eq!(refused, 500);
        assert!(why["error"].as_str().unwrap().contains("database is locked"), "{why}");
    }
    assert_eq!((add(&target, "lost").await.0, status(&target, "/ready").await), (503, 503));
    assert_eq!(metric(&target, "database_breaker_state{server=\"primary\"}").await, 1.0);
    assert_eq!(metric(&target, "database_failures_total{server=\"primary\"}").await, 5.0);
    wait_for("a read, which the other does not hinder", || async {
        status(&target, "/items/1").await == 200
    })
    .await;
    other.execute_batch("ROLLBACK").unwrap();
    wait_for("writes again", || async { add(&target, "back").await.0 == 201 }).await;
    wait_for("the breaker to close", || async {
        status(&target, "/items/1").await;
        status(&target, "/ready").await == 200
    })
    .await;
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let database = Some(Settings::sqlite(path));
        Running::start(Options { database, ..Options::default() }).err().unwrap().to_string()
    };
    let nowhere = refused(&directory.path().join("none/items.db"));
    assert!(nowhere.contains("none/items.db") && nowhere.contains("unable to open"), "{nowhere}");
    let text = directory.path().join("items.txt");
    std::fs::write(&text, "This is no database, however long it may be.").unwrap();
    let text = refused(&text);
    assert!(text.contains("items.txt") && text.contains("not a database"), "{text}");
    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE items (x)").unwrap();
    let foreign = refused(&foreign);
    assert!(foreign.contains("no such column"), "{foreign}");
}

/// The checksum of an item, as the README describes it.
fn checksum(item: &Value) -> String {
    let mut sha = Sha256::new();
    sha.update(item["name"].as_str().unwrap());
    sha.update([0]);
    sha.update(item["price"].as_f64().unwrap().to_bits().to_be_bytes());
    sha.update(item["id"].as_u64().unwrap().to_be_bytes());
    sha.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds items until nobody answers any more, and notes what was acknowledged.
async fn write(url: &str, name: &str, acknowledged: &Mutex<BTreeMap<u64, String>>) {
    let client = reqwest::Client::new();
    for n in 0.. {
        let item = json!({ "name": format!("{name} {n}"), "price": f64::from(n) + 0.25 });
        let Ok(answer) = client.post(format!("{url}/items")).json(&item).send().await else { return };
        let status = answer.status();
        let Ok(answer) = answer.json::<Value>().await else { return };
        assert_eq!(status, 201, "{answer}");
        let (id, checksum) =
            (answer["id"].as_u64().unwrap(), answer["checksum"].as_str().unwrap().to_owned());
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(id, checksum);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_the_process_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = Mutex::<BTreeMap<u64, String>>::default();
    let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    command.args(["--items", "10", "--sqlite"]).arg(directory.path().join("items.db"));
    for (round, more) in [1, 30, 75].into_iter().enumerate() {
        let (mut process, url) = listening(&mut command);
        let enough = count() + more;
        let names: Vec<String> = (0..4).map(|writer| format!("harp {round} {writer}")).collect();
        let writers = join_all(names.iter().map(|name| write(&url, name, &acknowledged)));
        let kill = async {
            wait_for("items to be acknowledged", || std::future::ready(count() >= enough)).await;
            process.0.kill().unwrap();
        };
        tokio::join!(writers, kill);
        process.0.wait().unwrap();
    }

    let (_process, url) = listening(&mut command);
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 106, "{}", acknowledged.len());
    for (id, expected) in &acknowledged {
        let answer = reqwest::get(format!("{url}/items/{id}")).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-cache"]), (200, &"miss".parse().unwrap()));
        let item: Value = answer.json().await.unwrap();
        assert_eq!(&checksum(&item), expected, "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buffers_and_digests_run_out_when_they_are_held() {
    let (settings, _directory) = file();
    let pool = PoolSettings { timeout: Duration::from_millis(300), ..settings.pool };
    let reused = ReusedSettings { buffers: 3, digests: 2 };
    let target = start(uncached(Settings { pool, reused, ..settings }));
    let usage =
        async |what: &str| metric(&target, &format!("reuse_pool_usage_ratio{{pool=\"{what}\"}}")).await;
    let why = async |limits: Value| {
        assert_eq!(put(&target, "/admin/limits", &limits).await.0, 200, "{limits}");
        let (added, why) = add(&target, "harp").await;
        (status(&target, "/items/1").await, added, why["error"].as_str().unwrap_or_default().to_owned())
    };
    let message = |text: &str| format!("all {text} were in use for 300ms");
    assert_eq!(why(json!({ "buffers_held": 2, "digests_held": 1 })).await, (200, 201, String::new()));
    assert_eq!((usage("buffers").await, usage("digests").await), (2.0 / 3.0, 0.5));
    // What is not added has not been written either.
    assert_eq!(why(json!({ "digests_held": 2 })).await, (200, 503, message("2 digests")));
    assert_eq!(why(json!({ "buffers_held": 3 })).await, (503, 503, message("3 buffers")));
    assert_eq!((usage("buffers").await, usage("digests").await), (1.0, 0.0));
    let (refused, why_not) =
        put(&target, "/admin/limits", &json!({ "buffers_held": 4, "digests_held": 3 })).await;
    let told = why_not["error"].as_str().unwrap();
    assert!(refused == 422 && told.contains("buffers_held: 4 is above the 3 of --buffers"), "{told}");
    assert!(told.contains("digests_held: 3 is above the 2 of --digests"), "{told}");
    assert_eq!(why(json!({})).await, (200, 201, String::new()));
    let integrity = get(&target, "/admin/integrity").await.json::<Value>().await.unwrap();
    let found = &integrity["servers"][0];
    assert_eq!(
        (&integrity["acknowledged"], &found["missing"], &found["altered"]),
        (&json!(2), &json!(0), &json!(0))
    );
}
