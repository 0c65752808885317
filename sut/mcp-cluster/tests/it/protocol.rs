//! The protocol in each revision that the SDK speaks, who is let in, and TLS.

use mcp_cluster::{Kind, Options, Running, Tls};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::client::{ask, call, messages, request};

fn start(options: Options) -> Running {
    Running::start(options).unwrap()
}

fn scanner() -> Options {
    Options { kind: Kind::SecurityScanner, ..Options::default() }
}

/// A request of a revision that knows sessions.
pub(crate) async fn legacy(
    url: &str,
    revision: &str,
    session: Option<&str>,
    body: Value,
) -> reqwest::Response {
    let mut request = reqwest::Client::new()
        .post(format!("{url}/mcp"))
        .header("accept", "application/json, text/event-stream")
        .json(&body);
    if let Some(session) = session {
        request = request.header("mcp-session-id", session).header("mcp-protocol-version", revision);
    }
    request.send().await.unwrap()
}

pub(crate) fn initialize(revision: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": revision, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } })
}

#[tokio::test]
async fn every_revision_with_sessions_is_spoken() {
    let server = start(scanner());
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let opened = legacy(&server.url(), revision, None, initialize(revision)).await;
        let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let answer = messages(opened).await.pop().unwrap();
        assert_eq!(answer["result"]["protocolVersion"], revision, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "us-east-1-security_scanner");
        let notified = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = legacy(&server.url(), revision, Some(&session), notified).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let ask = async |id: u64, method: &str, params: Value| {
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            messages(legacy(&server.url(), revision, Some(&session), body).await).await.pop().unwrap()
        };
        let scan = json!({ "name": "scan_text", "arguments": { "text": "password = \"hunter2\"" } });
        let answer = ask(2, "tools/call", scan).await;
        assert_eq!(answer["result"]["structuredContent"]["findings"][0]["rule"], "password", "{answer}");
        let unknown = ask(3, "tools/call", json!({ "name": "nope", "arguments": {} })).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        let missing = ask(4, "resources/read", json!({ "uri": "source://shop/x" })).await;
        assert_eq!(missing["error"]["code"], -32002, "{missing}");
        let prompt =
            ask(5, "prompts/get", json!({ "name": "review", "arguments": { "repository": "shop" } })).await;
        assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("shop"));
    }
}

#[tokio::test]
async fn the_revision_without_sessions_is_spoken() {
    let server = start(scanner());
    let url = server.url();
    let discovered = ask(&url, "server/discover", json!({})).await;
    assert!(discovered["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")));
    let unknown = ask(&url, "tools/call", json!({ "name": "nope", "arguments": {} })).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let missing = ask(&url, "resources/read", json!({ "uri": "source://shop/x" })).await;
    assert_eq!(missing["error"]["code"], -32602, "{missing}");
    let wrong = ask(&url, "tools/list", json!({ "cursor": "7" })).await;
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    let listed = ask(&url, "resources/list", json!({})).await;
    assert_eq!(listed["result"]["resources"][0]["uri"], "cluster://members");
    assert!(listed["result"]["ttlMs"].is_u64(), "{listed}");
}

#[tokio::test]
async fn only_who_has_the_token_is_let_in() {
    let server = start(Options { bearer: Some("good".into()), ..scanner() });
    let url = server.url();
    let ask = |token: Option<&str>| {
        let request = request(&url, "tools/list", json!({}));
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        async move { request.send().await.unwrap() }
    };
    assert_eq!(ask(Some("good")).await.status(), StatusCode::OK);
    for (token, error) in [(None, false), (Some("bad"), true)] {
        let refused = ask(token).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let metadata = challenge.split('"').nth(1).unwrap();
        assert_eq!(challenge.contains("invalid_token"), error, "{challenge}");
        let described: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
        assert_eq!(described["resource"], format!("{url}/mcp"));
    }
    // Health, metrics and admin have rules of their own.
    assert_eq!(reqwest::get(format!("{url}/health")).await.unwrap().status(), StatusCode::OK);
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.contains("mcp_unauthorised_total 2"), "{text}");
}

#[tokio::test]
async fn pages_of_browsers_and_other_hosts_are_refused() {
    let server = start(scanner());
    for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let refused =
            request(&server.url(), "tools/list", json!({})).header(name, value).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{name}");
    }
}

#[tokio::test]
async fn sessions_are_limited_and_the_refused_are_counted() {
    let server = start(Options { max_sessions: 2, ..scanner() });
    let revision = "2025-11-25";
    for _ in 0..2 {
        let opened = legacy(&server.url(), revision, None, initialize(revision)).await;
        assert_eq!(opened.status(), StatusCode::OK);
    }
    let refused = legacy(&server.url(), revision, None, initialize(revision)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Whoever needs none is served.
    call(&server.url(), "scan_text", json!({ "text": "" })).await.unwrap();
    let text = reqwest::get(format!("{}/metrics", server.url())).await.unwrap().text().await.unwrap();
    assert!(text.contains("mcp_sessions_refused_total 1\n"), "{text}");
}

#[tokio::test]
async fn without_sessions_every_request_is_by_itself() {
    let server = start(Options { sessions: false, ..scanner() });
    let opened = legacy(&server.url(), "2025-11-25", None, initialize("2025-11-25")).await;
    assert!(opened.headers().get("mcp-session-id").is_none());
}

#[tokio::test]
async fn it_speaks_tls_and_waits_for_no_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let identity =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, identity.cert.pem()).unwrap();
    std::fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let server = start(Options { tls: Some(Tls { certificate, key }), ..scanner() });
    // Somebody who says nothing holds nobody up.
    let _silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ok\""), "{answer}");
}

#[test]
fn a_key_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, "").unwrap();
    let tls = Some(Tls { certificate, key });
    let error = Running::start(Options { tls, ..scanner() }).err().unwrap();
    assert!(error.to_string().contains("key.pem"), "{error}");
}
