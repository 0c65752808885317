//! What toxics do to real sockets, where a paused clock shows nothing: resets, closed ports, seeds.

use std::io::ErrorKind;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program};
use crate::upstream::{Upstream, pattern};

/// All that comes until the end.
pub(crate) async fn read_all(address: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut socket = TcpStream::connect(address).await.unwrap();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut all)).await.unwrap().unwrap();
    all
}

/// Sends a byte and waits for what becomes of it.
async fn outcome(socket: &mut TcpStream) -> Result<usize, ErrorKind> {
    socket.write_all(b"x").await.unwrap();
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 1])).await.unwrap();
    read.map_err(|error| error.kind())
}

#[tokio::test]
async fn reset_peer_resets_what_is_opened_later_and_closes_what_was_open() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut before = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(outcome(&mut before).await, Ok(1));
    program.toxic("shop", "reset_peer", "downstream", json!({"timeout": 20})).await;
    assert_eq!(outcome(&mut before).await, Ok(0));
    let mut after = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(outcome(&mut after).await, Err(ErrorKind::ConnectionReset));
    program.wait_for("/proxies/shop/reset", |reset| reset == 1).await;
}

#[tokio::test]
async fn reset_peer_resets_established_connections_when_told_to() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(outcome(&mut socket).await, Ok(1));
    program.toxic("shop", "reset_peer", "upstream", json!({"established": true})).await;
    assert_eq!(outcome(&mut socket).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn limit_data_closes_after_its_bytes() {
    let (program, upstream) = (Program::start(&[]), Upstream::sending(100_000).await);
    let listen = program.proxy("shop", &upstream.address).await;
    program.toxic("shop", "limit_data", "downstream", json!({"bytes": 70_000})).await;
    assert!(read_all(&listen).await == pattern(70_000));
}

#[tokio::test]
async fn disabling_closes_connections_and_a_dead_upstream_closes_clients() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(outcome(&mut socket).await, Ok(1));
    program.post("/proxies/shop", json!({"enabled": false})).await;
    assert_eq!(tokio::time::timeout(PATIENCE, socket.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    // A port that was just given back: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let changed = program.post("/proxies/shop", json!({"upstream": free, "enabled": true})).await;
    assert_eq!(changed["listen"], json!(listen));
    assert!(read_all(&listen).await.is_empty());
    program.wait_for("/proxies/shop/unreachable", |closed| closed == 1).await;
}

/// Which of 40 connections, opened one after the other, a toxic of toxicity 0.5 hits.
async fn hit(seed: &str) -> Vec<bool> {
    let (program, upstream) = (Program::start(&["--seed", seed]), Upstream::sending(10).await);
    let listen = program.proxy("shop", &upstream.address).await;
    let toxic = json!({"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 5}});
    program.post("/proxies/shop/toxics", toxic).await;
    let mut hit = Vec::new();
    for _ in 0..40 {
        hit.push(read_all(&listen).await.len() == 5);
    }
    hit
}

#[tokio::test]
async fn the_seed_decides_which_connections_are_hit() {
    let (first, again, other) = tokio::join!(hit("1"), hit("1"), hit("2"));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let count = first.iter().filter(|hit| **hit).count();
    assert!((8..=32).contains(&count), "{count} of 40");
}

#[tokio::test]
async fn both_limits_each_direction() {
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    program.toxic("shop", "bandwidth", "both", json!({"rate": 1_000_000})).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(outcome(&mut socket).await, Ok(1));
    program.wait_for("/proxies/shop/toxics/bandwidth_both/links", |links| links == 2).await;
    assert_eq!(program.answer(Method::DELETE, "/proxies/shop/toxics/bandwidth_both", None).await.0, 204);
    assert_eq!(outcome(&mut socket).await, Ok(1));
}

/// Without a toxic the kernel moves what is much; with one, every byte passes it; neither loses or doubles any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_passes_whole_while_toxics_come_and_go() {
    const BYTES: usize = 96 << 20;
    let (program, upstream) = (Program::start(&[]), Upstream::sending(BYTES).await);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut socket = TcpStream::connect(&listen).await.unwrap();
    let (expected, mut received, mut buffer) = (pattern(BYTES), 0, vec![0; 256 << 10]);
    let mut cut = 0;
    for turn in 1..=12 {
        while received < BYTES * turn / 12 {
            let read = tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "ended after {received}");
            assert!(
                buffer[..read] == expected[received..received + read],
                "within {read} bytes after {received}"
            );
            received += read;
        }
        let (toxics, slices) = ("/proxies/shop/toxics", "/proxies/shop/toxics/slicer_downstream");
        if turn % 2 == 1 {
            program
                .toxic("shop", "slicer", "downstream", json!({"average_size": 9_000, "size_variation": 500}))
                .await;
            let (_, all) = program.answer(Method::GET, toxics, None).await;
            assert_eq!(all.as_array().map(Vec::len), Some(1));
        } else {
            let (_, counters) = program.answer(Method::GET, "/counters", None).await;
            let effects = counters.pointer("/proxies/shop/toxics/slicer_downstream/effects");
            cut += effects.and_then(Value::as_u64).unwrap();
            assert_eq!(program.answer(Method::DELETE, slices, None).await.0, 204);
        }
    }
    assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
    assert!(cut > 0, "no toxic was at work");
}
