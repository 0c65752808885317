//! Traces of both programs: a tool call and what servers ask each other for its sake are one trace.

use std::process::{Command, Stdio};

use mcp_cluster::{Kind, Members, Options, Running};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use serving::traces::{Options as To, Traces};
use test_servers::collector::{Collector, Made, SpanKind, named};

use crate::client::{call, eventually, messages, ready, request, result};
use crate::processes::{Cluster, Process};
use crate::protocol::{initialize, legacy};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A tool call that is part of a trace.
async fn traced_call(url: &str, tool: &str, arguments: Value) -> Result<Value, String> {
    let params = json!({ "name": tool, "arguments": arguments });
    let request = request(url, "tools/call", params).header("traceparent", PARENT);
    result(&messages(request.send().await.unwrap()).await.pop().unwrap())
}

fn under<'a>(spans: &'a [Made], name: &str, parent: &Made) -> Vec<&'a Made> {
    named(spans, name).into_iter().filter(|made| made.is_under(parent)).collect()
}

/// A request's span by the tool that it called.
fn of_tool<'a>(spans: &'a [Made], tool: &str) -> &'a Made {
    let spans = named(spans, "POST /mcp");
    let found: Vec<_> =
        spans.iter().filter(|made| made.attribute("gen_ai.tool.name").as_deref() == Some(tool)).collect();
    let [one] = found[..] else { panic!("one call of {tool} in {spans:#?}") };
    one
}

async fn metrics(url: &str) -> String {
    reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_tool_call_and_its_copies_are_one_trace_and_nothing_else_is() {
    let collector = Collector::start();
    // Only calls that say so are kept: what begins a trace here is not.
    let flags = ["--otlp-endpoint", &collector.url, "--otlp-sample-ratio", "0"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let url = cluster.servers[0].url().to_owned();
    let put = json!({ "key": "orders/1", "content": "one" });
    traced_call(&url, "put", put).await.unwrap();
    traced_call(&url, "get", json!({ "key": "orders/1" })).await.unwrap();
    traced_call(&url, "get", json!({ "key": "orders/2" })).await.unwrap_err();
    call(&url, "list", json!({ "prefix": "" })).await.unwrap();
    for server in &cluster.servers {
        server.signal(Signal::TERM);
    }
    assert!(cluster.servers.iter_mut().all(Process::ended));
    let spans = collector.spans();
    assert!(spans.iter().all(|made| made.trace() == TRACE && made.service == "mcp-server"), "{spans:#?}");
    assert_eq!(named(&spans, "POST /mcp").len(), 3, "{spans:#?}");
    let put = of_tool(&spans, "put");
    assert_eq!((put.parent().as_str(), put.span.kind()), ("00f067aa0ba902b7", SpanKind::Server));
    for (key, value) in [
        ("http.route", "/mcp"),
        ("http.response.status_code", "200"),
        ("mcp.method.name", "tools/call"),
        ("mcp_cluster.outcome", "ok"),
    ] {
        assert_eq!(put.attribute(key).as_deref(), Some(value), "{key}");
    }
    let outcomes: Vec<_> = named(&spans, "POST /mcp")
        .iter()
        .map(|made| made.attribute("mcp_cluster.outcome").unwrap())
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "error").count(), 1, "{outcomes:?}");
    // Three servers hold three copies: two are asked, and each answers within the trace.
    let writes = under(&spans, "ask peer", put);
    let mut peers: Vec<_> = writes.iter().map(|made| made.attribute("mcp_cluster.peer").unwrap()).collect();
    peers.sort_unstable();
    assert_eq!(peers, ["s1", "s2"]);
    for write in writes {
        assert_eq!(write.attribute("mcp_cluster.ask").as_deref(), Some("write"));
        assert!(write.span.kind() == SpanKind::Client && write.instance == put.instance, "{write:#?}");
        let [answer] = under(&spans, "POST /peer", write)[..] else { panic!("{spans:#?}") };
        assert!(answer.span.kind() == SpanKind::Server && answer.instance != put.instance, "{answer:#?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_away_is_an_error_and_calls_in_sessions_have_spans() {
    let collector = Collector::start();
    let traces = || {
        let to = To {
            collector: collector.url.parse().unwrap(),
            ratio: "1".parse().unwrap(),
            service: "mcp-server".to_owned(),
        };
        Traces::start(&to).unwrap()
    };
    let revision = "2025-11-25";
    let options = Options { kind: Kind::MonitoringPrometheus, traces: traces(), ..Options::default() };
    let server = Running::start(options).unwrap();
    let opened = legacy(&server.url(), revision, None, initialize(revision)).await;
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    messages(opened).await;
    let notified = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    legacy(&server.url(), revision, Some(&session), notified).await;
    let arguments = json!({ "series": "a", "from": 1, "to": 9, "function": "sum" });
    let params = json!({ "name": "query", "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
    let answer = messages(legacy(&server.url(), revision, Some(&session), body).await).await.pop().unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    server.stop().unwrap();
    let query = of_tool(&collector.spans(), "query").clone();
    assert!(query.parent().is_empty() && !query.is_error(), "{query:#?}");

    let mut cluster = Cluster::start_with(3, &["--otlp-endpoint", &collector.url]).await;
    cluster.kill("s2");
    let url = cluster.servers[0].url().to_owned();
    traced_call(&url, "put", json!({ "key": "orders/1", "content": "one" })).await.unwrap_err();
    let of_write = |made: &&&Made| made.attribute("mcp_cluster.ask").as_deref() == Some("write");
    cluster.servers[0].signal(Signal::TERM);
    assert!(cluster.servers[0].ended());
    let spans = collector.spans();
    let put = of_tool(&spans, "put");
    assert_eq!(put.attribute("mcp_cluster.outcome").as_deref(), Some("error"));
    let writes = under(&spans, "ask peer", put);
    let failed: Vec<_> = writes.iter().filter(of_write).filter(|made| made.is_error()).collect();
    assert!(!failed.is_empty(), "{writes:#?}");
    for made in failed {
        assert_eq!(made.attribute("mcp_cluster.peer").as_deref(), Some("s2"));
        assert_eq!(made.attribute("error.type").as_deref(), Some("unreachable"));
    }
}

/// A whole cluster as one process, and the address of its first storage controller.
async fn whole(dir: &std::path::Path, flags: &[&str]) -> (Child, String) {
    let file = dir.join("members.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-cluster"));
    command.arg("--members-file").arg(&file).args(flags).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    let child = Child(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let members: Members = eventually("the cluster listens", async || {
        Some(serde_json::from_str(&std::fs::read_to_string(&file).ok()?).unwrap())
    })
    .await;
    let storage = members.servers.iter().find(|server| server.kind == Kind::StorageController).unwrap();
    // Until each knows what the others have, writes are refused.
    for server in &members.servers {
        ready(&server.url).await;
    }
    (child, storage.url.clone())
}

/// Killed when it is dropped.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Child {
    /// Tells it to end, waits until it has ended well, and gives what it complained of.
    fn end(mut self) -> String {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
        let mut complaints = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut complaints).unwrap();
        assert!(self.0.wait().unwrap().success());
        complaints
    }
}

#[tokio::test]
async fn servers_of_one_process_send_together_when_it_ends() {
    let (collector, dir) = (Collector::start(), tempfile::tempdir().unwrap());
    let (cluster, url) = whole(dir.path(), &["--otlp-endpoint", &collector.url]).await;
    traced_call(&url, "put", json!({ "key": "orders/1", "content": "one" })).await.unwrap();
    assert_eq!(cluster.end(), "");
    let spans = collector.spans();
    let put = of_tool(&spans, "put");
    assert_eq!((put.service.as_str(), put.trace().as_str()), ("mcp-cluster", TRACE));
    assert!(!under(&spans, "ask peer", put).is_empty(), "{spans:#?}");
    assert!(spans.iter().all(|made| made.trace() == TRACE), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_is_away_changes_nothing() {
    // It takes connections and never answers, which is worse than none.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (endpoint, dir) = (format!("http://{}", silent.local_addr().unwrap()), tempfile::tempdir().unwrap());
    let (cluster, url) = whole(dir.path(), &["--otlp-endpoint", &endpoint]).await;
    for n in 0..20 {
        call(&url, "put", json!({ "key": format!("orders/{n}"), "content": "one" })).await.unwrap();
    }
    eventually("lost spans are counted", async || {
        let text = metrics(&url).await;
        let lost = text.lines().find_map(|line| line.strip_prefix("spans_lost_total ")).unwrap();
        (lost != "0").then_some(())
    })
    .await;
    let complaints = cluster.end();
    assert!(complaints.contains("spans did not reach the collector"), "{complaints}");
}

#[tokio::test]
async fn without_the_flag_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, url) = whole(dir.path(), &[]).await;
    traced_call(&url, "put", json!({ "key": "orders/1", "content": "one" })).await.unwrap();
    let text = metrics(&url).await;
    assert!(!text.contains("spans_"), "{text}");
    assert_eq!(cluster.end(), "");
}
