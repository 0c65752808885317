//! The tools' answers are true.

use mcp_cluster::{Kind, Options, Running};
use serde_json::{Value, json};

use crate::client::{admin, ask, call, messages, request};

fn start(kind: Kind) -> Running {
    Running::start(Options { kind, seed: 5, admin_token: Some("secret".into()), ..Options::default() })
        .unwrap()
}

#[tokio::test]
async fn a_scan_finds_what_is_planted_and_tells_its_progress() {
    let server = start(Kind::SecurityScanner);
    let url = server.url();
    let planted = admin(&url, "plan/source/shop?files=12").await;
    assert!(planted["findings"].as_array().unwrap().len() > 5, "{planted}");
    let params = json!({
        "name": "scan", "arguments": { "repository": "shop", "files": 12 }, "_meta": { "progressToken": "mine" },
    });
    let all = messages(request(&url, "tools/call", params).send().await.unwrap()).await;
    let (answer, told) = all.split_last().unwrap();
    assert_eq!(answer["result"]["structuredContent"]["findings"], planted["findings"]);
    let steps: Vec<_> = told.iter().map(|message| message["params"]["progress"].as_f64().unwrap()).collect();
    assert_eq!(steps, (1..=12).map(f64::from).collect::<Vec<_>>());
    assert!(told.iter().all(|message| message["params"]["progressToken"] == "mine"));

    // Whoever reads a file himself finds the same.
    let source = ask(&url, "resources/read", json!({ "uri": "source://shop/3" })).await;
    let text = source["result"]["contents"][0]["text"].as_str().unwrap();
    let found = call(&url, "scan_text", json!({ "text": text })).await.unwrap();
    let of_third = planted["findings"].as_array().unwrap().iter().filter(|finding| finding["file"] == 3);
    let lines =
        |findings: Vec<&Value>| findings.iter().map(|f| f["line"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(lines(found["findings"].as_array().unwrap().iter().collect()), lines(of_third.collect()));
}

#[tokio::test]
async fn figures_are_those_of_the_series() {
    let server = start(Kind::MonitoringPrometheus);
    let url = server.url();
    let plan = admin(&url, "plan/series/cpu?from=100&to=199").await;
    let values: Vec<u64> = serde_json::from_value(plan["values"].clone()).unwrap();
    let query = async |function: &str, step: u64| {
        let arguments =
            json!({ "series": "cpu", "from": 100, "to": 199, "step": step, "function": function });
        let found = call(&url, "query", arguments).await.unwrap();
        (found["value"].as_u64().unwrap(), found["values"].as_u64().unwrap())
    };
    assert_eq!(query("sum", 1).await, (values.iter().sum(), 100));
    assert_eq!(query("max", 1).await, (*values.iter().max().unwrap(), 100));
    assert_eq!(query("min", 10).await, (*values.iter().step_by(10).min().unwrap(), 10));
    let above = values.iter().filter(|value| **value >= 500).count() as u64;
    assert_eq!(query("above", 1).await, (above, 100));

    let all = json!({ "series": "cpu", "from": 0, "to": u64::MAX, "function": "sum" });
    assert!(call(&url, "query", all).await.unwrap_err().contains("is not between 0 and 99999"));

    let scraped = call(&url, "scrape", json!({ "server": "us-east-1-monitoring_prometheus" })).await.unwrap();
    assert_eq!(scraped["samples"]["mcp_tool_calls_total{tool=\"query\",outcome=\"ok\"}"], 4.0, "{scraped}");
    assert!(call(&url, "scrape", json!({ "server": "nobody" })).await.unwrap_err().contains("there are:"));
}

#[tokio::test]
async fn messages_come_in_order_and_services_after_what_they_need() {
    let hub = start(Kind::CommunicationHub);
    for n in 1..=3 {
        let published =
            call(&hub.url(), "publish", json!({ "channel": "ops", "text": format!("{n}") })).await;
        assert_eq!(published.unwrap()["sequence"], n);
    }
    let history = call(&hub.url(), "history", json!({ "channel": "ops", "after": 1 })).await.unwrap();
    let texts: Vec<_> = history["messages"].as_array().unwrap().iter().map(|m| m["text"].clone()).collect();
    assert_eq!(texts, ["2", "3"]);

    let commander = start(Kind::InfrastructureCommander);
    let services = json!({ "services": [{ "name": "web", "after": ["api"] }, { "name": "api" }] });
    let ordered = call(&commander.url(), "order", services).await.unwrap();
    assert_eq!(ordered["batches"], json!([["api"], ["web"]]));
}

#[tokio::test]
async fn objects_come_back_and_wrong_arguments_are_the_callers_to_read() {
    let server = start(Kind::StorageController);
    let url = server.url();
    let stored = call(&url, "put", json!({ "key": "a/1", "content": "abc" })).await.unwrap();
    assert_eq!(stored["checksum"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let object = call(&url, "get", json!({ "key": "a/1" })).await.unwrap();
    assert_eq!((&object["content"], &object["checksum"]), (&json!("abc"), &stored["checksum"]));
    let resource = ask(&url, "resources/read", json!({ "uri": "object://a/1" })).await;
    assert_eq!(resource["result"]["contents"][0]["text"], "abc");
    for n in 2..=5 {
        call(&url, "put", json!({ "key": format!("a/{n}"), "content": "" })).await.unwrap();
    }
    let (mut keys, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = call(&url, "list", json!({ "prefix": "a/", "limit": 2, "after": after })).await.unwrap();
        keys.extend(page["keys"].as_array().unwrap().clone());
        let Some(next) = page.get("next") else { break };
        after = next.clone();
    }
    assert_eq!(keys, ["a/1", "a/2", "a/3", "a/4", "a/5"]);

    for (tool, arguments, expected) in [
        ("put", json!({ "key": "", "content": "" }), "key: expected 1 to 256 bytes"),
        ("put", json!({ "key": "a" }), "missing field `content`"),
        ("put", json!({ "key": "a", "content": "x".repeat(65_537) }), "content: 65537"),
        ("get", json!({ "key": "a", "else": 1 }), "unknown field `else`"),
        ("get", json!({ "key": "nobody" }), "there is no object"),
        ("list", json!({ "limit": 0 }), "limit: 0"),
        ("list", json!({ "prefix": "x".repeat(257) }), "prefix: 257"),
    ] {
        let why = call(&url, tool, arguments).await.unwrap_err();
        assert!(why.contains(expected), "{tool}: {why}");
    }
}
