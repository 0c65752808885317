use serde_json::{Value, json};

use super::*;

async fn cache_of(target: &Running, id: u64) -> String {
    let answer = get(target, &format!("/items/{id}")).await;
    assert_eq!(answer.status(), 200);
    answer.headers()["x-cache"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_come_from_the_first_level_then_the_second_then_a_server() {
    let (settings, _) = Cluster::shared().settings();
    let target = start(Settings { replicas: Vec::new(), ..settings });
    assert_eq!(cache_of(&target, 1).await, "miss");
    assert_eq!(cache_of(&target, 1).await, "l1");
    // Exhausted and given back, the first level is empty.
    assert_eq!(put(&target, "/admin/limits", &json!({ "l1_bytes": 0 })).await.0, 200);
    assert_eq!([cache_of(&target, 1).await, cache_of(&target, 1).await], ["l2", "l2"]);
    assert_eq!(put(&target, "/admin/limits", &json!({})).await.0, 200);
    assert_eq!([cache_of(&target, 1).await, cache_of(&target, 1).await], ["l2", "l1"]);

    let (_, added) = add(&target, "new").await;
    assert_eq!(cache_of(&target, added["id"].as_u64().unwrap()).await, "l1", "what was written is there");
    assert_eq!(metric(&target, "cache_level_entries{level=\"l1\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_their_caps() {
    let (settings, _) = Cluster::shared().settings();
    let (l1_bytes, l2_bytes) = (8 << 10, 32 << 10);
    let target = Running::start(Options {
        items: 1_000,
        database: Some(Settings { l1_bytes, l2_bytes, replicas: Vec::new(), ..settings }),
        ..Options::default()
    })
    .unwrap();
    for id in 1..=1_000 {
        assert_eq!(status(&target, &format!("/items/{id}")).await, 200);
        if id % 100 == 0 {
            for (level, cap) in [("l1", l1_bytes), ("l2", l2_bytes)] {
                let of = |name: &str| format!("cache_level_{name}{{level=\"{level}\"}}");
                let (bytes, most) =
                    (metric(&target, &of("bytes")).await, metric(&target, &of("bytes_max")).await);
                assert!(bytes <= most && most <= (cap + 64) as f64, "{level} has {bytes} of {most}");
            }
        }
    }
    let used = metric(&target, "cache_level_usage_ratio{level=\"l2\"}").await;
    assert!(used > 0.5, "a cap that is reached is used: {used}");
    let hits = metric(&target, "cache_level_hits_total{level=\"l2\"}").await;
    let list: Value = get(&target, "/items?limit=1").await.json().await.unwrap();
    assert_eq!((list["total"].as_u64(), hits), (Some(1_000), 0.0), "no item was asked for twice");
}
