//! Traces of both programs: one question is one trace, from the orchestrator to its experts.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use test_servers::collector::{Collector, Made, SpanKind, named};

use crate::orchestrator::process::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const EXPERTS: &str = env!("CARGO_BIN_EXE_experts");
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

/// A program, and where it listens.
fn start(program: &str, flags: &[&str]) -> (Process, String) {
    let mut command = Command::new(program);
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

/// Asks once it knows whom to ask, with or without a trace.
async fn ask(url: &str, parent: Option<&str>) -> Value {
    let client = reqwest::Client::new();
    let begin = Instant::now();
    while client.get(format!("{url}/ready")).send().await.unwrap().status() != 200 {
        assert!(begin.elapsed() < Duration::from_secs(60), "never ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut request = client.post(format!("{url}/v1/consensus")).json(&json!({ "question": "Which?" }));
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

fn circle(failure_rate: f64) -> String {
    let all = json!({
        "quality": 1.0, "first_token_ms": [0.0, 1.0], "token_ms": [0.0, 0.1],
        "failure_rate": failure_rate, "failures": ["overloaded"],
    });
    let well = json!({
        "quality": 1.0, "first_token_ms": [0.0, 1.0], "token_ms": [0.0, 0.1], "failure_rate": 0.0,
    });
    json!({ "seed": 5, "all": all, "experts": { "1": well, "2": well, "3": well } }).to_string()
}

fn of<'a>(spans: &'a [Made], name: &str, service: &str) -> Vec<&'a Made> {
    let spans = named(spans, name);
    assert!(spans.iter().all(|made| made.service == service), "{spans:#?}");
    spans
}

#[tokio::test]
async fn a_question_is_one_trace_from_the_orchestrator_to_its_experts() {
    let collector = Collector::start();
    let traced = ["--otlp-endpoint", &collector.url];
    let (experts, url) =
        start(EXPERTS, &[&traced[..], &["--experts", "4", "--circle", &circle(1.0)]].concat());
    // All are waited for, so that none is given up.
    let settings = r#"{"early":false,"retries":1,"backoff_ms":1,"max_backoff_ms":1}"#;
    let (orchestrator, url) =
        start(ORCHESTRATOR, &[&traced[..], &["--experts", &url, "--settings", settings]].concat());
    let verdict = ask(&url, Some(PARENT)).await;
    assert_eq!(verdict["outcome"], "winner", "{verdict}");
    assert_eq!((end(orchestrator), end(experts)), (String::new(), String::new()));
    let spans = collector.spans();
    assert!(spans.iter().all(|made| made.trace() == TRACE), "lists are read in no trace: {spans:#?}");
    let [question] = of(&spans, "POST /v1/consensus", "orchestrator")[..] else { panic!("{spans:#?}") };
    assert_eq!((question.parent().as_str(), question.span.kind()), ("00f067aa0ba902b7", SpanKind::Server));
    assert_eq!(question.attribute("circle.outcome").as_deref(), Some("winner"));
    let attempts = of(&spans, "ask expert", "orchestrator");
    // Three at once, and the one that fails is asked again.
    assert_eq!(attempts.len(), 5, "{attempts:#?}");
    let answered = of(&spans, "POST /experts/{expert}/{*path}", "experts");
    assert_eq!(answered.len(), 5, "{answered:#?}");
    for attempt in attempts {
        assert!(attempt.is_under(question) && attempt.span.kind() == SpanKind::Client, "{attempt:#?}");
        let expert = attempt.attribute("circle.expert").unwrap();
        let fails = expert == "0";
        let outcome = if fails { "overloaded" } else { "answered" };
        assert_eq!(attempt.attribute("circle.outcome").as_deref(), Some(outcome));
        assert_eq!(attempt.is_error(), fails);
        let [there] = answered.iter().filter(|made| made.is_under(attempt)).collect::<Vec<_>>()[..] else {
            panic!("one span of an expert under {attempt:#?}")
        };
        for key in ["circle.expert", "circle.expert.type", "circle.outcome", "http.response.status_code"] {
            assert_eq!(there.attribute(key), attempt.attribute(key), "{key}");
        }
    }
    let numbers: Vec<_> = of(&spans, "ask expert", "orchestrator")
        .iter()
        .filter(|made| made.is_error())
        .map(|made| made.attribute("circle.attempt").unwrap())
        .collect();
    assert_eq!(numbers, ["1", "2"]);
}

#[tokio::test]
async fn who_is_not_needed_any_more_is_given_up_and_what_is_not_kept_is_kept_by_nobody() {
    let collector = Collector::start();
    let traced = ["--otlp-endpoint", &collector.url];
    // The others answer late enough for all to be asked.
    let slow = r#"{"all":{"quality":1.0,"first_token_ms":[200,210],"token_ms":[0,0.1],"failure_rate":0.0},
        "experts":{"0":{"first_token_ms":[600000,600000]}}}"#;
    let (experts, url) = start(EXPERTS, &[&traced[..], &["--experts", "4", "--circle", slow]].concat());
    let none = ["--experts", &url, "--otlp-sample-ratio", "0"];
    let (orchestrator, url) = start(ORCHESTRATOR, &[&traced[..], &none].concat());
    assert_eq!(ask(&url, None).await["early"], true);
    assert_eq!(ask(&url, Some(PARENT)).await["early"], true);
    assert_eq!((end(orchestrator), end(experts)), (String::new(), String::new()));
    let spans = collector.spans();
    assert!(spans.iter().all(|made| made.trace() == TRACE), "experts keep what the orchestrator does");
    let attempts = of(&spans, "ask expert", "orchestrator");
    let given_up: Vec<_> =
        attempts.iter().filter(|made| made.attribute("circle.outcome").is_none()).collect();
    assert!(!given_up.is_empty());
    for made in given_up {
        assert_eq!(made.attribute("error.type").as_deref(), Some("cancelled"), "{made:#?}");
    }
    let answered = of(&spans, "POST /experts/{expert}/{*path}", "experts");
    let left = answered.iter().find(|made| made.attribute("circle.expert").as_deref() == Some("0"));
    assert_eq!(left.unwrap().attribute("circle.outcome").as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_collector_that_is_away_changes_nothing() {
    // It takes connections and never answers, which is worse than none.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let traced = ["--otlp-endpoint", &endpoint];
    let (experts, url) =
        start(EXPERTS, &[&traced[..], &["--experts", "4", "--circle", &circle(0.0)]].concat());
    let (orchestrator, url) = start(ORCHESTRATOR, &[&traced[..], &["--experts", &url]].concat());
    for _ in 0..10 {
        assert_eq!(ask(&url, None).await["outcome"], "winner");
    }
    let client = reqwest::Client::new();
    let begin = Instant::now();
    loop {
        let text = client.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        let lost = text.lines().find_map(|line| line.strip_prefix("spans_lost_total ")).unwrap();
        if lost != "0" {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for complaints in [end(orchestrator), end(experts)] {
        assert!(complaints.contains("spans did not reach the collector"), "{complaints}");
    }
}

#[tokio::test]
async fn without_the_flag_nothing_is_made() {
    let (experts, experts_url) = start(EXPERTS, &["--experts", "4", "--circle", &circle(0.0)]);
    let (orchestrator, url) = start(ORCHESTRATOR, &["--experts", &experts_url]);
    assert_eq!(ask(&url, Some(PARENT)).await["outcome"], "winner");
    for url in [url, experts_url] {
        let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
        assert!(!text.contains("spans_"), "{text}");
    }
    assert_eq!((end(orchestrator), end(experts)), (String::new(), String::new()));
}
