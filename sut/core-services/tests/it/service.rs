use std::time::{Duration, Instant};

use core_services::access_log::Line;
use core_services::{Knobs, Options, Running, breaker};
use serde_json::{Value, json};

const TOKEN: &str = "let me in";

fn start(options: Options) -> Running {
    Running::start(Options { admin_token: Some(TOKEN.into()), ..options }).unwrap()
}

fn with(knobs: Value) -> Options {
    Options { knobs: serde_json::from_value(knobs).unwrap(), ..Options::default() }
}

async fn get(target: &Running, path: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("{}{path}", target.url())).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn put_knobs(target: &Running, knobs: &Value) -> (u16, Value) {
    let request =
        reqwest::Client::new().put(format!("{}/admin/knobs", target.url())).bearer_auth(TOKEN).json(knobs);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn metric(target: &Running, name: &str) -> f64 {
    let text = reqwest::get(format!("{}/metrics", target.url())).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn items_are_read_listed_found_and_added() {
    let target = start(Options::default());
    let (status, item) = get(&target, "/items/7").await;
    assert_eq!((status, &item["id"]), (200, &json!(7)));
    assert!(item["name"].is_string() && item["price"].is_f64(), "{item}");

    let (status, list) = get(&target, "/items?offset=998&limit=50").await;
    assert_eq!((status, &list["total"], list["items"].as_array().unwrap().len()), (200, &json!(1_000), 2));

    let client = reqwest::Client::new();
    let new =
        client.post(format!("{}/items", target.url())).json(&json!({ "name": "odd harp", "price": 1.5 }));
    let answer = new.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (201, "/items/1001")
    );
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "id": 1_001 }));
    assert_eq!(get(&target, "/items/1001").await.1["name"], json!("odd harp"));
    assert_eq!(get(&target, "/search?q=odd%20harp").await.1["items"][0]["id"], json!(1_001));

    assert_eq!(get(&target, "/items/5000").await.0, 404);
    assert_eq!(get(&target, "/health").await, (200, json!({ "status": "ok" })));
}

#[tokio::test]
async fn metrics_count_by_route_and_leave_probes_out() {
    let target = start(Options::default());
    for _ in 0..3 {
        get(&target, "/items/1").await;
    }
    get(&target, "/items/9999").await;
    let probe = reqwest::Client::builder().user_agent("gauntlet-probe/0.1.0").build().unwrap();
    for _ in 0..4 {
        probe.get(format!("{}/items/1", target.url())).send().await.unwrap();
    }
    assert_eq!(metric(&target, r#"http_requests_total{route="/items/{id}",status="2xx"}"#).await, 3.0);
    assert_eq!(metric(&target, r#"http_requests_total{route="/items/{id}",status="4xx"}"#).await, 1.0);
    assert_eq!(metric(&target, "http_probe_requests_total").await, 4.0);
    assert_eq!(metric(&target, "cache_misses_total").await, 1.0);
    assert_eq!(metric(&target, "cache_hits_total").await, 6.0);
    assert_eq!(metric(&target, "http_requests_in_flight").await, 0.0);
    assert!(metric(&target, "process_resident_memory_bytes").await > 1e6);
    assert!(metric(&target, "process_cpu_seconds_total").await > 0.0);
}

#[tokio::test]
async fn knobs_need_the_token_and_sensible_values() {
    let target = start(Options::default());
    assert_eq!(get(&target, "/admin/knobs").await.0, 401);
    let wrong = reqwest::Client::new().get(format!("{}/admin/knobs", target.url())).bearer_auth("let me ih");
    assert_eq!(wrong.send().await.unwrap().status(), 401);

    let knobs = json!({ "latency": { "kind": "uniform", "min_ms": 1.0, "max_ms": 2.0 }, "error_rate": 0.25 });
    let (status, set) = put_knobs(&target, &knobs).await;
    assert_eq!((status, &set["error_rate"], &set["stall"]), (200, &json!(0.25), &Value::Null));
    assert_eq!(set["latency"], knobs["latency"]);

    let (status, refusal) = put_knobs(&target, &json!({ "error_rate": 2.0 })).await;
    assert_eq!(status, 422);
    assert!(refusal["error"].as_str().unwrap().contains("error_rate: 2"), "{refusal}");
    let (status, refusal) = put_knobs(&target, &json!({ "latencies": 2.0 })).await;
    assert_eq!(status, 422);
    assert!(refusal["error"].as_str().unwrap().contains("unknown field `latencies`"), "{refusal}");

    let closed = Running::start(Options::default()).unwrap();
    assert_eq!(get(&closed, "/admin/knobs").await.0, 403);
}

#[tokio::test]
async fn a_bad_version_is_rolled_out_and_back() {
    let target = start(Options::default());
    let client = reqwest::Client::new();
    let url = |name: &str| format!("{}/admin/versions/{name}", target.url());
    let bad = client.put(url("2")).json(&json!({ "error_rate": 1.0 }));
    assert_eq!(bad.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(bad.bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    assert_eq!(
        (get(&target, "/items/1").await.0, get(&target, "/version").await.1["version"].clone()),
        (500, json!("2"))
    );

    let unknown = client.post(url("0")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.unwrap().contains("there are: 1, 2"));
    assert_eq!(client.post(url("1")).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    assert_eq!(
        (get(&target, "/items/1").await.0, get(&target, "/version").await.1["version"].clone()),
        (200, json!("1"))
    );

    let wrong = client.put(url("3")).bearer_auth(TOKEN).json(&json!({ "error_rate": 3.0 }));
    assert_eq!(wrong.send().await.unwrap().status(), 422);
    let kept = client.get(url("")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(kept.status(), 404, "a version has a name");
    let kept =
        client.get(format!("{}/admin/versions", target.url())).bearer_auth(TOKEN).send().await.unwrap();
    let kept: Value = kept.json().await.unwrap();
    assert_eq!((&kept["active"], &kept["kept"][1]["knobs"]["error_rate"]), (&json!("1"), &json!(1.0)));
}

#[tokio::test]
async fn failures_open_the_breaker_and_probes_close_it() {
    let breaker = breaker::Settings { open_for: Duration::from_millis(300), ..breaker::Settings::default() };
    let target = start(Options { breaker, ..with(json!({ "error_rate": 1.0 })) });
    for _ in 0..5 {
        assert_eq!(get(&target, "/items/1").await.0, 500);
    }
    let refused = reqwest::get(format!("{}/items/1", target.url())).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(metric(&target, "circuit_breaker_opened_total").await, 1.0);

    put_knobs(&target, &json!({})).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(&target, "/items/1").await.0 != 200 {
        assert!(Instant::now() < deadline, "the breaker never let a probe through");
    }
    get(&target, "/items/1").await;
    get(&target, "/items/1").await;
    assert_eq!(metric(&target, "circuit_breaker_closed_total").await, 1.0);
    assert_eq!(metric(&target, "circuit_breaker_state").await, 0.0);
}

#[tokio::test]
async fn latency_and_stalls_hold_answers_back() {
    let target = start(with(json!({ "latency": { "kind": "fixed", "ms": 1_100.0 } })));
    let begin = Instant::now();
    get(&target, "/items/1").await;
    assert!(begin.elapsed() >= Duration::from_millis(1_100));

    put_knobs(&target, &json!({ "stall": { "for_ms": 1_500 } })).await;
    let begin = Instant::now();
    let (item, health) = tokio::join!(get(&target, "/items/1"), get(&target, "/health"));
    assert_eq!((item.0, health.0), (200, 200));
    assert!(begin.elapsed() >= Duration::from_millis(1_200), "answered after {:?}", begin.elapsed());
}

#[tokio::test]
async fn memory_that_is_in_use_for_nothing_is_resident_until_it_is_given_back() {
    let target = start(Options::default());
    let resident = async || metric(&target, "process_resident_memory_bytes").await;
    let before = resident().await;
    let (status, refusal) = put_knobs(&target, &json!({ "memory_mib": 20_000 })).await;
    assert!(status == 422 && refusal["error"].as_str().unwrap().contains("memory_mib: 20000"), "{refusal}");
    let (status, set) = put_knobs(&target, &json!({ "memory_mib": 300 })).await;
    assert_eq!((status, &set["memory_mib"]), (200, &json!(300)));
    // Tests beside this one in the process use and free some, too.
    let held = resident().await;
    assert!(held > before + 200e6, "{before} and then {held}");
    put_knobs(&target, &json!({})).await;
    let after = resident().await;
    assert!(after < held - 200e6, "{held} and then {after}");
}

#[tokio::test]
async fn the_access_log_has_one_line_for_each_request_that_is_no_probe() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let target = start(Options { access_log: Some(path.clone()), ..Options::default() });
    let client = reqwest::Client::new();
    let url = target.url();
    for (path, arrival) in [("/items/1", "7"), ("/search?q=a%20b", "1099511627776")] {
        client.get(format!("{url}{path}")).header("x-gauntlet-arrival", arrival).send().await.unwrap();
    }
    client.get(format!("{url}/nowhere")).send().await.unwrap();
    client.get(format!("{url}/items/2")).header("user-agent", "gauntlet-probe/9").send().await.unwrap();
    client.get(format!("{url}/metrics")).send().await.unwrap();
    let flushed = client.get(format!("{url}/admin/flush")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(flushed.json::<Value>().await.unwrap(), json!({ "lost": 0 }));

    let lines = Line::read_all(&path).unwrap();
    let seen: Vec<_> = lines.iter().map(|l| (l.path.as_str(), l.status, l.arrival)).collect();
    let expected =
        [("/items/1", 200, Some(7)), ("/search?q=a%20b", 200, Some(1 << 40)), ("/nowhere", 404, None)];
    assert_eq!(seen, expected);
    assert!(
        lines.iter().all(|l| l.arrival_mono_ns <= l.answer_mono_ns && l.arrival_unix_ns <= l.answer_unix_ns)
    );
    assert!(lines.windows(2).all(|pair| pair[0].answer_mono_ns <= pair[1].arrival_mono_ns));
}

#[tokio::test]
async fn a_client_that_goes_away_is_logged_and_not_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let knobs: Knobs =
        serde_json::from_value(json!({ "latency": { "kind": "fixed", "ms": 60_000.0 } })).unwrap();
    let target = start(Options { access_log: Some(path.clone()), knobs, ..Options::default() });
    let client = reqwest::Client::builder().timeout(Duration::from_millis(1_000)).build().unwrap();
    client.get(format!("{}/items/1", target.url())).send().await.unwrap_err();
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(&target, "http_requests_in_flight").await > 0.0 {
        assert!(Instant::now() < deadline, "the request is in flight for ever");
    }
    target.stop().unwrap();
    let lines = Line::read_all(&path).unwrap();
    assert_eq!(lines.iter().map(|line| line.status).collect::<Vec<_>>(), [499]);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let target = start(Options::default());
    let error =
        Running::start(Options { port: target.address().port(), ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains(&format!("port {}", target.address().port())), "{error}");
}
