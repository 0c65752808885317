//! Settings, tokens, signals.

use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program, refused};
use crate::upstream::{Upstream, pattern};

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

#[tokio::test]
async fn a_signal_lets_connections_end_and_a_second_one_does_not() {
    let upstream = Upstream::sending(1_000).await;
    for patient in [true, false] {
        let mut program = Program::start(&["--grace", "60000"]);
        let listen = program.proxy("shop", &upstream.address).await;
        let delay = if patient { 1_500 } else { 3_600_000 };
        program.toxic("shop", "latency", "downstream", json!({"latency": delay})).await;
        let mut client = TcpStream::connect(&listen).await.unwrap();
        program.wait_for("/proxies/shop/downstream/received_bytes", |bytes| bytes == 1_000).await;
        program.signal(Signal::TERM);
        // The listener goes at once.
        let is_closed = async { while TcpStream::connect(&listen).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, is_closed).await.unwrap();
        if !patient {
            program.signal(Signal::INT);
        }
        let mut all = Vec::new();
        let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut all)).await.unwrap();
        drop(client);
        if patient {
            assert!(read.is_ok() && all == pattern(1_000), "{read:?}, {} bytes", all.len());
        } else {
            assert!(all.is_empty());
        }
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[tokio::test]
async fn the_grace_is_bounded() {
    let upstream = Upstream::echo().await;
    let mut program = Program::start(&["--grace", "100"]);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut client = TcpStream::connect(&listen).await.unwrap();
    program.wait_for("/proxies/shop/open", |open| open == 1).await;
    program.signal(Signal::INT);
    let end = tokio::time::timeout(PATIENCE, client.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
    assert_eq!(program.wait().code(), Some(0));
}

#[tokio::test]
async fn held_bytes_are_limited() {
    // 640 KiB, each chunk of 32 KiB 50 ms under way: all at once, or no more than two at a time.
    let upstream = Upstream::sending(640 << 10).await;
    let program = Program::start(&["--buffer-bytes", "1"]);
    let listen = program.proxy("shop", &upstream.address).await;
    program.toxic("shop", "latency", "downstream", json!({"latency": 50})).await;
    let start = std::time::Instant::now();
    assert!(crate::toxics::read_all(&listen).await == pattern(640 << 10));
    assert!(start.elapsed() >= Duration::from_millis(480), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_file_has_proxies_and_toxics() {
    let upstream = Upstream::sending(100).await;
    let proxies = json!([{"name": "shop", "listen": "127.0.0.1:0", "upstream": upstream.address,
        "toxics": [{"type": "limit_data", "attributes": {"bytes": 40}}]}]);
    let (_dir, path) = file(&proxies.to_string());
    let program = Program::start(&["--config", &path]);
    let (_, shop) = program.answer(Method::GET, "/proxies/shop", None).await;
    assert_eq!(crate::toxics::read_all(shop["listen"].as_str().unwrap()).await.len(), 40);
}

#[tokio::test]
async fn a_token_is_asked_for_and_opens_other_addresses() {
    let (_dir, path) = file("secret\n");
    let program = Program::start(&["--token-file", &path]);
    let (status, body) = program.answer(Method::GET, "/proxies", None).await;
    assert!(
        status == 401 && body["error"].as_str().unwrap().contains("Authorization: Bearer"),
        "{status} {body}"
    );
    let with = |token: &'static str| {
        let body = json!({"name": token, "listen": "0.0.0.0:0", "upstream": "127.0.0.1:1"});
        let request =
            reqwest::Client::new().post(format!("{}/proxies", program.url)).bearer_auth(token).json(&body);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((with("wrong").await, with("secret").await), (401, 201));
}

#[test]
fn wrong_settings_are_named_and_nothing_starts() {
    let (_dir, list) = file(r#"[{"name": "shop", "upstream": 5}]"#);
    let (_other, nameless) = file(r#"[{"upstream": "127.0.0.1:1"}]"#);
    let (_empty, empty) = file("\n");
    for (arguments, code, said) in [
        (vec!["--listen", "0.0.0.0:0"], 2, "--token-file"),
        (vec!["--listen", "here"], 2, "127.0.0.1:8474"),
        (vec!["--config", "/nonexistent"], 2, "config: cannot read /nonexistent"),
        (vec!["--config", &list], 2, "line 1"),
        (
            vec!["--listen", "127.0.0.1:0", "--config", &nameless],
            2,
            "missing required field: name at proxy 1",
        ),
        (vec!["--token-file", &empty], 2, "expected one line"),
        (vec!["--seed", "x"], 2, "--seed"),
        (vec!["--log", "fault_proxy=loud"], 2, "loud"),
    ] {
        let (was, text) = refused(&arguments);
        assert!(was == Some(code) && text.contains(said), "{arguments:?}: {was:?} {text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (was, text) = refused(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(was == Some(3) && text.contains("choose another port"), "{was:?} {text}");
}
