//! `raw-client`: see [`bench::closed`] and [`bench::paced`].
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what was measured goes to whoever started it")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bench::connections::Load;
use clap::Parser;

/// Reads and writes, and nothing else: what a load generator on this machine can reach. Prints JSON
#[derive(Debug, Parser)]
struct Args {
    /// The server's address
    addr: SocketAddr,
    /// Connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// How long it sends
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Requests a second on an absolute schedule; without it, each connection sends when it has its answer
    #[arg(long)]
    rate: Option<f64>,
    /// What is asked for
    #[arg(long, default_value = "/")]
    path: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    bench::resources::raise_open_files().context("raise the limit of open files")?;
    let connections = usize::try_from(args.connections).context("connections")?;
    let load = Load { addr: args.addr, path: args.path, connections };
    let duration = Duration::from_secs(args.seconds);
    let result = match args.rate {
        Some(rate) => {
            anyhow::ensure!((0.1..=10e6).contains(&rate), "--rate {rate}: from 0.1 to 10000000 a second");
            serde_json::to_string(&bench::paced::run(&load, rate, duration)?)?
        }
        None => serde_json::to_string(&bench::closed::run(&load, duration)?)?,
    };
    println!("{result}");
    Ok(())
}
