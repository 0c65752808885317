//! The experts as a process of their own.
#![forbid(unsafe_code)]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Context;
use circle_of_experts::{Circle, Options, Server};
use clap::Parser;
use serving::Target;
use serving::process::{Signals, raise_open_files, write_whole};
use serving::traces;

/// Experts that speak the APIs of four vendors of language models, with seeded answers, times and failures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; other than loopback, whoever reaches it may ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port there; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// File to write the port to, once it listens.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// Experts: the four types in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    experts: u32,
    /// How they behave at the start, as PUT /admin/circle takes it.
    #[arg(long, value_name = "JSON", value_parser = |text: &str| serde_json::from_str::<Circle>(text), default_value = "{}")]
    circle: Circle,
    /// Key that requests must carry, in the header of each API.
    #[arg(long, env = "EXPERTS_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Token for /admin; without one, /admin refuses.
    #[arg(long, env = "EXPERTS_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Log of what was written when.
    #[arg(long, value_name = "PATH")]
    write_log: Option<PathBuf>,
    #[command(flatten)]
    traces: traces::Flags,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise_open_files();
    // Before the address is announced: whoever reads it may send a signal at once.
    let signals = Signals::catch()?;
    let server = Server::bind(Options {
        host: arguments.host,
        port: arguments.port,
        experts: arguments.experts,
        circle: arguments.circle,
        api_key: arguments.api_key,
        admin_token: arguments.admin_token,
        write_log: arguments.write_log,
        traces: arguments.traces.start("experts")?,
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
