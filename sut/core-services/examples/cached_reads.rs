//! How many reads of cached items a second one core serves: one target on one thread, a few connections that are kept, each
//! with one request at a time, from other threads. Figures say something only where nothing else runs.
//!
//! `cargo run --release -p core-services --example cached_reads -- [SECONDS] [ROUNDS] [CONNECTIONS]`
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what was measured goes to whoever started it")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use core_services::database::Settings;
use core_services::{Options, Running};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Items that are asked for, in turns: all of them fit the cache.
const ITEMS: u64 = 500;
/// What is not measured: connecting, and the first reads, which fill the cache.
const WARM_UP: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default: u32| arguments.get(n).map_or(Ok(default), |text| text.parse());
    let (seconds, rounds, connections) = (number(0, 5)?, number(1, 5)?, number(2, 32)?);
    let length = Duration::from_secs(seconds.into());
    let directory = tempfile::tempdir()?;
    let file = Settings::sqlite(&directory.path().join("items.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cases =
        [("store in memory", None, Vec::new()), ("first level over SQLite", Some(file), Vec::new())];
    for round in 1..=rounds {
        for (case, database, results) in &mut cases {
            let options = Options { database: database.clone(), ..Options::default() };
            let (by_time, by_cpu) = runtime.block_on(measure(options, length, connections))?;
            println!(
                "{case}, round {round}: {by_time:.0} requests/s, {by_cpu:.0} per second of the server's core"
            );
            results.push((by_time, by_cpu));
        }
    }
    for (case, _, results) in cases {
        let results = json!({
            "cache": case,
            "connections": connections,
            "rounds": rounds,
            "requests_per_second": median(results.iter().map(|result| result.0)),
            "requests_per_cpu_second": median(results.iter().map(|result| result.1)),
        });
        println!("{results:#}");
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Requests a second, and a second of the CPU time of the thread that serves.
async fn measure(options: Options, length: Duration, connections: u32) -> anyhow::Result<(f64, f64)> {
    let target = Running::start(options)?;
    reads(target.address(), WARM_UP, connections).await?;
    let (cpu, begun) = (cpu()?, Instant::now());
    let count = reads(target.address(), length, connections).await? as f64;
    let (wall, cpu) = (begun.elapsed(), self::cpu()? - cpu);
    target.stop()?;
    Ok((count / wall.as_secs_f64(), count / cpu.as_secs_f64()))
}

/// CPU time of the target's thread, the only one of its name.
fn cpu() -> anyhow::Result<Duration> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if std::fs::read_to_string(thread.join("comm"))?.trim_end() != "core-services" {
            continue;
        }
        // The first field is nanoseconds on a core.
        let text = std::fs::read_to_string(thread.join("schedstat"))?;
        let nanoseconds = text.split_ascii_whitespace().next().context("the target's CPU time")?;
        return Ok(Duration::from_nanos(nanoseconds.parse()?));
    }
    anyhow::bail!("no thread serves")
}

async fn reads(address: SocketAddr, length: Duration, connections: u32) -> anyhow::Result<u64> {
    let end = Instant::now() + length;
    let mut clients = tokio::task::JoinSet::new();
    for first in 1..=u64::from(connections) {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        clients.spawn(read(stream, first, end));
    }
    let mut all = 0;
    while let Some(ended) = clients.join_next().await {
        all += ended??;
    }
    Ok(all)
}

/// Reads items until the end, beginning with this one; how many they were.
async fn read(mut stream: TcpStream, first: u64, end: Instant) -> anyhow::Result<u64> {
    let request = |n: u64| format!("GET /items/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", n % ITEMS + 1);
    let requests: Vec<String> = (first..first + ITEMS).map(request).collect();
    let mut buffer = [0; 4 << 10];
    let mut count = 0;
    for request in requests.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        stream.write_all(request.as_bytes()).await?;
        let mut filled = 0_usize;
        // An item is an object without another in it.
        while buffer.get(filled.wrapping_sub(1)) != Some(&b'}') {
            let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
            let found = || String::from_utf8_lossy(&buffer[..filled]).into_owned();
            anyhow::ensure!(read > 0, "no whole answer: {}", found());
            filled += read;
        }
        anyhow::ensure!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "a wrong answer: {}",
            String::from_utf8_lossy(&buffer[..filled])
        );
        count += 1;
    }
    Ok(count)
}
