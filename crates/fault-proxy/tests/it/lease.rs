//! A proxy whose controller is gone ends by itself; one whose controller calls goes on.

use std::time::{Duration, Instant};

use fault_proxy::client::Client;
use fault_proxy::toxic::{Attributes, Latency};
use fault_proxy::{ProxyInput, ToxicInput};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program};
use crate::upstream::Upstream;

#[tokio::test]
async fn it_ends_when_nobody_calls_and_closes_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "secret").unwrap();
    // The grace is for signals: a connection whose controller is gone is not waited for.
    let arguments = ["--token-file", file.to_str().unwrap(), "--lease", "2000", "--grace", "3600000"];
    let mut program = Program::start(&arguments);
    let upstream = Upstream::sending(100).await;
    let client = Client::new(&program.url, Some("secret")).unwrap();
    let shop = client.create_proxy(&ProxyInput::new("shop", &upstream.address)).await.unwrap();
    let held = Attributes::Latency(Latency { latency: 3_600_000, jitter: 0 });
    client.add_toxic("shop", &ToxicInput::new("held", &held)).await.unwrap();
    let mut socket = TcpStream::connect(&shop.listen).await.unwrap();

    // As long as someone calls, it stays.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        assert_eq!(client.counters().await.unwrap().proxies["shop"].open, 1);
        let nothing = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut [0; 1])).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
    // Who may not call keeps nothing alive.
    let stranger = Client::new(&program.url, None).unwrap();
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match stranger.version().await.unwrap_err() {
                refused if refused.status() == Some(401) => tokio::task::yield_now().await,
                gone => return gone,
            }
        }
    });
    assert!(ended.await.unwrap().is_unreachable());
    assert_eq!(program.wait().code(), Some(0));
    assert!(matches!(socket.read(&mut [0; 1]).await, Ok(0) | Err(_)), "nothing of what was held");
    assert!(TcpStream::connect(&shop.listen).await.is_err());
}

#[test]
fn it_leaves_the_session_of_who_starts_it_when_told_to() {
    // From /proc, where a session that another PID namespace began is 0, as in a container; no call of rustix takes it.
    let session = |pid: u32| -> u32 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(3).unwrap().parse().unwrap()
    };
    let own = Program::start(&["--own-session"]);
    assert_eq!(session(own.id()), own.id());
    let shared = Program::start(&[]);
    assert_eq!(session(shared.id()), session(std::process::id()));
}
