//! Ten thousand connections.

use std::io::Write as _;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{MANY_FILES, Program};
use crate::upstream::Upstream;

const CONNECTIONS: usize = 10_000;
/// With fewer, the test says nothing.
const FEWEST: usize = 5_000;
/// Files of a process beside the two of each connection.
const OTHERS: u64 = 200;
const MOST_BYTES: u64 = 200 << 20;

/// Raises our limit of open files, which the proxy inherits, as far as we may; connections that it allows.
fn connections_allowed() -> usize {
    let wanted = 2 * CONNECTIONS as u64 + OTHERS;
    for maximum in [Some(wanted), getrlimit(Resource::Nofile).maximum] {
        let present = getrlimit(Resource::Nofile);
        // A limit that is higher already is left as it is.
        let maximum =
            if present.maximum.is_none_or(|present| present >= wanted) { present.maximum } else { maximum };
        if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
            break;
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX).min(CONNECTIONS)
}

fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_take_less_than_200_mb() {
    let _turn = MANY_FILES.lock().await;
    let connections = connections_allowed();
    if connections < CONNECTIONS {
        // Written past the capture of tests that pass: whoever reads the output must see it.
        let (word, limit) =
            (if connections < FEWEST { "SKIPPED" } else { "REDUCED" }, getrlimit(Resource::Nofile).maximum);
        let _ = writeln!(
            std::io::stderr(),
            "\n{word} ten_thousand_connections_take_less_than_200_mb: found a hard limit of {limit:?} open files, which allows {connections}: raise it with ulimit -Hn"
        );
    }
    if connections < FEWEST {
        return;
    }
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let listen = program.proxy("shop", &upstream.address).await;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(TcpStream::connect(&listen).await.unwrap());
    }
    // All of them at work, so that whatever a connection keeps, it has.
    for client in &mut clients {
        client.write_all(&[1; 4_096]).await.unwrap();
    }
    for client in &mut clients {
        client.read_exact(&mut [0; 4_096]).await.unwrap();
    }
    program.wait_for("/proxies/shop/open", |open| open == connections as u64).await;
    let bytes = resident_bytes(program.id());
    let most = MOST_BYTES * connections as u64 / CONNECTIONS as u64;
    let _ = writeln!(std::io::stdout(), "{connections} connections: {} MB resident", bytes >> 20);
    assert!(bytes < most, "{bytes} bytes, expected less than {most}");
    drop(clients);
    program.wait_for("/proxies/shop/open", |open| open == 0).await;
}
