//! Leases on a paused clock.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};
use service::{OnError, Shutdown, Tasks};

use super::*;

fn proxy(value: &Value) -> ProxyInput {
    serde_json::from_value(value.clone()).unwrap()
}

fn toxic(value: &Value) -> ToxicInput {
    serde_json::from_value(value.clone()).unwrap()
}

/// A registry whose leases end.
fn leased() -> (Registry, Tasks) {
    let (registry, tasks) = (Registry::new(Options::default()), Tasks::new(Shutdown::new()));
    let ending = registry.clone();
    tasks.spawn("leases", OnError::Log, async move {
        ending.end_leases().await;
        Ok::<_, Infallible>(())
    });
    (registry, tasks)
}

/// Goes on by virtual time.
async fn after(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn names(registry: &Registry) -> Vec<(String, usize)> {
    registry.list().into_iter().map(|proxy| (proxy.name, proxy.toxics.len())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_toxic_that_nobody_renews_ends_and_the_others_stay() {
    let (registry, _tasks) = leased();
    registry.create(&proxy(&json!({"name": "shop", "upstream": "127.0.0.1:1"}))).await.unwrap();
    registry.add_toxic("shop", &toxic(&json!({"type": "latency"}))).unwrap();
    let short = registry.add_toxic("shop", &toxic(&json!({"type": "timeout", "ttl": 1_000}))).unwrap();
    let shown = serde_json::to_value(&short).unwrap();
    assert_eq!((&shown["ttl"], &shown["ends_in"]), (&json!(1_000), &json!(1_000)));
    after(900).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 2)]);
    // Any change renews it, by the time that it has.
    registry.update_toxic("shop", "timeout_downstream", &toxic(&json!({}))).unwrap();
    after(900).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 2)]);
    after(200).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 1)]);
    assert!(registry.update_toxic("shop", "timeout_downstream", &toxic(&json!({}))).is_err());
    let stays = serde_json::to_value(&registry.list()[0].toxics[0]).unwrap();
    assert!(stays["name"] == "latency_downstream" && stays.get("ttl").is_none(), "{stays}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_can_be_changed_and_taken_away() {
    let (registry, _tasks) = leased();
    registry.create(&proxy(&json!({"name": "shop", "upstream": "127.0.0.1:1", "ttl": 1_000}))).await.unwrap();
    registry.update("shop", &proxy(&json!({"ttl": 5_000}))).await.unwrap();
    after(4_000).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 0)]);
    registry.update("shop", &proxy(&json!({"ttl": 0}))).await.unwrap();
    after(100_000).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 0)]);
    // A population that names it renews it too.
    let listen = registry.list()[0].listen.clone();
    let again = json!({"name": "shop", "upstream": "127.0.0.1:1", "listen": listen, "ttl": 1_000});
    registry.populate(&[proxy(&again)]).await.map_err(|(error, _)| error).unwrap();
    after(1_100).await;
    assert!(names(&registry).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_ends_frees_its_name_and_port() {
    let (registry, _tasks) = leased();
    let made = registry
        .create(&proxy(&json!({"name": "shop", "upstream": "127.0.0.1:1", "ttl": 10})))
        .await
        .unwrap();
    after(20).await;
    assert!(names(&registry).is_empty());
    let again = json!({"name": "shop", "upstream": "127.0.0.1:1", "listen": made.listen});
    registry.create(&proxy(&again)).await.unwrap();
    after(1_000).await;
    assert_eq!(names(&registry).len(), 1);
    let wrong = registry
        .create(&proxy(&json!({"name": "x", "upstream": "y:1", "ttl": 1_u64 << 40})))
        .await
        .unwrap_err();
    assert!(wrong.to_string().contains("ttl: found 1099511627776"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_disturbs_no_connection() {
    let (registry, _tasks) = leased();
    registry.create(&proxy(&json!({"name": "shop", "upstream": "127.0.0.1:1"}))).await.unwrap();
    let jitter = json!({"type": "latency", "name": "slow", "ttl": 1_000, "attributes": {"latency": 100, "jitter": 50}});
    registry.add_toxic("shop", &toxic(&jitter)).unwrap();
    let shop = registry.proxy("shop").unwrap();
    let mut connection = shop.subscribed();
    connection.mark_unchanged();
    after(900).await;
    registry.update_toxic("shop", "slow", &toxic(&json!({"attributes": {"latency": 100}}))).unwrap();
    after(900).await;
    assert_eq!(names(&registry), [("shop".to_owned(), 1)], "it is renewed");
    assert!(!connection.has_changed().unwrap(), "what it has drawn stands");
    registry.update_toxic("shop", "slow", &toxic(&json!({"toxicity": 0.5}))).unwrap();
    assert!(connection.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_disabled_for_a_time_listens_again_unless_that_is_renewed() {
    let (registry, _tasks) = leased();
    let shop = registry.create(&proxy(&json!({"name": "shop", "upstream": "127.0.0.1:1"}))).await.unwrap();
    let enabled = || registry.list()[0].enabled;
    let off =
        registry.update("shop", &proxy(&json!({"enabled": false, "disabled_ttl": 1_000}))).await.unwrap();
    assert_eq!((off.enabled, off.enabled_in), (false, Some(1_000)));
    after(900).await;
    // Any change renews it, by the time that it has.
    registry.update("shop", &proxy(&json!({}))).await.unwrap();
    after(900).await;
    assert!(!enabled(), "it is renewed");
    after(200).await;
    let on = registry.list().remove(0);
    assert_eq!((on.enabled, on.enabled_in, on.listen), (true, None, shop.listen));
    // Disabled without a time it stays so, also where there was one before.
    registry.update("shop", &proxy(&json!({"enabled": false}))).await.unwrap();
    after(100_000).await;
    assert!(!enabled());
    registry.update("shop", &proxy(&json!({"disabled_ttl": 1_000}))).await.unwrap();
    registry.update("shop", &proxy(&json!({"disabled_ttl": 0}))).await.unwrap();
    after(100_000).await;
    assert!(!enabled(), "the time was taken away");
    let wrong = registry.update("shop", &proxy(&json!({"disabled_ttl": 1_u64 << 40}))).await.unwrap_err();
    assert!(wrong.to_string().contains("disabled_ttl: found 1099511627776"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_whose_port_was_taken_meanwhile_listens_when_it_is_free() {
    let (registry, _tasks) = leased();
    let off = json!({"name": "shop", "upstream": "127.0.0.1:1"});
    let shop = registry.create(&proxy(&off)).await.unwrap();
    registry.update("shop", &proxy(&json!({"enabled": false, "disabled_ttl": 1_000}))).await.unwrap();
    let taken = std::net::TcpListener::bind(&shop.listen).unwrap();
    after(5_000).await;
    assert!(!registry.list()[0].enabled);
    drop(taken);
    after(5_000).await;
    assert!(registry.list()[0].enabled);
}
