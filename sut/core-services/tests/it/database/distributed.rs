//! The cache's third level, in a real NATS that each test has for itself.

use std::process::Command;

use async_nats::jetstream::kv::Store;
use async_nats::jetstream::{self, stream};
use core_services::database::DistributedSettings;
use serde_json::{Value, json};
use test_servers::nats::Nats;

use super::*;
use crate::process::listening;

/// Over an empty database, with a bucket and without replicas. Patient, for a test's machine has other things to do.
fn settings(nats: &Nats) -> Settings {
    let (settings, _) = Cluster::shared().settings();
    let timeout = Duration::from_secs(20);
    let distributed = DistributedSettings { timeout, ..DistributedSettings::new(&nats.url()) };
    Settings { replicas: Vec::new(), distributed: Some(distributed), ..settings }
}

/// The bucket itself.
async fn bucket(options: async_nats::ConnectOptions, nats: &Nats, name: &str) -> Store {
    let context = jetstream::new(options.connect(nats.url()).await.unwrap());
    context.get_key_value(name).await.unwrap()
}

async fn read(target: &Running, id: u64) -> (String, Value) {
    let answer = get(target, &format!("/items/{id}")).await;
    assert_eq!(answer.status(), 200);
    let cache = answer.headers()["x-cache"].to_str().unwrap().to_owned();
    (cache, answer.json().await.unwrap())
}

async fn cache_of(target: &Running, id: u64) -> String {
    read(target, id).await.0
}

async fn l3(target: &Running, name: &str) -> f64 {
    metric(target, &format!("cache_level_{name}{{level=\"l3\"}}")).await
}

/// Waits until the target has opened its bucket.
async fn opened(target: &Running) {
    wait_for("the bucket to be opened", || async { l3(target, "bytes_max").await > 0.0 }).await;
}

#[test]
fn the_defaults_of_the_third_level() {
    let settings = DistributedSettings::new("nats://localhost");
    assert_eq!((settings.bucket.as_str(), settings.bytes), ("core-services-items", 64 << 20));
    assert_eq!((settings.ttl, settings.timeout), (Duration::from_secs(3_600), Duration::from_millis(50)));
    assert_eq!(Settings::new("postgres://localhost").distributed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_read_or_added_the_other_has_from_the_third_level() {
    let nats = Nats::start();
    let settings = settings(&nats);
    let (first, second) = (start(settings.clone()), start(settings));
    opened(&first).await;
    opened(&second).await;

    let (cache, item) = read(&first, 1).await;
    assert_eq!(cache, "miss");
    assert_eq!(read(&second, 1).await, ("l3".to_owned(), item));
    let (_, added) = add(&first, "odd harp").await;
    let id = added["id"].as_u64().unwrap();
    assert_eq!(
        read(&second, id).await,
        ("l3".to_owned(), json!({ "id": id, "name": "odd harp", "price": 1.5 }))
    );
    assert_eq!(cache_of(&second, 1).await, "l1", "the levels above have it now");
    assert_eq!(metric(&second, "database_calls_total{server=\"primary\"}").await, 0.0);
    assert_eq!((l3(&second, "hits_total").await, l3(&second, "misses_total").await), (2.0, 0.0));
    assert_eq!((l3(&first, "hits_total").await, l3(&first, "misses_total").await), (0.0, 1.0));
    assert_eq!((l3(&first, "failures_total").await, l3(&first, "breaker_state").await), (0.0, 0.0));
    wait_for("the entries to be seen", || async { l3(&second, "entries").await == 2.0 }).await;
    assert!(l3(&second, "bytes").await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bucket_serves_two_databases_and_mistakes_neither() {
    let nats = Nats::start();
    let (settings_of_one, settings_of_other) = (settings(&nats), settings(&nats));
    let (one, other) = (start(settings_of_one.clone()), start(settings_of_other));
    opened(&one).await;
    opened(&other).await;
    assert_eq!(add(&one, "harp of one").await.1["id"], json!(101));
    assert_eq!(status(&other, "/items/101").await, 404);
    assert_eq!(add(&other, "harp of the other").await.1["id"], json!(101));
    // A third process, whose own levels are empty.
    let third = start(settings_of_one);
    opened(&third).await;
    let (cache, item) = read(&third, 101).await;
    assert_eq!((cache.as_str(), &item["name"]), ("l3", &json!("harp of one")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_reads_go_on_and_with_it_again_they_hit_again() {
    let mut nats = Nats::start();
    nats.kill();
    let mut settings = settings(&nats);
    settings.breaker.open_for = Duration::from_secs(1);
    // It holds no start up, and no request.
    let target = start(uncached(settings));
    for id in 1..=20 {
        assert_eq!(cache_of(&target, id).await, "miss");
    }
    let opened_total = l3(&target, "breaker_opened_total").await;
    assert!(l3(&target, "failures_total").await >= 5.0 && opened_total >= 1.0, "{opened_total}");
    nats.start_again();
    // A probe hits first, and one failure among probes would open the breaker again.
    wait_for("hits with a closed breaker", || async {
        cache_of(&target, 1).await == "l3" && l3(&target, "breaker_state").await == 0.0
    })
    .await;

    nats.kill();
    let before = (l3(&target, "failures_total").await, l3(&target, "breaker_opened_total").await);
    wait_for("the breaker to open", || async {
        assert_eq!(cache_of(&target, 1).await, "miss");
        l3(&target, "breaker_opened_total").await > before.1
    })
    .await;
    assert!(l3(&target, "failures_total").await >= before.0 + 5.0);
    assert_eq!(add(&target, "harp").await.0, 201);
    assert_eq!(status(&target, "/ready").await, 200, "it is a help, not a need");
    nats.start_again();
    wait_for("a hit", || async { cache_of(&target, 1).await == "l3" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_nats_is_given_up_and_after_five_times_left_alone() {
    let nats = Nats::start();
    let mut settings = settings(&nats);
    settings.breaker.open_for = Duration::from_secs(600);
    settings.distributed.as_mut().unwrap().timeout = Duration::from_millis(1_500);
    let target = start(uncached(settings));
    opened(&target).await;
    assert_eq!([cache_of(&target, 1).await, cache_of(&target, 1).await], ["miss", "l3"]);

    nats.freeze(true);
    let begin = Instant::now();
    assert_eq!(cache_of(&target, 1).await, "miss");
    // One call to look there, one to put there what a server had, unless it was seen to be away meanwhile.
    assert!(begin.elapsed() >= Duration::from_millis(1_500));
    while l3(&target, "breaker_state").await < 1.0 {
        assert_eq!(cache_of(&target, 1).await, "miss");
    }
    assert_eq!(l3(&target, "failures_total").await, 5.0);
    for id in 1..=10 {
        assert_eq!(cache_of(&target, id).await, "miss");
    }
    assert_eq!(l3(&target, "failures_total").await, 5.0);
    assert!(l3(&target, "breaker_rejected_total").await >= 20.0);
    nats.freeze(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_keeps_its_cap_and_lets_the_oldest_go() {
    let nats = Nats::start();
    let mut settings = settings(&nats);
    let cap = 32 << 10;
    settings.distributed.as_mut().unwrap().bytes = cap;
    let database = Some(settings.clone());
    let target = Running::start(Options { items: 1_000, database, ..Options::default() }).unwrap();
    opened(&target).await;
    for id in 1..=1_000 {
        assert_eq!(status(&target, &format!("/items/{id}")).await, 200);
    }
    assert_eq!(l3(&target, "failures_total").await, 0.0, "what is new is not refused");
    let bucket = bucket(async_nats::ConnectOptions::new(), &nats, "core-services-items").await;
    let state = bucket.status().await.unwrap().info.state;
    assert!(state.bytes <= cap && state.bytes > cap / 2, "{} of {cap}", state.bytes);
    wait_for("it to be seen", || async { l3(&target, "bytes").await == state.bytes as f64 }).await;
    let usage = (l3(&target, "usage_ratio").await, l3(&target, "bytes_max").await);
    assert!(usage.0 > 0.5 && usage.0 <= 1.0 && usage.1 == cap as f64, "{usage:?}");
    let other = start(settings);
    opened(&other).await;
    assert_eq!([cache_of(&other, 1_000).await, cache_of(&other, 1).await], ["l3", "miss"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_stays_for_its_time_and_a_bucket_that_is_gone_is_made_again() {
    let nats = Nats::start();
    let mut settings = settings(&nats);
    settings.distributed.as_mut().unwrap().ttl = Duration::from_secs(3);
    let target = start(uncached(settings));
    opened(&target).await;
    assert_eq!(cache_of(&target, 1).await, "miss");
    assert_eq!(l3(&target, "failures_total").await, 0.0, "it is there now");
    let bucket = bucket(async_nats::ConnectOptions::new(), &nats, "core-services-items").await;
    let entries = || async { bucket.stream.get_info().await.unwrap().state.messages };
    wait_for("the item to go", || async { entries().await == 0 }).await;
    assert_eq!(cache_of(&target, 1).await, "miss");

    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.delete_key_value("core-services-items").await.unwrap();
    wait_for("a hit", || async { cache_of(&target, 2).await == "l3" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flags_say_where_it_is_and_what_it_may_have() {
    let user = "authorization { user: shop, password: \"p@ss word\" }\n";
    let nats =
        Nats::with(|home| format!("{user}jetstream {{ store_dir: \"{}/jetstream\" }}\n", home.display()));
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    command.arg("--sqlite").arg(directory.path().join("items.db"));
    command.args(["--l1-bytes", "0", "--l2-bytes", "0"]);
    command.args(["--cache-nats", &format!("nats://shop:p%40ss%20word@127.0.0.1:{}", nats.port())]);
    command.args(["--cache-bucket", "shop-items", "--l3-bytes", "65536", "--l3-ttl", "77"]);
    let (_process, url) = listening(command.args(["--l3-timeout-ms", "2500"]));
    let read = || async {
        let answer = reqwest::get(format!("{url}/items/1")).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers()["x-cache"].to_str().unwrap().to_owned()
    };
    wait_for("a hit", || async { read().await == "l3" }).await;

    let options = async_nats::ConnectOptions::with_user_and_password("shop".into(), "p@ss word".into());
    let config = bucket(options, &nats, "shop-items").await.status().await.unwrap().info.config;
    assert_eq!((config.max_bytes, config.max_age), (65_536, Duration::from_secs(77)));
    assert_eq!(config.discard, stream::DiscardPolicy::Old);

    nats.freeze(true);
    let begin = Instant::now();
    assert_eq!(read().await, "miss");
    assert!(begin.elapsed() >= Duration::from_millis(2_500));
    nats.freeze(false);
}

#[test]
fn an_address_or_a_name_that_cannot_be_one_is_refused_at_the_start() {
    let (settings, _) = Cluster::shared().settings();
    let refused = |distributed: DistributedSettings| {
        let database = Some(Settings { distributed: Some(distributed), ..settings.clone() });
        Running::start(Options { database, ..Options::default() }).err().unwrap().to_string()
    };
    let url = refused(DistributedSettings::new("http://shop:hush@localhost"));
    assert!(url.contains("expected nats://user:password@host:port") && !url.contains("hush"), "{url}");
    let nats = DistributedSettings::new("nats://127.0.0.1:1");
    let name = refused(DistributedSettings { bucket: "my.items".into(), ..nats });
    assert!(name.contains("\"my.items\"; expected letters, digits, - and _"), "{name}");
}
