//! Times on real sockets, with room for a busy machine: the lower bound is exact, the upper one only tells a fault from
//! none. The bench prints the figures, and the paused clock of the unit tests knows them to the millisecond.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program};
use crate::upstream::Upstream;

/// How long it takes until `bytes` have come back, or the end has.
async fn took(type_name: &str, attributes: Value, bytes: usize) -> Duration {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    program.toxic("shop", type_name, "downstream", attributes).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    let start = Instant::now();
    socket.write_all(&vec![1; bytes]).await.unwrap();
    let (mut buffer, mut received) = (vec![0; 64 << 10], 0);
    while received < bytes {
        match tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap() {
            0 => break,
            more => received += more,
        }
    }
    start.elapsed()
}

fn about(took: Duration, millis: u64) {
    let least = Duration::from_millis(millis);
    assert!(took >= least && took < least + Duration::from_secs(2), "{took:?} for {least:?}");
}

#[tokio::test]
async fn latency() {
    about(took("latency", json!({"latency": 300}), 10).await, 300);
}

#[tokio::test]
async fn jitter_stays_within_its_bounds() {
    about(took("latency", json!({"latency": 300, "jitter": 50}), 10).await, 250);
}

#[tokio::test]
async fn bandwidth() {
    // 100 000 bytes at 200 000 a second.
    about(took("bandwidth", json!({"rate": 200}), 100_000).await, 500);
}

#[tokio::test]
async fn timeout() {
    about(took("timeout", json!({"timeout": 300}), 10).await, 300);
}
