//! What is done to connections, on the way that load takes.

use std::time::{Duration, Instant};

use crate::lab::{Lab, eventually, fault};
use crate::target::ask;

const PATIENCE: Duration = Duration::from_secs(20);

async fn within(address: String, patience: Duration) -> std::io::Result<(String, String)> {
    tokio::task::spawn_blocking(move || ask(&address, patience)).await.unwrap()
}

/// The way to an endpoint in the phase `chaos`.
fn way(reply: &protocol::v1::OpenChaosReply, endpoint: u32) -> String {
    let detour = reply.detours.iter().find(|detour| detour.endpoint == endpoint).unwrap();
    assert_eq!((detour.target.as_str(), detour.phases.as_slice()), ("shop", [1].as_slice()));
    detour.address.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_is_on_the_way_of_the_load_and_nowhere_else() {
    let lines = "mode = \"all\"\nlatency = \"1500ms\"\ndirection = \"from\"";
    let lab = Lab::new(&fault("slow", "latency", "100ms", "10s", lines)).await;
    let opened = lab.open().await;
    assert_eq!(opened.detours.len(), 2);
    let way = way(&opened, 0);
    within(way.clone(), PATIENCE).await.unwrap();
    lab.begin().await;
    let seen = lab.injected("slow").await;
    assert!(seen.contains("shop-0") && seen.contains("shop-1") && seen.contains("1500"), "{seen}");
    let asked = Instant::now();
    within(way.clone(), PATIENCE).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(1500), "{:?}", asked.elapsed());
    let stopped = lab.stop("slow").await;
    assert_eq!((stopped.refused.as_str(), stopped.ended), ("", vec!["slow".to_owned()]));
    let (how, verified) = lab.ended("slow").await;
    assert_eq!(how, "stopped by cli");
    assert!(verified.contains("has no toxic of its name, after it acted"), "{verified}");
    within(way, PATIENCE).await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_cuts_one_endpoint_off() {
    // A name may be whatever people like.
    let name = "a shop, cut off? 50%";
    let lab = Lab::new(&fault(name, "partition", "100ms", "3s", "mode = { fixed = 1 }")).await;
    let opened = lab.open().await;
    lab.begin().await;
    let seen = lab.injected(name).await;
    let cut = u32::from(seen.contains("shop-1 "));
    let nothing = within(way(&opened, cut), Duration::from_secs(1)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    within(way(&opened, 1 - cut), PATIENCE).await.unwrap();
    within(lab.targets[cut as usize].clone(), PATIENCE).await.unwrap();
    lab.ended(name).await;
    within(way(&opened, cut), PATIENCE).await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_taken_again_on_the_same_port() {
    // Longer than the lease, which is renewed.
    let lab = Lab::new(&fault("closed", "refuse", "100ms", "7s", "mode = \"one\"")).await;
    let opened = lab.open().await;
    lab.begin().await;
    let seen = lab.injected("closed").await;
    let closed = u32::from(seen.contains("shop-1 "));
    let way = way(&opened, closed);
    let (how, verified) = lab.ended("closed").await;
    assert_eq!(how, "its time is over");
    assert!(verified.contains("listens again"), "{verified}");
    within(way, PATIENCE).await.unwrap();
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_ends_with_its_run() {
    let lab = Lab::new(&fault("slow", "latency", "100ms", "1s", "latency = \"10ms\"")).await;
    let opened = lab.open().await;
    assert!(opened.proxy_url.starts_with("http://127.0.0.1:") && opened.proxy_token.len() == 64);
    let proxy = lab.helper("fault-proxy").await;
    let client = fault_proxy::client::Client::new(&opened.proxy_url, Some(&opened.proxy_token)).unwrap();
    assert_eq!(client.list().await.unwrap().len(), 2);
    let stranger = fault_proxy::client::Client::new(&opened.proxy_url, None).unwrap();
    assert!(stranger.list().await.is_err());
    lab.close().await;
    assert!(!proxy.is_alive().unwrap());
    let nobody = || ask(&way(&opened, 0), Duration::from_secs(1)).is_err().then_some(());
    eventually("a closed port", nobody, || ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_network_faults_there_is_no_proxy() {
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "1s", "")).await;
    let opened = lab.open().await;
    assert_eq!((opened.proxy_url.as_str(), opened.detours), ("", vec![]));
    lab.close().await;
}
