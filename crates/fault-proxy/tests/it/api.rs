//! Every call: status, content type and body, the wrong ones included.

use reqwest::Method;
use serde_json::{Value, json};

use crate::program::Program;
use crate::upstream::Upstream;

const TOXIC: &str = "/proxies/shop/toxics/latency_downstream";

async fn wrong(program: &Program, method: Method, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}{path}", program.url);
    let response = reqwest::Client::new().request(method, url).body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8", "{path} {body}");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("}\n"), "{text:?}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status, "{body}");
    (status, body["error"].clone())
}

#[tokio::test]
async fn proxies() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    assert_eq!(program.answer(Method::GET, "/proxies", None).await, (200, json!({})));
    let shop = json!({"name": "shop", "listen": "127.0.0.1:0", "upstream": upstream.address});
    let (status, made) = program.answer(Method::POST, "/proxies", Some(&shop)).await;
    let listen = made["listen"].as_str().unwrap().to_owned();
    assert!(!listen.ends_with(":0"), "{listen}");
    let expected = json!({"name": "shop", "listen": listen, "upstream": upstream.address, "enabled": true, "toxics": []});
    assert_eq!((status, &made), (201, &expected));
    assert_eq!(program.answer(Method::GET, "/proxies", None).await, (200, json!({"shop": expected})));
    assert_eq!(program.answer(Method::GET, "/proxies/shop", None).await, (200, expected.clone()));

    for method in [Method::POST, Method::PATCH] {
        let off = program.answer(method.clone(), "/proxies/shop", Some(&json!({"enabled": false}))).await;
        assert_eq!((off.0, &off.1["enabled"]), (200, &json!(false)));
        assert!(tokio::net::TcpStream::connect(&listen).await.is_err());
        let on = program.answer(method, "/proxies/shop", Some(&json!({"enabled": true}))).await;
        assert_eq!(on, (200, expected.clone()), "on the same port");
    }
    assert_eq!(program.answer(Method::DELETE, "/proxies/shop", None).await, (204, json!("")));
    assert_eq!(program.answer(Method::GET, "/proxies", None).await, (200, json!({})));
}

#[tokio::test]
async fn toxics() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    program.proxy("shop", &upstream.address).await;
    let latency = json!({"attributes": {"latency": 100, "jitter": 0}, "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1.0});
    let path = "/proxies/shop/toxics";
    let slow = json!({"type": "latency", "attributes": {"latency": 100}});
    assert_eq!(program.answer(Method::POST, path, Some(&slow)).await, (200, latency.clone()));
    assert_eq!(program.answer(Method::GET, TOXIC, None).await, (200, latency.clone()));
    let limit = json!({"type": "limit_data", "name": "cap", "stream": "UPSTREAM", "toxicity": 0.5, "attributes": {"bytes": 9}});
    let cap = program.post(path, limit).await;
    assert_eq!(
        cap,
        json!({"attributes": {"bytes": 9}, "name": "cap", "type": "limit_data", "stream": "upstream", "toxicity": 0.5})
    );
    assert_eq!(
        program.answer(Method::GET, path, None).await,
        (200, json!([cap, latency])),
        "the upstream's first"
    );

    for (method, jitter) in [(Method::POST, 3), (Method::PATCH, 4)] {
        // Type, stream and name stay, whatever is sent.
        let change = json!({"name": "x", "type": "timeout", "stream": "upstream", "toxicity": 0.25, "attributes": {"jitter": jitter}});
        let (status, changed) = program.answer(method, TOXIC, Some(&change)).await;
        let mut expected = latency.clone();
        expected["toxicity"] = json!(0.25);
        expected["attributes"]["jitter"] = json!(jitter);
        assert_eq!((status, changed), (200, expected));
    }
    assert_eq!(program.answer(Method::DELETE, TOXIC, None).await, (204, json!("")));
    program.post("/proxies/shop", json!({"enabled": false})).await;
    assert_eq!(program.answer(Method::POST, "/reset", None).await, (204, json!("")));
    let (_, shop) = program.answer(Method::GET, "/proxies/shop", None).await;
    assert_eq!((&shop["enabled"], &shop["toxics"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn mistakes() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    program.proxy("shop", &upstream.address).await;
    program.toxic("shop", "latency", "downstream", json!({})).await;
    let toxics = "/proxies/shop/toxics";
    let cases = [
        (Method::POST, "/proxies", "{", 400, "bad request body: "),
        (Method::POST, "/proxies", "{}", 400, "missing required field: name"),
        (Method::POST, "/proxies", r#"{"name":"a"}"#, 400, "missing required field: upstream"),
        (
            Method::POST,
            "/proxies",
            r#"{"name":"shop","upstream":"127.0.0.1:1"}"#,
            409,
            "proxy already exists",
        ),
        (
            Method::POST,
            "/proxies",
            r#"{"name":"a","upstream":"127.0.0.1:1","listen":"127.0.0.1:99999"}"#,
            500,
            "listen 127.0.0.1:99999",
        ),
        (
            Method::POST,
            "/proxies",
            r#"{"name":"a","upstream":"127.0.0.1:1","listen":"0.0.0.0:0"}"#,
            403,
            "listen: found 0.0.0.0:0, expected a loopback address",
        ),
        (Method::GET, "/proxies/none", "", 404, "proxy not found"),
        (Method::POST, "/proxies/none", "{", 404, "proxy not found"),
        (Method::PATCH, "/proxies/shop", "{", 400, "bad request body: "),
        (Method::DELETE, "/proxies/none", "", 404, "proxy not found"),
        (Method::GET, "/proxies/none/toxics", "", 404, "proxy not found"),
        (Method::POST, "/proxies/none/toxics", "{}", 404, "proxy not found"),
        (Method::POST, toxics, "", 400, "bad request body: "),
        (
            Method::POST,
            toxics,
            r#"{"type":"latency","stream":"sideways"}"#,
            400,
            "stream was invalid, can be either upstream or downstream",
        ),
        (Method::POST, toxics, r#"{"type":"laten"}"#, 400, "invalid toxic type"),
        (Method::POST, toxics, r#"{"type":"latency"}"#, 409, "toxic already exists"),
        (
            Method::POST,
            toxics,
            r#"{"type":"latency","name":"latency_downstream","stream":"upstream"}"#,
            409,
            "toxic already exists",
        ),
        (
            Method::POST,
            toxics,
            r#"{"type":"latency","name":"b","attributes":{"latency":"1s"}}"#,
            400,
            "bad request body: attributes.latency: found \"1s\"",
        ),
        (
            Method::POST,
            toxics,
            r#"{"type":"latency","name":"b","toxicity":2}"#,
            400,
            "bad request body: toxicity: found 2",
        ),
        (Method::GET, "/proxies/shop/toxics/none", "", 404, "toxic not found"),
        (Method::POST, "/proxies/shop/toxics/none", "{}", 404, "toxic not found"),
        (Method::PATCH, TOXIC, "[", 400, "bad request body: "),
        (
            Method::PATCH,
            TOXIC,
            r#"{"attributes":{"latency":-1}}"#,
            400,
            "bad request body: attributes.latency: found -1",
        ),
        (Method::DELETE, "/proxies/shop/toxics/none", "", 404, "toxic not found"),
    ];
    for (method, path, body, status, error) in cases {
        let (was, said) = wrong(&program, method, path, body).await;
        assert!(was == status && said.as_str().unwrap().starts_with(error), "{path} {body}: {was} {said}");
    }
    let (_, shop) = program.answer(Method::GET, "/proxies", None).await;
    assert_eq!(
        shop["shop"]["toxics"][0]["attributes"],
        json!({"latency": 0, "jitter": 0}),
        "nothing has changed"
    );
    assert_eq!(shop.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn populate() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let address = &upstream.address;
    let one = json!({"name": "one", "upstream": address, "toxics": [{"type": "latency", "attributes": {"latency": 5}}]});
    let two = json!({"name": "two", "upstream": address, "enabled": false});
    let (status, answer) = program.answer(Method::POST, "/populate", Some(&json!([one, two]))).await;
    assert_eq!(status, 201, "{answer}");
    let proxies = answer["proxies"].as_array().unwrap();
    assert_eq!(
        (&proxies[0]["toxics"][0]["name"], &proxies[1]["enabled"]),
        (&json!("latency_downstream"), &json!(false))
    );
    assert_eq!(answer.as_object().unwrap().len(), 1);

    // The same again leaves it alone; its toxics are kept where none are given, else they are those that are given.
    let same = json!({"name": "one", "listen": proxies[0]["listen"], "upstream": address});
    let answer = program.post("/populate", json!([same])).await;
    assert_eq!(answer["proxies"][0], proxies[0]);
    let mut other = same.clone();
    other["toxics"] = json!([{"type": "bandwidth", "stream": "both", "attributes": {"rate": 7}}]);
    let answer = program.post("/populate", json!({"proxies": [other]})).await;
    assert_eq!(answer["proxies"][0]["toxics"][0]["name"], "bandwidth_both");
    assert_eq!(answer["proxies"][0]["listen"], proxies[0]["listen"]);
    // Another upstream makes it another proxy.
    let mut moved = same.clone();
    moved["upstream"] = json!("127.0.0.1:1");
    let answer = program.post("/populate", json!([moved])).await;
    assert_eq!(answer["proxies"][0]["toxics"], json!([]));

    let (status, answer) = program
        .answer(
            Method::POST,
            "/populate",
            Some(&json!([{"name": "three", "upstream": address}, {"name": "four"}])),
        )
        .await;
    let expected =
        json!({"error": "missing required field: upstream at proxy 2", "status": 400, "proxies": []});
    assert_eq!((status, answer), (400, expected));
    let (status, answer) = program.answer(Method::POST, "/populate", Some(&json!([{"name": "three", "upstream": address}, {"name": "four", "listen": "127.0.0.1:99999", "upstream": address}]))).await;
    assert_eq!((status, answer["proxies"].as_array().unwrap().len()), (500, 1), "{answer}");
    let bad = json!([{"name": "five", "upstream": address, "toxics": [{"type": "latency", "attributes": {"latency": -5}}]}]);
    let (status, answer) = program.answer(Method::POST, "/populate", Some(&bad)).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("found -5"), "{answer}");
    assert_eq!(program.answer(Method::GET, "/proxies/five", None).await.0, 404);
}

#[tokio::test]
async fn version_paths_browsers_and_names() {
    let program = Program::start(&[]);
    let response = program.ask(Method::GET, "/version", None).await;
    assert_eq!(response.headers()["content-type"], "application/json;charset=utf-8");
    assert_eq!(response.text().await.unwrap(), "{\"version\": \"2.12.0\"}\n");
    let (status, text) = program.answer(Method::GET, "/nothing", None).await;
    assert_eq!((status, text), (404, json!("404 page not found\n")));
    assert_eq!(program.answer(Method::PUT, "/proxies", None).await, (405, json!("")));
    let with = async |name: &str, value: &str| {
        let request = reqwest::Client::new().get(format!("{}/version", program.url)).header(name, value);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(with("user-agent", "Mozilla/5.0 (X11)").await, (403, "User agent not allowed\n".to_owned()));
    assert_eq!(with("host", "shop.example").await.0, 403);
    assert_eq!(with("host", "localhost:1").await.0, 200);
}

#[tokio::test]
async fn counters_and_metrics() {
    let (program, upstream) = (Program::start(&[]), Upstream::sending(1_000).await);
    let listen = program.proxy("shop", &upstream.address).await;
    program.toxic("shop", "latency", "downstream", json!({"latency": 1})).await;
    crate::toxics::read_all(&listen).await;
    program.wait_for("/proxies/shop/open", |open| open == 0).await;
    let (_, counters) = program.answer(Method::GET, "/counters", None).await;
    let shop = &counters["proxies"]["shop"];
    assert_eq!(
        (&shop["connections"], &shop["downstream"]["sent_bytes"]),
        (&json!(1), &json!(1_000)),
        "{counters}"
    );
    assert_eq!(
        (&shop["toxics"]["latency_downstream"]["links"], &counters["held_bytes"]),
        (&json!(1), &json!(0))
    );
    assert!(shop["toxics"]["latency_downstream"]["effects"].as_u64().unwrap() >= 1);
    let (_, metrics) = program.answer(Method::GET, "/metrics", None).await;
    let line = format!(
        "toxiproxy_proxy_sent_bytes_total{{direction=\"downstream\",listener=\"{listen}\",proxy=\"shop\",upstream=\"{}\"}} 1000",
        upstream.address
    );
    assert!(metrics.as_str().unwrap().lines().any(|found| found == line), "{line} in {metrics}");
}
