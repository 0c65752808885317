//! How exact the times of toxics are.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{median, say};
use crate::program::Program;
use crate::upstream::Upstream;

/// Times that each is measured.
const TURNS: usize = 15;

/// How long it takes until `bytes` have come back, or the end has, in milliseconds.
async fn took(
    program: &Program,
    upstream: &Upstream,
    type_name: &str,
    attributes: &Value,
    bytes: usize,
    turn: usize,
) -> f64 {
    // Another name, another draw.
    let name = format!("timed-{turn}");
    let listen = program.proxy(&name, &upstream.address).await;
    program.toxic(&name, type_name, "downstream", attributes.clone()).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    let start = Instant::now();
    socket.write_all(&vec![1; bytes]).await.unwrap();
    let (mut buffer, mut received) = (vec![0; 64 << 10], 0);
    while received < bytes {
        match socket.read(&mut buffer).await.unwrap() {
            0 => break,
            more => received += more,
        }
    }
    let took = start.elapsed().as_secs_f64() * 1e3;
    program.answer(reqwest::Method::DELETE, &format!("/proxies/{name}"), None).await;
    took
}

#[tokio::test]
#[ignore = "a measurement: cargo xtask bench fault-proxy"]
async fn times() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    for (type_name, attributes, bytes, from, to) in [
        ("latency", json!({"latency": 20}), 10, 20.0, 20.0),
        ("latency", json!({"latency": 200}), 10, 200.0, 200.0),
        ("latency", json!({"latency": 50, "jitter": 20}), 10, 30.0, 70.0),
        ("bandwidth", json!({"rate": 100}), 50_000, 500.0, 500.0),
        ("bandwidth", json!({"rate": 2_000}), 1_000_000, 500.0, 500.0),
        ("timeout", json!({"timeout": 200}), 10, 200.0, 200.0),
        ("slow_close", json!({"delay": 0}), 10, 0.0, 0.0),
    ] {
        let mut all = Vec::new();
        for turn in 0..TURNS {
            all.push(took(&program, &upstream, type_name, &attributes, bytes, turn).await);
        }
        let (least, most) =
            all.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
        let is_exact = |one: &&f64| **one >= from - 0.1 && **one <= to + f64::max(5.0, 0.05 * to);
        say(&format!(
            "{type_name:10} {attributes}, {bytes} bytes: expected {from} to {to} ms, median {:.1}, from {least:.1} to {most:.1}; within 5 ms or 5 %: {} of {TURNS}",
            median(all.iter().copied()),
            all.iter().filter(is_exact).count(),
        ));
    }
}
