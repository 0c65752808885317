//! Our own client drives the proxy: each call, and what it says of what went wrong.

use std::time::Duration;

use fault_proxy::client::Client;
use fault_proxy::toxic::{Attributes, Latency, Stream};
use fault_proxy::{ProxyInput, ToxicInput};
use rustix::process::Signal;
use serde_json::json;

use crate::program::Program;
use crate::toxics::read_all;
use crate::upstream::Upstream;

fn latency(millis: u64) -> Attributes {
    Attributes::Latency(Latency { latency: millis, jitter: 0 })
}

#[tokio::test]
async fn every_call() {
    let (program, upstream) = (Program::start(&[]), Upstream::sending(100).await);
    let client = program.client();
    assert!(client.version().await.unwrap().starts_with("2."));
    let input = ProxyInput::new("a shop/0", &upstream.address).leased(Duration::from_secs(600));
    let made = client.create_proxy(&input).await.unwrap();
    assert!(made.enabled && made.upstream == upstream.address && made.toxics.is_empty());
    assert!(made.lease.is_some_and(|lease| lease.ttl == 600_000));
    assert_eq!(client.list().await.unwrap().keys().collect::<Vec<_>>(), ["a shop/0"]);

    let slow = ToxicInput::new("it is slow?", &latency(1)).on(Stream::Both).leased(Duration::from_secs(600));
    let added = client.add_toxic("a shop/0", &slow).await.unwrap();
    assert_eq!((&added.attributes, added.stream, added.toxicity), (&latency(1), Stream::Both, 1.0));
    let slower = ToxicInput { attributes: slow.attributes.clone(), ..ToxicInput::default() }.hitting(0.5);
    let changed = client.update_toxic("a shop/0", "it is slow?", &slower).await.unwrap();
    assert_eq!((changed.toxicity, changed.lease.map(|lease| lease.ttl)), (0.5, Some(600_000)));
    let renewed = client.renew_toxic("a shop/0", "it is slow?").await.unwrap();
    assert_eq!((&renewed.attributes, renewed.toxicity), (&changed.attributes, 0.5));
    let toxics = client.toxics("a shop/0").await.unwrap();
    assert_eq!(toxics.iter().map(|toxic| toxic.name.as_str()).collect::<Vec<_>>(), ["it is slow?"]);

    assert_eq!(read_all(&made.listen).await.len(), 100);
    program.wait_for("/proxies/a shop~10/open", |open| open == 0).await;
    let counters = client.counters().await.unwrap();
    let shop = &counters.proxies["a shop/0"];
    assert_eq!((shop.connections, shop.downstream.sent_bytes, counters.held_bytes), (1, 100, 0));
    assert_eq!(client.draws("a shop/0").await.unwrap().connections.len(), 1);

    client.remove_toxic("a shop/0", "it is slow?").await.unwrap();
    let other = ProxyInput { enabled: Some(false), ..ProxyInput::new("other", "127.0.0.1:1") };
    let same = ProxyInput { toxics: Some(vec![slow]), ..input.listening_on(&made.listen) };
    let populated = client.populate(&[same, other]).await.unwrap();
    assert_eq!((&populated[0].listen, populated[0].toxics.len()), (&made.listen, 1));
    assert!(!populated[1].enabled);
    client.reset().await.unwrap();
    assert!(client.list().await.unwrap().values().all(|proxy| proxy.enabled && proxy.toxics.is_empty()));
    client.delete_proxy("other").await.unwrap();
    assert_eq!(client.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_type_of_toxic_comes_back_as_it_was_sent() {
    let program = Program::start(&[]);
    let client = program.client();
    client.create_proxy(&ProxyInput::new("shop", "127.0.0.1:1")).await.unwrap();
    for (name, attributes) in [
        ("latency", json!({"latency": 5, "jitter": 2})),
        ("bandwidth", json!({"rate": 9})),
        ("slow_close", json!({"delay": 7})),
        ("timeout", json!({"timeout": 8})),
        ("reset_peer", json!({"timeout": 3, "established": true})),
        ("slicer", json!({"average_size": 10, "size_variation": 4, "delay": 1})),
        ("limit_data", json!({"bytes": 11})),
        ("packet_loss", json!({"loss_rate": 0.25, "correlation": 0.5})),
        ("http_abort", json!({"share": 0.5})),
        ("http_delay", json!({"share": 0.5, "delay": 20})),
        ("http_status", json!({"share": 0.5, "status": 418})),
        ("http_header", json!({"share": 0.5, "name": "retry-after", "value": "7"})),
        ("http_body", json!({"share": 0.5})),
    ] {
        let attributes = Attributes::of_type(name).unwrap().with(attributes.as_object().unwrap()).unwrap();
        let added = client.add_toxic("shop", &ToxicInput::new(name, &attributes)).await.unwrap();
        assert_eq!(added.attributes, attributes);
    }
    assert_eq!(client.proxy("shop").await.unwrap().toxics.len(), 13);
}

#[tokio::test]
async fn what_went_wrong_is_named() {
    let mut program = Program::start(&[]);
    let client = program.client();
    let missing = client.proxy("none").await.unwrap_err();
    assert!(missing.is_missing() && !missing.is_taken());
    let text = missing.to_string();
    assert!(text.contains(&program.url) && text.contains("GET /proxies/none: proxy not found"), "{text}");
    let shop = ProxyInput::new("shop", "127.0.0.1:1");
    client.create_proxy(&shop).await.unwrap();
    assert!(client.create_proxy(&shop).await.unwrap_err().is_taken());
    assert!(client.remove_toxic("shop", "none").await.unwrap_err().is_missing());
    client.add_toxic("shop", &ToxicInput::new("slow", &latency(1))).await.unwrap();
    assert!(client.add_toxic("shop", &ToxicInput::new("slow", &latency(1))).await.unwrap_err().is_taken());
    let wrong = client.add_toxic("shop", &ToxicInput::new("b", &latency(1)).hitting(2.0)).await.unwrap_err();
    assert!(wrong.status() == Some(400) && wrong.to_string().contains("toxicity: found 2"), "{wrong}");

    program.signal(Signal::KILL);
    program.wait();
    let gone = client.version().await.unwrap_err();
    assert!(gone.is_unreachable() && gone.status().is_none(), "{gone}");
    assert!(gone.to_string().contains("refused"), "the cause is in it: {gone}");
}

#[tokio::test]
async fn a_token_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let program = Program::start(&["--token-file", file.to_str().unwrap()]);
    assert!(Client::new(&program.url, Some("secret")).unwrap().list().await.unwrap().is_empty());
    for token in [None, Some("wrong")] {
        let refused = Client::new(&program.url, token).unwrap().list().await.unwrap_err();
        assert_eq!(refused.status(), Some(401), "{refused}");
    }
}
