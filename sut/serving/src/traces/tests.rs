use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get};
use opentelemetry::trace::TraceContextExt as _;
use test_servers::collector::{Collector, Made, SpanKind, named};
use tokio::sync::Notify;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ROUTES: Routes = Routes {
    scheme: "http",
    begin: &["/things/{id}", "/broken", "/slow", "/stream", "/ask"],
    join: &["/health", "/admin/{*rest}"],
};

/// A server in this runtime; it ends with that.
struct Server {
    url: String,
    traces: Traces,
}

impl Server {
    async fn start(collector: &str, ratio: &str) -> Self {
        let options = Options {
            collector: collector.parse().unwrap(),
            ratio: ratio.parse().unwrap(),
            service: "thing".to_owned(),
        };
        let traces = Traces::start(&options).unwrap();
        let stream = || async {
            let pieces = [Ok(Bytes::from("a")), Err(std::io::Error::other("cut"))];
            Body::from_stream(futures::stream::iter(pieces))
        };
        let slow = Arc::new(Notify::new());
        let begun = Arc::clone(&slow);
        let router = Router::new()
            .route("/things/{id}", any(|| async { note("thing.colour", "red") }))
            .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }))
            .route("/stream", get(stream))
            .route(
                "/slow",
                get(|| async move {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }),
            )
            .route("/slow/begun", get(|| async move { slow.notified().await }))
            .route("/ask", get(ask))
            .route("/health", get(|| async {}));
        let router = traces.over(router, ROUTES);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, traces }
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> reqwest::Result<String> {
        let mut request = reqwest::Client::new().get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await?.text().await
    }

    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        self.traces.render(&mut text);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }
}

/// Asks somebody, who says what he was told; somebody else gets no answer, and a third is given up.
async fn ask() -> String {
    let good = Child::begin("good", || vec![KeyValue::new("whom", "somebody")]);
    let mut headers = HeaderMap::new();
    good.tell(&mut headers);
    good.note("answer", 7);
    good.ended(None::<(_, &str)>);
    Child::begin("bad", Vec::new).ended(Some(("away", "nobody is there")));
    drop(Child::begin("given up", Vec::new));
    let state = headers.get("tracestate").map(|state| state.to_str().unwrap().to_owned());
    format!("{} {state:?}", headers.get("traceparent").map_or("", |parent| parent.to_str().unwrap()))
}

fn one<'a>(spans: &'a [Made], name: &str) -> &'a Made {
    let [one] = named(spans, name)[..] else { panic!("one span {name} in {spans:#?}") };
    one
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_is_a_span_of_the_trace_that_it_names() {
    let collector = Collector::start();
    let server = Server::start(&collector.url, "0").await;
    server.get("/things/7?secret=1", &[("traceparent", PARENT), ("user-agent", "a test")]).await.unwrap();
    server.get("/broken", &[("traceparent", PARENT)]).await.unwrap();
    server.get("/nowhere", &[("traceparent", PARENT)]).await.unwrap();
    server.get("/health", &[("traceparent", PARENT), ("user-agent", "gauntlet-probe/1")]).await.unwrap();
    let spans =
        collector.until_has(&[("GET /things/{id}", 1), ("GET /broken", 1), ("GET", 1), ("GET /health", 1)]);
    assert!(spans.iter().all(|made| made.trace() == TRACE && made.parent() == "00f067aa0ba902b7"));
    let thing = one(&spans, "GET /things/{id}");
    assert_eq!((thing.service.as_str(), thing.span.kind()), ("thing", SpanKind::Server));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/things/{id}"),
        ("url.path", "/things/7"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("user_agent.original", "a test"),
        ("network.protocol.version", "1.1"),
        ("thing.colour", "red"),
    ] {
        assert_eq!(thing.attribute(key).as_deref(), Some(value), "{key}");
    }
    assert!(!thing.is_error() && thing.attribute("error.type").is_none());
    let broken = one(&spans, "GET /broken");
    assert!(broken.is_error());
    assert_eq!(broken.attribute("error.type").as_deref(), Some("502"));
    let nowhere = one(&spans, "GET");
    assert!(!nowhere.is_error() && nowhere.attribute("http.route").is_none());
    assert_eq!(nowhere.attribute("http.response.status_code").as_deref(), Some("404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whether_a_trace_is_kept_is_said_where_it_begins() {
    let collector = Collector::start();
    let none = Server::start(&collector.url, "0").await;
    let unkept = PARENT.replace("-01", "-00");
    // The ratio keeps nothing, and who is asked hears it.
    let told = none.get("/ask", &[]).await.unwrap();
    assert!(told.starts_with("00-") && told.contains("-00 "), "{told}");
    assert_eq!(none.get("/health", &[]).await.unwrap(), "");
    let all = Server::start(&collector.url, "1").await;
    let told = all.get("/ask", &[("traceparent", &unkept)]).await.unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.contains("-00 "), "{told}");
    // Scrapers and probes begin none.
    all.get("/health", &[]).await.unwrap();
    all.get("/things/7", &[("user-agent", "gauntlet-probe/0.1.0")]).await.unwrap();
    all.get("/elsewhere", &[]).await.unwrap();
    for wrong in ["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "no parent", ""] {
        all.get("/things/7", &[("traceparent", wrong)]).await.unwrap();
    }
    none.traces.end(Duration::from_secs(3));
    all.traces.end(Duration::from_secs(3));
    let spans = collector.spans();
    assert_eq!((spans.len(), named(&spans, "GET /things/{id}").len()), (3, 3), "{spans:#?}");
    assert!(spans.iter().all(|made| made.parent().is_empty() && made.trace() != TRACE), "{spans:#?}");
    assert_eq!((all.metric("spans_total"), all.metric("spans_delivered_total")), (3, 3));
    assert_eq!((none.metric("spans_total"), all.metric("spans_lost_total")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_asked_is_told_and_each_question_is_a_span_under_the_request() {
    let collector = Collector::start();
    let server = Server::start(&collector.url, "0").await;
    let told = server.get("/ask", &[("traceparent", PARENT)]).await.unwrap();
    let stated = server.get("/ask", &[("traceparent", PARENT), ("tracestate", "vendor=1")]).await.unwrap();
    assert!(stated.ends_with("Some(\"vendor=1\")"), "{stated}");
    let spans = collector.until_has(&[("good", 2), ("bad", 2), ("given up", 2), ("GET /ask", 2)]);
    let (asked, good, bad) = (named(&spans, "GET /ask"), named(&spans, "good"), named(&spans, "bad"));
    let (asked, good) = if good[0].is_under(asked[0]) { (asked[0], good[0]) } else { (asked[1], good[0]) };
    assert!(good.is_under(asked) && good.span.kind() == SpanKind::Client && !good.is_error());
    assert_eq!(
        (good.attribute("whom").as_deref(), good.attribute("answer").as_deref()),
        (Some("somebody"), Some("7"))
    );
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01 None"), "{told}");
    assert!(bad[0].is_error() && bad[0].span.status.as_ref().unwrap().message == "nobody is there");
    assert_eq!(bad[0].attribute("error.type").as_deref(), Some("away"));
    let given_up = named(&spans, "given up")[0];
    assert_eq!(given_up.attribute("error.type").as_deref(), Some("cancelled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_span_lasts_until_the_answer_was_handed_over_or_its_client_has_gone() {
    let collector = Collector::start();
    let server = Server::start(&collector.url, "1").await;
    server.get("/stream", &[]).await.unwrap_err();
    let gone = server.get("/slow", &[]);
    tokio::select! {
        _ = gone => panic!("it never answers"),
        begun = server.get("/slow/begun", &[]) => drop(begun.unwrap()),
    }
    let spans = collector.until_has(&[("GET /stream", 1), ("GET /slow", 1)]);
    let stream = one(&spans, "GET /stream");
    assert!(stream.is_error());
    assert_eq!(stream.attribute("error.type").as_deref(), Some("body"));
    assert_eq!(stream.attribute("http.response.status_code").as_deref(), Some("200"));
    let slow = one(&spans, "GET /slow");
    assert!(!slow.is_error());
    assert_eq!(slow.attribute("error.type").as_deref(), Some("client_closed"));
    assert_eq!(slow.attribute("http.response.status_code"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collector_that_never_answers_holds_nobody_up() {
    // Connections are made, and nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(&format!("http://{}", silent.local_addr().unwrap()), "1").await;
    for _ in 0..20 {
        server.get("/things/7", &[]).await.unwrap();
    }
    let begun = Instant::now();
    server.traces.end(Duration::ZERO);
    assert!(begun.elapsed() < Duration::from_secs(30), "the end is bounded");
    assert_eq!((server.metric("spans_total"), server.metric("spans_lost_total")), (20, 20));
}

#[test]
fn without_a_collector_there_is_nothing() {
    let traces = Traces::default();
    let mut text = String::new();
    traces.render(&mut text);
    assert!(text.is_empty() && Here::now().is_none());
    note("nobody", "hears it");
    let child = Child::begin("nothing", || panic!("its attributes are not made"));
    let mut headers = HeaderMap::new();
    child.tell(&mut headers);
    assert!(headers.is_empty());
    traces.end(Duration::ZERO);
}

#[test]
fn flags_say_where_and_how_many() {
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        traces: Flags,
    }
    let read = |flags: &[&str]| Program::try_parse_from([&["program"], flags].concat());
    let flags = read(&["--otlp-endpoint=http://collector:4318/"]).unwrap().traces;
    assert_eq!(flags.otlp_endpoint.unwrap().to_string(), "http://collector:4318");
    assert_eq!(flags.otlp_sample_ratio.to_string(), "1");
    assert!(read(&[]).unwrap().traces.start("program").unwrap().0.is_none());
    let refused = |flag: &str| read(&[flag]).unwrap_err().to_string();
    assert!(refused("--otlp-endpoint=https://collector").contains("http://127.0.0.1:4318"));
    assert!(refused("--otlp-sample-ratio=2").contains("from 0 to 1"));
}

#[test]
fn context_of_a_task_is_not_that_of_another() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let collector = Collector::start();
    let options = Options {
        collector: collector.url.parse().unwrap(),
        ratio: Ratio::default(),
        service: "thing".to_owned(),
    };
    let exporter = Exporter::start(&options).unwrap();
    let context = Context::new().with_remote_span_context(opentelemetry::trace::SpanContext::empty_context());
    let here = Here { tracer: exporter.tracer(), context };
    runtime.block_on(async {
        assert!(within(Some(here), async { Here::now().is_some() }).await);
        assert!(within(None, async { Here::now().is_none() }).await);
    });
}
