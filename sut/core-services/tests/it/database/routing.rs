use core_services::database::PoolSettings;
use futures::future::join_all;

use super::*;

async fn calls(target: &Running) -> Vec<f64> {
    let mut calls = Vec::new();
    for server in ["primary", "replica-1", "replica-2", "replica-3"] {
        calls.push(metric(target, &format!("database_calls_total{{server=\"{server}\"}}")).await);
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_read_listed_found_and_added() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    let target = start(settings);
    cluster.replicated(&database, 100);

    let item: Value = get(&target, "/items/7").await.json().await.unwrap();
    assert_eq!((&item["id"], item["name"].as_str().unwrap()), (&json!(7), "hazel anvil 7"));
    let list: Value = get(&target, "/items?offset=98&limit=50").await.json().await.unwrap();
    assert_eq!((&list["total"], list["items"].as_array().unwrap().len()), (&json!(100), 2));
    let beyond: Value = get(&target, "/items?offset=500").await.json().await.unwrap();
    assert_eq!(beyond, json!({ "total": 100, "items": [] }));

    let (created, answer) = add(&target, "odd 100% harp").await;
    assert_eq!((created, &answer["id"]), (201, &json!(101)), "{answer}");
    assert_eq!(answer["checksum"].as_str().unwrap().len(), 32);
    cluster.replicated(&database, 101);
    let found: Value = get(&target, "/search?q=100%25%20harp").await.json().await.unwrap();
    assert_eq!(found["items"], json!([{ "id": 101, "name": "odd 100% harp", "price": 1.5 }]));
    assert_eq!(add(&target, "").await.0, 422);
    assert_eq!(status(&target, "/items/5000").await, 404);
    assert_eq!(status(&target, "/items/18446744073709551615").await, 404);
    assert_eq!(status(&target, "/ready").await, 200);
    target.stop().unwrap();

    let again = start(Settings::new(&cluster.primary.url(&database)));
    let list: Value = get(&again, "/items").await.json().await.unwrap();
    assert_eq!(list["total"], json!(101), "what is there is not made again");
    assert_eq!(add(&again, "next").await.1["id"], json!(102));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_to_the_primary_and_reads_are_spread_over_the_replicas() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    let target = start(uncached(settings));
    cluster.replicated(&database, 100);
    for n in 0..6 {
        assert_eq!(add(&target, &format!("harp {n}")).await.0, 201);
    }
    assert_eq!(calls(&target).await, [6.0, 0.0, 0.0, 0.0]);
    for id in 1..=30 {
        assert_eq!(status(&target, &format!("/items/{id}")).await, 200);
    }
    assert_eq!(calls(&target).await, [6.0, 10.0, 10.0, 10.0], "equal ones take turns");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_to_the_replica_with_the_fewest_in_progress() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    let target = start(uncached(settings));
    cluster.replicated(&database, 100);
    // Each lasts long enough for all of them to be in progress together.
    assert_eq!(put(&target, "/admin/knobs", &json!({ "query_ms": 2_000.0 })).await.0, 200);
    let reads = join_all((1..=30).map(|id| {
        let target = &target;
        async move { status(target, &format!("/items/{id}")).await }
    }));
    let (statuses, ()) = tokio::join!(reads, async {
        wait_for("30 reads in progress, 10 on each", || async {
            let mut each = Vec::new();
            for server in ["replica-1", "replica-2", "replica-3"] {
                let name = format!("database_calls_in_progress{{server=\"{server}\"}}");
                each.push(metric(&target, &name).await);
            }
            each == [10.0, 10.0, 10.0]
        })
        .await;
    });
    assert_eq!(statuses, [200; 30]);
    assert_eq!(calls(&target).await, [0.0, 10.0, 10.0, 10.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_keep_away_from_a_replica_that_is_busy() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    // A read that hangs is neither given up nor held against its server while the others are read.
    let pool = PoolSettings { timeout: Duration::from_secs(300), ..settings.pool };
    let target = start(Settings { pool, ..uncached(settings) });
    cluster.replicated(&database, 100);
    assert_eq!(put(&target, "/admin/knobs", &json!({ "query_ms": 200_000.0 })).await.0, 200);
    let hangs = get(&target, "/items/1");
    let others = async {
        wait_for("a read in progress", || async { calls(&target).await.contains(&1.0) }).await;
        // Whoever took the next turn regardless would give the busy one a third of these.
        assert_eq!(put(&target, "/admin/knobs", &json!({})).await.0, 200);
        for id in 2..=21 {
            assert_eq!(status(&target, &format!("/items/{id}")).await, 200);
        }
        calls(&target).await
    };
    let calls = tokio::select! {
        answer = hangs => panic!("the read was to hang, and was answered {}", answer.status()),
        calls = others => calls,
    };
    let [primary, replicas @ ..] = &calls[..] else { panic!("{calls:?}") };
    let busy = replicas.iter().filter(|calls| **calls == 1.0).count();
    assert_eq!((*primary, busy, replicas.iter().sum::<f64>()), (0.0, 1, 21.0), "{calls:?}");
}
