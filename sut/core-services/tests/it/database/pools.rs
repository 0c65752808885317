use core_services::database::PoolSettings;
use core_services::resilience::bulkhead;
use futures::future::join_all;
use serde_json::json;

use super::*;

/// Connections of the target's that the server has.
fn connections(server: &Postgres, database: &str) -> usize {
    let ask = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'core-services' AND datname = '{database}'"
    );
    server.execute("postgres", &ask)[0].parse().unwrap()
}

#[test]
fn the_defaults_are_those_of_the_requirements() {
    let settings = Settings::new("postgres://localhost");
    let pool =
        PoolSettings { keep: 10, max: 100, timeout: Duration::from_secs(5), idle: Duration::from_secs(300) };
    assert_eq!(settings.pool, pool);
    assert_eq!((settings.bulkhead.concurrent, settings.bulkhead.waiting), (50, 100));
    assert_eq!((settings.l1_bytes, settings.l2_bytes), (256 << 20, 2 << 30));
    let breaker = settings.breaker;
    assert_eq!((breaker.failures, breaker.open_for, breaker.probes), (5, Duration::from_secs(30), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_keeps_ten_never_passes_its_most_and_closes_the_idle_ones() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    let pool = PoolSettings { idle: Duration::from_secs(3), ..settings.pool };
    // So many places that the pool is what limits; all reads are the primary's.
    let bulkhead = bulkhead::Settings { concurrent: 300, waiting: 0 };
    let target = start(Settings { pool, bulkhead, replicas: Vec::new(), ..uncached(settings) });
    let now = || connections(&cluster.primary, &database);
    wait("ten connections", || now() == 10);

    assert_eq!(put(&target, "/admin/knobs", &json!({ "query_ms": 1_500.0 })).await.0, 200);
    let target = &target;
    let reads = join_all((0..130).map(|_| status(target, "/items/1")));
    let (statuses, most) = tokio::join!(reads, async {
        let mut most = 0;
        wait_for("a hundred connections", || {
            most = most.max(now());
            std::future::ready(most >= 100)
        })
        .await;
        most.max(now())
    });
    assert_eq!(statuses, [200; 130]);
    assert_eq!(most, 100);
    assert_eq!(metric(target, "database_pool_connections_max{server=\"primary\"}").await, 100.0);
    wait("those above ten to be closed", || now() == 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_given_up_after_its_timeout() {
    let (settings, _) = Cluster::shared().settings();
    let pool = PoolSettings { keep: 2, max: 3, timeout: Duration::from_millis(1_500), ..settings.pool };
    let target = start(Settings { pool, replicas: Vec::new(), ..uncached(settings) });
    let (held, limits) = put(&target, "/admin/limits", &json!({ "pool_held": 3 })).await;
    assert_eq!((held, &limits["pool_held"]), (200, &json!(3)));
    assert_eq!(metric(&target, "database_pool_usage_ratio{server=\"primary\"}").await, 1.0);
    let begin = Instant::now();
    let answer = get(&target, "/items/1").await;
    assert!(begin.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(answer.status(), 500);
    let text = answer.text().await.unwrap();
    assert!(text.contains("primary (127.0.0.1:") && text.contains("all 3 connections were in use"), "{text}");

    assert_eq!(put(&target, "/admin/limits", &json!({})).await.0, 200);
    assert_eq!(status(&target, "/items/1").await, 200);
    let (refused, why) = put(&target, "/admin/limits", &json!({ "pool_held": 4 })).await;
    assert_eq!((refused, why["error"].as_str().unwrap().contains("pool_held: 4")), (422, true), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_client_went_in_the_middle_of_a_query_is_not_used_again() {
    let (settings, _) = Cluster::shared().settings();
    let pool = PoolSettings { keep: 1, max: 1, timeout: Duration::from_secs(4), ..settings.pool };
    let target = start(Settings { pool, replicas: Vec::new(), ..uncached(settings) });
    assert_eq!(put(&target, "/admin/knobs", &json!({ "query_ms": 600_000.0 })).await.0, 200);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(1)).build().unwrap();
    client.get(format!("{}/items/1", target.url())).send().await.unwrap_err();
    assert_eq!(put(&target, "/admin/knobs", &json!({})).await.0, 200);
    assert_eq!(status(&target, "/items/1").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_51st_call_waits_and_the_151st_is_refused() {
    let (settings, _) = Cluster::shared().settings();
    let target = start(Settings { replicas: Vec::new(), ..uncached(settings) });
    let all = json!({ "bulkhead_held": 50 });
    assert_eq!(put(&target, "/admin/limits", &all).await.0, 200);
    assert_eq!(metric(&target, "bulkhead_usage_ratio").await, 1.0);
    let target = &target;
    let waiting = join_all((0..100).map(|_| status(target, "/items/1")));
    let (statuses, ()) = tokio::join!(waiting, async {
        wait_for("100 calls to wait", || async { metric(target, "bulkhead_waiting").await == 100.0 }).await;
        let refused = get(target, "/items/1").await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let text = refused.text().await.unwrap();
        assert!(text.contains("all 50 places are taken and 100 calls wait"), "{text}");
        assert_eq!(put(target, "/admin/limits", &json!({})).await.0, 200);
    });
    assert_eq!(statuses, [200; 100]);
    assert_eq!(metric(target, "bulkhead_refused_total").await, 1.0);
}
