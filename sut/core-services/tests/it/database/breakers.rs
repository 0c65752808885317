use core_services::database::PoolSettings;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_of_a_dead_primary_opens_at_five_failures_and_closes_by_three_probes() {
    let mut cluster = Cluster { primary: Postgres::start(ServerSettings::default()), replicas: Vec::new() };
    let (mut settings, _) = cluster.settings();
    settings.breaker.open_for = Duration::from_secs(8);
    let target = start(uncached(settings));
    let state = || metric(&target, "database_breaker_state{server=\"primary\"}");
    assert_eq!(status(&target, "/items/1").await, 200);

    cluster.primary.kill();
    for _ in 0..5 {
        assert_eq!((add(&target, "lost").await.0, status(&target, "/health").await), (500, 200));
    }
    let refused = get(&target, "/items/1").await;
    assert_eq!(refused.status(), 503);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=8).contains(&wait), "{wait}");
    assert_eq!((state().await, status(&target, "/ready").await), (1.0, 503));
    assert_eq!(metric(&target, "database_calls_total{server=\"primary\"}").await, 6.0);

    cluster.primary.start_again();
    wait_for("a probe to be let through", || async { add(&target, "back").await.0 == 201 }).await;
    assert_eq!(state().await, 2.0);
    assert_eq!([add(&target, "back").await.0, add(&target, "back").await.0], [201; 2]);
    assert_eq!((state().await, status(&target, "/ready").await), (0.0, 200));
    let opened = metric(&target, "database_breaker_opened_total{server=\"primary\"}").await;
    assert!(opened >= 1.0, "{opened}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_replica_gets_no_more_reads_and_one_that_hangs_is_given_up() {
    let mut cluster = Cluster::start();
    let (mut settings, database) = cluster.settings();
    settings.breaker.open_for = Duration::from_secs(600);
    let pool = PoolSettings { timeout: Duration::from_millis(1_500), ..settings.pool };
    let target = start(Settings { pool, ..uncached(settings) });
    cluster.replicated(&database, 100);
    cluster.replicas[0].kill();
    cluster.replicas[1].freeze(true);
    // Least busy as it is, the dead one gets five reads and no more; so does the one that hangs.
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(status(&target, "/items/1").await != 200);
    }
    assert_eq!(failed, 10);
    for server in ["replica-1", "replica-2"] {
        assert_eq!(metric(&target, &format!("database_breaker_state{{server=\"{server}\"}}")).await, 1.0);
    }
    assert_eq!(metric(&target, "database_calls_total{server=\"primary\"}").await, 0.0);

    cluster.replicas[1].freeze(false);
    cluster.replicas[2].kill();
    for _ in 0..5 {
        assert_eq!(status(&target, "/items/1").await, 500);
    }
    assert_eq!(status(&target, "/items/1").await, 200, "without a replica, the primary serves");
    assert_eq!(metric(&target, "database_calls_total{server=\"primary\"}").await, 1.0);
}

#[test]
fn a_database_that_cannot_be_used_is_named_and_its_password_is_not() {
    let port = test_servers::ports::free();
    let url = format!("postgres://user:hush@127.0.0.1:{port}/shop");
    let options = |url: &str| Options { database: Some(Settings::new(url)), ..Options::default() };
    let error = Running::start(options(&url)).err().unwrap().to_string();
    assert!(
        error.contains(&format!("primary (127.0.0.1:{port}/shop)")) && !error.contains("hush"),
        "{error}"
    );
    let error = Running::start(options("shop.example")).err().unwrap().to_string();
    assert!(error.contains("expected postgres://user:password@host:port/database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_its_endpoints_say_how_to_have_one() {
    let target = Running::start(Options { admin_token: Some(TOKEN.into()), ..Options::default() }).unwrap();
    let answer = get(&target, "/admin/integrity").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("--primary URL"));
    assert_eq!(put(&target, "/admin/limits", &json!({})).await.0, 404);
}
