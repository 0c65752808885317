//! What can be changed at run time, and seen.

use std::time::{Duration, Instant};

use mcp_cluster::{Fleet, Kind, Knobs, Options, Running, Shape};
use serde_json::{Value, json};

use crate::client::{admin, admin_put, call, ready};

fn start() -> Running {
    let options = Options { admin_token: Some("secret".into()), ..Options::default() };
    Running::start(options).unwrap()
}

async fn post(url: &str, path: &str) -> Value {
    let request = reqwest::Client::new().post(format!("{url}/admin/{path}")).bearer_auth("secret");
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn knobs_have_their_effects_and_versions_roll_back() {
    let server = start();
    let url = server.url();
    admin_put(&url, "versions/2", &json!({ "error_rate": 1 })).await;
    let why = call(&url, "list", json!({})).await.unwrap_err();
    assert!(why.contains("error_rate"), "{why}");
    let version: Value = reqwest::get(format!("{url}/version")).await.unwrap().json().await.unwrap();
    assert_eq!(version["version"], "2");
    assert_eq!(post(&url, "versions/1").await["active"], "1");
    call(&url, "list", json!({})).await.unwrap();

    admin_put(&url, "knobs", &json!({ "latency": { "kind": "fixed", "ms": 1500 } })).await;
    let begun = Instant::now();
    call(&url, "list", json!({})).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_500));

    let resident = async || {
        let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse::<f64>().unwrap()
    };
    let before = resident().await;
    admin_put(&url, "knobs", &json!({ "memory_mib": 200 })).await;
    assert!(resident().await > before + 150e6);
    admin_put(&url, "knobs", &json!({})).await;
}

#[tokio::test]
async fn a_stall_holds_answers_back_until_its_end() {
    let server = start();
    let url = server.url();
    admin_put(&url, "knobs", &json!({ "stall": { "for_ms": 1500 } })).await;
    let begun = Instant::now();
    let response = reqwest::get(format!("{url}/health")).await.unwrap();
    assert!(response.status().is_success() && begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn admin_is_for_whoever_has_the_token_and_takes_only_what_makes_sense() {
    let server = start();
    let url = server.url();
    let client = reqwest::Client::new();
    for path in ["knobs", "versions", "members", "integrity", "plan/series/x?from=0&to=1"] {
        let refused = client.get(format!("{url}/admin/{path}")).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
    }
    let put = async |path: &str, body: Value| {
        let request = client.put(format!("{url}/admin/{path}")).bearer_auth("secret").json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, why) = put("knobs", json!({ "error_rate": 3 })).await;
    assert!(status == 422 && why.contains("error_rate: 3"), "{status}: {why}");
    let (status, why) = put("members", json!({ "replication": 1, "servers": [] })).await;
    assert!(status == 422 && why.contains("is not among them"), "{status}: {why}");
    let (status, why) = put("versions/a%20b", json!({})).await;
    assert!(status == 422 && why.contains("a b"), "{status}: {why}");
    let without = Running::start(Options::default()).unwrap();
    let refused = client.get(format!("{}/admin/knobs", without.url())).send().await.unwrap();
    assert_eq!(refused.status(), 403);
}

#[test]
fn wrong_knobs_are_refused_before_anything_is_bound() {
    let knobs = Knobs { error_rate: 2.0, ..Knobs::default() };
    let error = Running::start(Options { knobs, ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("error_rate: 2"), "{error}");
}

#[test]
fn defaults_are_those_of_the_readme() {
    let options = Options::default();
    assert!(options.host.is_loopback() && options.sessions);
    assert_eq!((options.max_sessions, options.grace), (10_000, Duration::from_secs(5)));
    let times = (options.peer_timeout, options.repair_every);
    assert_eq!(times, (Duration::from_secs(3), Duration::from_secs(1)));
    assert_eq!((options.limits.objects, options.limits.bytes), (100_000, 256 << 20));
    let shape = Shape::default();
    assert_eq!((shape.regions, shape.servers_per_region, shape.replication), (3, 5, 3));
}

#[tokio::test]
async fn a_whole_cluster_is_three_regions_of_five_that_share_objects() {
    let options = Options { admin_token: Some("secret".into()), ..Options::default() };
    let fleet = Fleet::bind(&Shape::default(), options).await.unwrap();
    let members = fleet.members().clone();
    assert_eq!((members.servers.len(), members.replication), (15, 3));
    for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] {
        for kind in Kind::ALL {
            let name = format!("{region}-{kind}");
            let found = members.servers.iter().find(|member| member.name == name).unwrap();
            assert_eq!((found.kind, found.region.as_str()), (kind, region));
        }
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = fleet.run(async {
        let _ = stopped.await;
    });
    let work = async {
        for member in &members.servers {
            ready(&member.url).await;
        }
        let storage: Vec<_> = members.servers.iter().filter(|m| m.kind == Kind::StorageController).collect();
        let object = json!({ "key": "a", "content": "shared" });
        let stored = call(&storage[0].url, "put", object).await.unwrap();
        // One holder in each region.
        let mut regions: Vec<&str> = Vec::new();
        for holder in stored["holders"].as_array().unwrap() {
            let found = members.servers.iter().find(|member| member.name == *holder).unwrap();
            regions.push(&found.region);
        }
        regions.sort_unstable();
        assert_eq!(regions, ["ap-southeast-1", "eu-west-1", "us-east-1"]);
        for member in &storage {
            assert_eq!(call(&member.url, "get", json!({ "key": "a" })).await.unwrap()["content"], "shared");
        }
        let report = admin(&storage[0].url, "integrity").await;
        assert_eq!((&report["acknowledged"], &report["under_copied"]), (&json!(1), &json!(0)), "{report}");
        let _ = stop.send(());
    };
    let (ran, ()) = tokio::join!(running, work);
    ran.unwrap();
}
