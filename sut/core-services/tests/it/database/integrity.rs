use serde_json::{Value, json};

use super::*;

async fn report(target: &Running) -> Value {
    get(target, "/admin/integrity").await.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_and_is_lost_or_altered_is_seen_on_each_server() {
    let cluster = Cluster::shared();
    let (settings, database) = cluster.settings();
    let target = start(settings);
    for n in 0..20 {
        assert_eq!(add(&target, &format!("harp {n}")).await.0, 201);
    }
    cluster.replicated(&database, 120);
    let whole = report(&target).await;
    assert_eq!((&whole["acknowledged"], &whole["beyond"]), (&json!(20), &json!(0)));
    let servers = whole["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 4);
    for server in servers {
        let found = [&server["error"], &server["checked"], &server["missing"], &server["altered"]];
        assert_eq!(found, [&Value::Null, &json!(20), &json!(0), &json!(0)], "{server}");
    }

    cluster.primary.execute(&database, "DELETE FROM items WHERE id IN (103, 120)");
    cluster.primary.execute(&database, "UPDATE items SET price = price + 0.5 WHERE id = 110");
    cluster.replicated(&database, 118);
    wait_for("the change to arrive everywhere", || async {
        let found = report(&target).await;
        found["servers"].as_array().unwrap().iter().all(|server| server["altered"] == json!(1))
    })
    .await;
    for server in report(&target).await["servers"].as_array().unwrap() {
        assert_eq!((&server["missing"], &server["missing_ids"]), (&json!(2), &json!([103, 120])), "{server}");
        assert_eq!(server["altered_ids"], json!([110]));
    }
    // The caches know nothing of it: what they have is no proof of what is written.
    assert_eq!(status(&target, "/items/103").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_checked_is_not_said_to_be_whole() {
    let mut cluster = Cluster { primary: Postgres::start(ServerSettings::default()), replicas: Vec::new() };
    let (settings, _) = cluster.settings();
    let target = start(settings);
    assert_eq!(add(&target, "harp").await.0, 201);
    cluster.primary.kill();
    let found = report(&target).await;
    let server = &found["servers"][0];
    assert_eq!((&server["checked"], server["error"].is_string()), (&json!(0), true), "{found}");
}
