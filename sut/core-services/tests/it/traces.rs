//! Traces of the program: what a collector gets, and that one which is away changes nothing.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use test_servers::collector::{Collector, SpanKind, named};

use crate::database::{self, Cluster, uncached, wait_for};
use crate::process::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The program, and where it listens.
fn start(flags: &[&str]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    command.args(flags).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    let mut process = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
    (process, url)
}

/// Tells it to end, waits until it has ended well, and gives what it complained of.
fn end(mut process: Process) -> String {
    kill_process(Pid::from_raw(i32::try_from(process.0.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    let mut complaints = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert!(process.0.wait().unwrap().success());
    complaints
}

async fn get(url: &str, parent: Option<&str>) -> u16 {
    let mut request = reqwest::Client::new().get(url);
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    request.send().await.unwrap().status().as_u16()
}

async fn metrics(url: &str) -> String {
    reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn requests_are_spans_with_the_parent_that_they_name_and_all_are_sent_at_the_end() {
    let collector = Collector::start();
    let (process, url) = start(&["--otlp-endpoint", &collector.url]);
    assert_eq!(get(&format!("{url}/items/7"), Some(PARENT)).await, 200);
    assert_eq!(get(&format!("{url}/items/7"), Some(PARENT)).await, 200);
    assert_eq!(get(&format!("{url}/search?q=x"), Some(&PARENT.replace("-01", "-00"))).await, 200);
    assert_eq!(get(&format!("{url}/items"), None).await, 200);
    assert_eq!(get(&format!("{url}/health"), None).await, 200);
    assert_eq!(end(process), "");
    // Nothing is waited for: what there was has been sent before the program ended.
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|made| made.service == "core-services" && !made.is_error()), "{spans:#?}");
    let items = named(&spans, "GET /items/{id}");
    for (item, cache) in items.iter().zip(["miss", "hit"]) {
        assert_eq!((item.trace().as_str(), item.parent().as_str()), (TRACE, "00f067aa0ba902b7"));
        assert_eq!(item.span.kind(), SpanKind::Server);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("http.route", "/items/{id}"),
            ("url.path", "/items/7"),
            ("http.response.status_code", "200"),
            ("core_services.cache", cache),
        ] {
            assert_eq!(item.attribute(key).as_deref(), Some(value), "{key}");
        }
    }
    let [list] = named(&spans, "GET /items")[..] else { panic!("{spans:#?}") };
    assert!(list.parent().is_empty() && list.trace() != TRACE, "it begins a trace of its own");
}

#[tokio::test]
async fn what_fails_is_an_error_and_a_ratio_of_nothing_keeps_nothing() {
    let collector = Collector::start();
    let failing = ["--knobs", r#"{"error_rate":1.0}"#, "--otlp-endpoint", &collector.url];
    let (process, url) = start(&[&failing[..], &["--otlp-sample-ratio", "0"]].concat());
    assert_eq!(get(&format!("{url}/items/7"), Some(PARENT)).await, 500);
    assert_eq!(get(&format!("{url}/items/7"), None).await, 500);
    end(process);
    let spans = collector.spans();
    let [failed] = &spans[..] else { panic!("one span in {spans:#?}") };
    assert!(failed.is_error() && failed.trace() == TRACE, "{failed:#?}");
    assert_eq!(failed.attribute("error.type").as_deref(), Some("500"));
}

#[tokio::test]
async fn a_collector_that_is_away_changes_nothing() {
    // It takes connections and never answers, which is worse than none.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (process, url) = start(&["--otlp-endpoint", &endpoint]);
    for _ in 0..100 {
        assert_eq!(get(&format!("{url}/items/7"), None).await, 200);
    }
    wait_for("lost spans to be counted", || async {
        let text = metrics(&url).await;
        assert!(text.lines().any(|line| line == "spans_total 100"), "{text}");
        text.lines().any(|line| line == "spans_lost_total 100")
    })
    .await;
    let complaints = end(process);
    assert!(complaints.contains("100 of 100 spans did not reach the collector"), "{complaints}");
}

#[tokio::test]
async fn without_the_flag_nothing_is_made() {
    let (process, url) = start(&[]);
    assert_eq!(get(&format!("{url}/items/7"), Some(PARENT)).await, 200);
    let text = metrics(&url).await;
    assert!(!text.contains("spans_"), "{text}");
    assert_eq!(end(process), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_a_span_under_its_request() {
    let collector = Collector::start();
    let cluster = Cluster::shared();
    let (settings, name) = cluster.settings();
    let options = serving::traces::Options {
        collector: collector.url.parse().unwrap(),
        ratio: "0".parse().unwrap(),
        service: "core-services".to_owned(),
    };
    let traces = serving::traces::Traces::start(&options).unwrap();
    let options = core_services::Options {
        items: 100,
        database: Some(uncached(settings)),
        traces,
        ..core_services::Options::default()
    };
    let target = core_services::Running::start(options).unwrap();
    cluster.replicated(&name, 100);
    assert_eq!(get(&format!("{}/items/7", target.url()), Some(PARENT)).await, 200);
    assert_eq!(database::add(&target, "in no trace that is kept").await.0, 201);
    let new = reqwest::Client::new().post(format!("{}/items", target.url())).header("traceparent", PARENT);
    let item = serde_json::json!({ "name": "harp", "price": 1.5 });
    assert_eq!(new.json(&item).send().await.unwrap().status(), 201);
    target.stop().unwrap();
    let spans = collector.spans();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    for (request, query, operation, server) in [
        ("GET /items/{id}", "SELECT items", "SELECT", "replica-"),
        ("POST /items", "INSERT items", "INSERT", "primary"),
    ] {
        let ([request], [query]) = (&named(&spans, request)[..], &named(&spans, query)[..]) else {
            panic!("{spans:#?}")
        };
        assert!(query.is_under(request) && query.span.kind() == SpanKind::Client, "{query:#?}");
        assert_eq!(query.attribute("db.system.name").as_deref(), Some("postgresql"));
        assert_eq!(query.attribute("db.operation.name").as_deref(), Some(operation));
        assert!(query.attribute("core_services.server").unwrap().starts_with(server), "{query:#?}");
    }
    let item = named(&spans, "GET /items/{id}")[0];
    assert_eq!(item.attribute("core_services.cache").as_deref(), Some("miss"));
}
