//! On a paused clock: time goes on only when everybody waits for it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

use super::*;
use crate::toxic::{Attributes, Stream, Toxic, ToxicCounters};

/// A client and a server with a proxied connection between them.
struct Between {
    client: DuplexStream,
    server: DuplexStream,
    toxics: watch::Sender<Chain>,
}

/// Runs `test` beside a connection; how that closed, if it did.
async fn beside<F: Future<Output = ()>>(toxics: Chain, test: impl FnOnce(Between) -> F) -> Option<Closing> {
    let (client, near) = duplex(1 << 20);
    let (server, far) = duplex(1 << 20);
    let (sender, chain) = watch::channel(toxics);
    let setting = Setting {
        identity: Identity::new(1, "p", 1),
        chain,
        budget: Budget::new(1 << 20),
        upstream: Arc::default(),
        downstream: Arc::default(),
        pipes: Pipes::default(),
    };
    let mut closed = None;
    let carried = async { closed = Some(carry(split(near), split(far), setting).await) };
    let tested = test(Between { client, server, toxics: sender });
    tokio::select! {
        biased;
        ((), ()) = async { tokio::join!(carried, tested) } => {}
        () = tokio::time::sleep(Duration::from_secs(3_600)) => panic!("neither ended"),
    }
    closed
}

fn chain(toxics: &[(&str, Stream, Value)]) -> Chain {
    let made = toxics.iter().zip(1..).map(|((type_name, stream, attributes), id)| {
        let defaults = Attributes::of_type(type_name).unwrap();
        Arc::new(Toxic {
            id,
            revision: 0,
            name: (*type_name).to_owned(),
            stream: *stream,
            upstream: None,
            toxicity: 1.0,
            attributes: defaults.with(attributes.as_object().unwrap()).unwrap(),
            lease: None,
            counters: Arc::new(ToxicCounters::default()),
        })
    });
    made.collect()
}

async fn read(from: &mut DuplexStream, bytes: usize) -> Vec<u8> {
    let mut into = vec![0; bytes];
    from.read_exact(&mut into).await.unwrap();
    into
}

fn near(elapsed: Duration, millis: u64) {
    let expected = Duration::from_millis(millis);
    assert!(
        elapsed >= expected && elapsed < expected + Duration::from_millis(5),
        "{elapsed:?} for {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn both_directions_pass_and_half_closed_ones_go_on() {
    let closed = beside(chain(&[]), async |mut between: Between| {
        between.client.write_all(b"question").await.unwrap();
        assert_eq!(read(&mut between.server, 8).await, b"question");
        between.client.shutdown().await.unwrap();
        assert_eq!(between.server.read(&mut [0; 8]).await.unwrap(), 0);
        between.server.write_all(b"answer").await.unwrap();
        between.server.shutdown().await.unwrap();
        assert_eq!(read(&mut between.client, 6).await, b"answer");
    });
    assert_eq!(closed.await, Some(Closing::Plainly));
}

#[tokio::test(start_paused = true)]
async fn latency_delays_its_stream_only() {
    let toxics = chain(&[("latency", Stream::Downstream, json!({"latency": 200}))]);
    let closed = beside(toxics, async |mut between: Between| {
        let start = Instant::now();
        between.client.write_all(b"a").await.unwrap();
        read(&mut between.server, 1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        between.server.write_all(b"b").await.unwrap();
        read(&mut between.client, 1).await;
        near(start.elapsed(), 200);
    });
    closed.await;
}

#[tokio::test(start_paused = true)]
async fn both_is_each_direction() {
    let toxics = chain(&[("latency", Stream::Both, json!({"latency": 100}))]);
    let closed = beside(toxics, async |mut between: Between| {
        let start = Instant::now();
        between.client.write_all(b"a").await.unwrap();
        read(&mut between.server, 1).await;
        between.server.write_all(b"b").await.unwrap();
        read(&mut between.client, 1).await;
        near(start.elapsed(), 200);
    });
    closed.await;
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_takes_as_long_as_the_bandwidth_says() {
    let toxics = chain(&[("bandwidth", Stream::Downstream, json!({"rate": 500}))]);
    let closed = beside(toxics, async |mut between: Between| {
        let start = Instant::now();
        between.server.write_all(&vec![7; 1_000_000]).await.unwrap();
        assert!(read(&mut between.client, 1_000_000).await.iter().all(|byte| *byte == 7));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1_990) && took < Duration::from_millis(2_010), "{took:?}");
    });
    closed.await;
}

#[tokio::test(start_paused = true)]
async fn timeout_closes_both_sides() {
    let toxics = chain(&[("timeout", Stream::Upstream, json!({"timeout": 300}))]);
    let closed = beside(toxics, async |mut between: Between| {
        let start = Instant::now();
        between.client.write_all(b"lost").await.unwrap();
        assert_eq!(between.server.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(between.client.read(&mut [0; 8]).await.unwrap(), 0);
        near(start.elapsed(), 300);
    });
    assert_eq!(closed.await, Some(Closing::Plainly));
}

#[tokio::test(start_paused = true)]
async fn reset_peer_asks_for_a_reset() {
    let toxics = chain(&[("reset_peer", Stream::Downstream, json!({"timeout": 40}))]);
    let closed = beside(toxics, async |mut between: Between| {
        let start = Instant::now();
        between.server.write_all(b"never seen").await.unwrap();
        assert_eq!(between.client.read(&mut [0; 8]).await.unwrap(), 0);
        near(start.elapsed(), 40);
    });
    assert_eq!(closed.await, Some(Closing::Reset));
}

#[tokio::test(start_paused = true)]
async fn toxics_come_and_go_while_bytes_are_under_way() {
    let closed = beside(chain(&[]), async |mut between: Between| {
        let start = Instant::now();
        between.toxics.send_replace(chain(&[("latency", Stream::Downstream, json!({"latency": 60_000}))]));
        between.server.write_all(b"held").await.unwrap();
        let early = tokio::time::timeout(Duration::from_secs(1), between.client.read(&mut [0; 8])).await;
        assert!(early.is_err());
        between.toxics.send_replace(chain(&[]));
        assert_eq!(read(&mut between.client, 4).await, b"held");
        near(start.elapsed(), 1_000);
    });
    closed.await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_under_way_arrives_though_the_server_has_gone() {
    let toxics = chain(&[("latency", Stream::Downstream, json!({"latency": 500}))]);
    let closed = beside(toxics, async |between: Between| {
        let Between { mut client, mut server, toxics: _toxics } = between;
        server.write_all(b"last words").await.unwrap();
        drop(server);
        // Nobody is there to take this.
        client.write_all(b"more").await.unwrap();
        assert_eq!(read(&mut client, 10).await, b"last words");
    });
    closed.await;
}
