//! The HTTP API over loopback.

use std::time::Duration;

use protocol::event::{Entry, Event};
use reqwest::{Client, Response, StatusCode};
use scheduler::Options;
use serde_json::{Value, json};
use service::{Blame, ServiceError as _};

use crate::bench::{Bench, baseline};

const CLOSED: &str = "00000000-0000-7000-8000-000000000000";

fn url(bench: &Bench, path: &str) -> String {
    format!("http://{}{path}", bench.api)
}

async fn get(bench: &Bench, path: &str) -> Response {
    Client::new().get(url(bench, path)).send().await.unwrap()
}

async fn problem(response: Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["type"].as_str().unwrap().starts_with("urn:gauntlet:problem:"));
    for member in ["title", "detail"] {
        assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
    }
    problem
}

/// Reads server-sent events until the stream ends, or until there are `most`: id and data of each.
async fn events(mut response: Response, most: usize) -> Vec<(u64, Value)> {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut found) = (String::new(), Vec::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                found.push((id.parse().unwrap(), serde_json::from_str(data).unwrap()));
            }
            text = rest.to_owned();
        }
        if found.len() >= most {
            break;
        }
    }
    found
}

#[tokio::test]
async fn health_readiness_and_the_description() {
    let bench = Bench::real().await;
    assert_eq!(get(&bench, "/health").await.status(), StatusCode::OK);
    assert_eq!(get(&bench, "/ready").await.status(), StatusCode::OK);
    let served: Value = get(&bench, "/openapi.json").await.json().await.unwrap();
    assert_eq!(served, serde_json::to_value(scheduler::openapi()).unwrap());
    let mut paths: Vec<&String> = served["paths"].as_object().unwrap().keys().collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/health",
            "/openapi.json",
            "/ready",
            "/v1/runs",
            "/v1/runs/{run}",
            "/v1/runs/{run}/control",
            "/v1/runs/{run}/faults",
            "/v1/runs/{run}/faults/stop",
            "/v1/runs/{run}/history",
            "/v1/runs/{run}/history/stream",
            "/v1/runs/{run}/live",
            "/v1/runs/{run}/phases",
            "/v1/runs/{run}/recovery",
        ]
    );
    // Every reference leads somewhere.
    let text = served.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(served.pointer(reference).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn a_run_is_created_followed_steered_and_read_through_the_api() {
    let bench = Bench::real().await;
    let plan = baseline(600, "control.worker-timeout = \"60s\"")
        .replace("ramp-down = \"1s\"", "ramp-down = \"10ms\"");
    let text = format!(
        "{plan}\nname = \"by api\"\n[targets.app]\nurl = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"http\"\nconfig.steps = [{{ name = \"home\", get = \"/\" }}]"
    );
    let body = json!({
        "plan_digest": bench.bus.put_object(text.as_bytes()).await.unwrap(),
        "files": [{ "name": "guest:0", "digest": bench.bus.put_object(b"a guest").await.unwrap() }],
    });
    let created = Client::new().post(url(&bench, "/v1/runs")).json(&body).send().await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let id = created.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/v1/runs/{id}"));
    let run = id.parse().unwrap();
    bench.wait_for_phase(run, 0).await;

    let shown: Value = get(&bench, &location).await.json().await.unwrap();
    assert_eq!((&shown["state"], &shown["phase"]), (&json!("running"), &json!("baseline")));
    let steer = async |body: Value| {
        Client::new().post(url(&bench, &format!("{location}/control"))).json(&body).send().await.unwrap()
    };
    assert_eq!(steer(json!({ "action": "pause" })).await.status(), StatusCode::NO_CONTENT);
    let shown: Value = get(&bench, &location).await.json().await.unwrap();
    assert_eq!(shown["paused"], true);
    let refused = problem(steer(json!({ "action": "pause" })).await, 409).await;
    assert!(refused["detail"].as_str().unwrap().contains("paused already"));
    problem(steer(json!({ "action": "dance" })).await, 400).await;
    problem(steer(json!({ "action": "rate", "rate": -1 })).await, 400).await;
    assert_eq!(steer(json!({ "action": "resume" })).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(steer(json!({ "action": "rate", "rate": 50 })).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(steer(json!({ "action": "stop" })).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(bench.ended(run).await.0, 96);

    let list: Value = get(&bench, "/v1/runs").await.json().await.unwrap();
    assert_eq!(list[0]["id"], *id);
    assert_eq!((&list[0]["state"], &list[0]["exit_code"]), (&json!("ended"), &json!(96)));
    let shown: Value = get(&bench, &location).await.json().await.unwrap();
    assert_eq!((&shown["verdict"], &shown["reasons"]), (&json!("aborted"), &json!(["stopped by api"])));
    let phases: Value = get(&bench, &format!("{location}/phases")).await.json().await.unwrap();
    assert_eq!(phases[0]["decision"], "abort");
    assert_eq!(phases[0]["objectives"].as_array().unwrap().len(), 3);
    problem(steer(json!({ "action": "stop" })).await, 409).await;
}

#[tokio::test]
async fn the_history_streams_to_its_end_and_resumes_where_it_broke_off() {
    let bench = Bench::real().await;
    let run = bench.create(&baseline(1, "")).await;
    let path = format!("/v1/runs/{run}/history/stream");
    let all = tokio::time::timeout(Duration::from_secs(60), events(get(&bench, &path).await, usize::MAX))
        .await
        .unwrap();
    let ids: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    let entries: Vec<Entry> =
        all.iter().map(|(_, data)| serde_json::from_value(data.clone()).unwrap()).collect();
    assert_eq!(entries, bench.store.history(run, 0).await.unwrap());
    assert!(matches!(entries.last().unwrap().event, Event::RunEnded { .. }));

    let resumed = Client::new().get(url(&bench, &path)).header("Last-Event-ID", "3").send().await.unwrap();
    assert_eq!(events(resumed, usize::MAX).await, all[3..]);
    let wrong = Client::new().get(url(&bench, &path)).header("Last-Event-ID", "x").send().await.unwrap();
    problem(wrong, 400).await;

    let listed: Vec<Entry> =
        get(&bench, &format!("/v1/runs/{run}/history?after=3")).await.json().await.unwrap();
    assert_eq!(listed, entries[3..]);
}

#[tokio::test]
async fn live_figures_stream_while_the_run_goes_on() {
    let bench = Bench::real().await;
    let run = bench.create(&baseline(600, "control.worker-timeout = \"60s\"")).await;
    bench.wait_for_phase(run, 0).await;
    let mut response = get(&bench, &format!("/v1/runs/{run}/live")).await;
    let mut aggregate = crate::series_of::aggregate(1);
    aggregate.run = run.to_bytes();
    bench.bus.broadcast(&aggregate).await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n") {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    let figures: Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!((&figures["started"], &figures["wanted_rate"]), (&json!(100), &json!(100.0)));
    assert_eq!(figures["error_rate"], 0.0);
    bench.shutdown.trigger("test over");
    // The stream ends with the service.
    while response.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_document() {
    let bench = Bench::real().await;
    problem(get(&bench, "/nowhere").await, 404).await;
    problem(get(&bench, &format!("/v1/runs/{CLOSED}")).await, 404).await;
    problem(get(&bench, &format!("/v1/runs/{CLOSED}/history/stream")).await, 404).await;
    problem(get(&bench, "/v1/runs/not-an-id").await, 400).await;
    problem(Client::new().delete(url(&bench, "/v1/runs")).send().await.unwrap(), 405).await;
    let post = async |body: &'static str| {
        let request = Client::new().post(url(&bench, "/v1/runs")).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    };
    problem(post("{").await, 400).await;
    problem(post("{\"plan_digest\": \"x\", \"unknown\": 1}").await, 400).await;
    let rejected = problem(post("{\"plan_digest\": \"sha256:00\"}").await, 422).await;
    assert!(rejected["problems"][0].as_str().unwrap().contains("plan:"), "{rejected}");
}

#[tokio::test]
async fn a_request_to_a_foreign_name_is_not_answered() {
    let bench = Bench::real().await;
    let request = Client::new().get(url(&bench, "/v1/runs")).header("host", "evil.example");
    problem(request.send().await.unwrap(), 403).await;
}

#[tokio::test]
async fn with_a_token_every_request_needs_it() {
    let bench = Bench::new(false, |options, _| options.token = Some("sesame".to_owned())).await;
    problem(get(&bench, "/v1/runs").await, 401).await;
    assert_eq!(get(&bench, "/health").await.status(), StatusCode::OK);
    let request = |token: &str| Client::new().get(url(&bench, "/v1/runs")).bearer_auth(token);
    problem(request("wrong!").send().await.unwrap(), 401).await;
    assert_eq!(request("sesame").send().await.unwrap().status(), StatusCode::OK);
}

/// Starts a scheduler on an address and returns how that failed.
async fn refused(api: &str, token: Option<&str>) -> scheduler::Error {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::open(&dir.path().join("store.db")).unwrap();
    let bus = bus::Bus::in_process(store.clone(), dir.path()).unwrap();
    let mut options = Options::new(dir.path());
    api.clone_into(&mut options.api);
    options.token = token.map(str::to_owned);
    scheduler::run(options, bus, store, service::Shutdown::new()).await.unwrap_err()
}

#[tokio::test]
async fn an_open_address_without_a_token_an_occupied_port_and_nonsense_are_refused() {
    let open = Box::pin(refused("0.0.0.0:0", None)).await;
    assert!(open.to_string().contains("not loopback"), "{open}");
    assert_eq!(open.blame(), Blame::Input);
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = Box::pin(refused(&occupied.local_addr().unwrap().to_string(), None)).await;
    assert!(taken.to_string().contains("control.api"), "{taken}");
    assert_eq!(taken.blame(), Blame::Environment);
    let nonsense = Box::pin(refused("here", None)).await;
    assert_eq!(nonsense.blame(), Blame::Input, "{nonsense}");
}
