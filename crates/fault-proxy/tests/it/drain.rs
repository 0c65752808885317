//! A toxic is removed while many connections still hold what it held back, some of them with a client that takes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::program::{MANY_FILES, PATIENCE, Program};
use crate::upstream::{Upstream, pattern};

const CONNECTIONS: usize = 1_000;
const BYTES: usize = 96 << 10;
/// What no socket's buffers hold.
const MANY_BYTES: usize = 24 << 20;

/// What a call of the API may take on a machine that does much else; were it to wait for a client, it would never end.
const AT_ONCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_a_toxic_neither_blocks_the_api_nor_loses_bytes() {
    let _turn = MANY_FILES.lock().await;
    let program = Program::start(&[]);
    let (few, many) = (Upstream::sending(BYTES).await, Upstream::sending(MANY_BYTES).await);
    let (few, many) = (program.proxy("few", &few.address).await, program.proxy("many", &many.address).await);
    for proxy in ["few", "many"] {
        program.toxic(proxy, "latency", "downstream", json!({"latency": 3_600_000})).await;
    }
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        clients.push(TcpStream::connect(&few).await.unwrap());
    }
    let mut stubborn =
        vec![TcpStream::connect(&many).await.unwrap(), TcpStream::connect(&many).await.unwrap()];
    // All of it is held, by the proxy or before it: nothing has come out.
    program
        .wait_for("/proxies/few/downstream/received_bytes", |bytes| bytes >= (CONNECTIONS * BYTES) as u64)
        .await;
    program.wait_for("/proxies/many/downstream/received_bytes", |bytes| bytes >= 4 << 20).await;

    let start = Instant::now();
    for path in ["/proxies/few/toxics/latency_downstream", "/proxies/many/toxics/latency_downstream"] {
        assert_eq!(program.answer(Method::DELETE, path, None).await.0, 204);
    }
    // Nobody has read a byte yet, and the API answers.
    for path in ["/proxies", "/proxies/few/toxics", "/counters", "/version"] {
        assert_eq!(program.answer(Method::GET, path, None).await.0, 200);
    }
    program.toxic("many", "slicer", "downstream", json!({"average_size": 10_000})).await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());

    let expected = Arc::new(pattern(MANY_BYTES));
    for (index, client) in clients.iter_mut().enumerate() {
        let mut all = Vec::with_capacity(BYTES);
        tokio::time::timeout(PATIENCE, client.read_to_end(&mut all)).await.unwrap().unwrap();
        assert!(all == expected[..BYTES], "connection {index}: {} bytes", all.len());
    }
    for client in &mut stubborn {
        let mut all = Vec::with_capacity(MANY_BYTES);
        tokio::time::timeout(PATIENCE, client.read_to_end(&mut all)).await.unwrap().unwrap();
        assert!(all == *expected, "{} bytes", all.len());
    }
}
