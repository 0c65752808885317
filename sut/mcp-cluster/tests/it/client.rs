//! A client of the protocol's newest revision, in which each request is by itself.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until something is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A request of the newest revision.
pub(crate) fn request(url: &str, method: &str, params: Value) -> RequestBuilder {
    let mut params = params;
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let name =
        params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str).map(ToOwned::to_owned);
    let mut request = reqwest::Client::new()
        .post(format!("{url}/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    request.json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
}

/// All messages of an answer, as JSON or as a stream of events.
pub(crate) async fn messages(response: Response) -> Vec<Value> {
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    if kind.starts_with("application/json") {
        return vec![serde_json::from_str(&text).unwrap()];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The last message of an answer: the result or the error.
pub(crate) async fn ask(url: &str, method: &str, params: Value) -> Value {
    let response = request(url, method, params).send().await.unwrap();
    messages(response).await.pop().unwrap()
}

/// The result of a tool call.
pub(crate) async fn call(url: &str, tool: &str, arguments: Value) -> Result<Value, String> {
    let answer = ask(url, "tools/call", json!({ "name": tool, "arguments": arguments })).await;
    result(&answer)
}

/// What an answer has of a tool call.
pub(crate) fn result(answer: &Value) -> Result<Value, String> {
    let result = &answer["result"];
    match result["isError"].as_bool() {
        Some(false) => {
            // Clients that know no structure read the same as text.
            let text = result["content"][0]["text"].as_str().unwrap();
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
            Ok(result["structuredContent"].clone())
        }
        Some(true) => Err(result["content"][0]["text"].as_str().unwrap().to_owned()),
        None => panic!("neither a result nor an error of the tool: {answer}"),
    }
}

/// What an admin endpoint says.
pub(crate) async fn admin(url: &str, path: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{url}/admin/{path}")).bearer_auth("secret");
    request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// Puts something at an admin endpoint, which takes it.
pub(crate) async fn admin_put(url: &str, path: &str, body: &Value) {
    let request = reqwest::Client::new().put(format!("{url}/admin/{path}")).bearer_auth("secret").json(body);
    let response = request.send().await.unwrap();
    let status = response.status();
    assert!(status.is_success(), "{status}: {}", response.text().await.unwrap());
}

/// Waits until a server can be counted on.
pub(crate) async fn ready(url: &str) {
    eventually(&format!("{url} is ready"), async || {
        let response = reqwest::get(format!("{url}/ready")).await.ok()?;
        response.status().is_success().then_some(())
    })
    .await;
}
