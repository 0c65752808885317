//! The reference target as a process of its own.
#![forbid(unsafe_code)]

mod flags;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use core_services::{Knobs, Options, Server, breaker};
use serving::process::{Signals, raise_open_files, write_whole};
use serving::traces;

/// An HTTP service with knobs for latency, errors and stalls, to try a stress test on; alone, over PostgreSQL or over SQLite.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; other than loopback, whoever reaches it may read and add items.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port there; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Ask the target that runs with the same --port on this machine whether it answers, and end with 0 or 1.
    #[arg(long)]
    check_health: bool,
    /// File to write the port to, once it listens.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// Log of all requests but probes.
    #[arg(long, value_name = "PATH")]
    access_log: Option<PathBuf>,
    /// Token for /admin; without one, /admin refuses.
    #[arg(long, env = "CORE_SERVICES_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Knobs at the start, as PUT /admin/knobs takes them.
    #[arg(long, value_name = "JSON", value_parser = parse_knobs, default_value = "{}")]
    knobs: Knobs,
    /// Items in the store at the start, if it has none yet.
    #[arg(long, default_value_t = 1_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(..=1_000_000))]
    items: usize,
    /// Items that the cache of a store in memory holds.
    #[arg(long, default_value_t = 900)]
    cache_items: usize,
    /// Failures in a row that open the circuit breaker; 0 = never.
    #[arg(long, default_value_t = breaker::Settings::default().failures)]
    breaker_failures: u32,
    /// Milliseconds that the breaker stays open.
    #[arg(long, default_value_t = 30_000)]
    breaker_open_ms: u64,
    /// Good probes that close it again.
    #[arg(long, default_value_t = breaker::Settings::default().probes, value_parser = clap::value_parser!(u32).range(1..))]
    breaker_probes: u32,
    #[command(flatten)]
    database: flags::Database,
    #[command(flatten)]
    traces: traces::Flags,
    /// Threads that serve; default = cores.
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    threads: Option<usize>,
}

fn parse_knobs(text: &str) -> Result<Knobs, String> {
    let knobs: Knobs = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let problems = knobs.problems();
    if problems.is_empty() { Ok(knobs) } else { Err(problems.join("; ")) }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.check_health {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port);
        return core_services::check::health(here).with_context(|| format!("http://{here}"));
    }
    raise_open_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let breaker = breaker::Settings {
        failures: arguments.breaker_failures,
        open_for: Duration::from_millis(arguments.breaker_open_ms),
        probes: arguments.breaker_probes,
        ..breaker::Settings::default()
    };
    let server = Server::bind(Options {
        host: arguments.host,
        port: arguments.port,
        items: arguments.items,
        cache_items: arguments.cache_items,
        breaker,
        database: arguments.database.settings(breaker),
        access_log: arguments.access_log,
        admin_token: arguments.admin_token,
        knobs: arguments.knobs,
        traces: arguments.traces.start("core-services")?,
        ..Options::default()
    })
    .await?;
    let address = server.address();
    if let Some(path) = &arguments.port_file {
        write_whole(path, &format!("{}\n", address.port()))
            .with_context(|| format!("the port file {} cannot be written", path.display()))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{address}")?;
    out.flush()?;
    server.run(signals.received()).await?;
    Ok(())
}
