//! The `http_*` toxics between a real client and the reference target, on connections that are kept alive.

use core_services::{Options, Running};
use reqwest::{Client, Response};
use serde_json::json;

use crate::program::Program;

async fn before_target(program: &Program, target: &Running) -> String {
    let listen = program.proxy("target", &target.address().to_string()).await;
    format!("http://{listen}/items/1")
}

async fn get(client: &Client, url: &str) -> Response {
    client.get(url).send().await.unwrap()
}

#[tokio::test]
async fn a_share_of_the_answers_of_a_connection_has_another_status() {
    let (program, target) = (Program::start(&["--seed", "5"]), Running::start(Options::default()).unwrap());
    let url = before_target(&program, &target).await;
    let toxic = json!({"type": "http_status", "attributes": {"share": 0.5, "status": 429}});
    program.post("/proxies/target/toxics", toxic).await;
    let client = Client::new();
    let (mut good, mut hit) = (0, 0);
    for _ in 0..100 {
        let answer = get(&client, &url).await;
        match answer.status().as_u16() {
            200 => good += 1,
            429 => hit += 1,
            other => panic!("{other}"),
        }
        let _: serde_json::Value = answer.json().await.unwrap();
    }
    assert!((25..=75).contains(&hit), "{hit} hit, {good} good");
    program.wait_for("/proxies/target/connections", |connections| connections == 1).await;
    program.wait_for("/proxies/target/toxics/http_status_downstream/effects", |effects| effects == hit).await;
}

#[tokio::test]
async fn requests_and_answers_are_changed() {
    let (program, target) = (Program::start(&[]), Running::start(Options::default()).unwrap());
    let url = before_target(&program, &target).await;
    let client = Client::new();
    let whole = get(&client, &url).await.bytes().await.unwrap();
    program.toxic("target", "http_header", "downstream", json!({"name": "retry-after", "value": "7"})).await;
    program.toxic("target", "http_body", "downstream", json!({})).await;
    let answer = get(&client, &url).await;
    assert_eq!(answer.headers()["retry-after"], "7");
    let body = answer.bytes().await.unwrap();
    assert!(body.len() == whole.len() && body.iter().zip(&whole).all(|(is, was)| *is == was ^ 1), "{body:?}");
    program.toxic("target", "http_abort", "upstream", json!({})).await;
    assert!(client.get(&url).send().await.is_err());
}
