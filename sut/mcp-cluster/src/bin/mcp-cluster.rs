//! A whole cluster in one process.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use mcp_cluster::arguments::Shared;
use mcp_cluster::{Fleet, Options, Shape};
use serving::process::{Signals, raise_open_files, write_whole};

/// Servers of five types in several regions that speak the Model Context Protocol and keep objects in copies.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Regions.
    #[arg(long, default_value_t = Shape::default().regions, value_parser = RangedU64ValueParser::<usize>::new().range(1..=20))]
    regions: usize,
    /// Servers in each; the types go round.
    #[arg(long, default_value_t = Shape::default().servers_per_region, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    servers_per_region: usize,
    /// Copies of each object.
    #[arg(long, default_value_t = Shape::default().replication, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    replication: usize,
    /// First port: as many from there on as there are servers, for clients, and as many again, for each other; 0 takes any free
    /// ones.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// File to write all servers with their addresses to, once they listen.
    #[arg(long, value_name = "PATH")]
    members_file: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let shape = Shape {
        regions: arguments.regions,
        servers_per_region: arguments.servers_per_region,
        replication: arguments.replication,
    };
    let options = Options { port: arguments.port, ..arguments.shared.options("mcp-cluster")? };
    let fleet = Fleet::bind(&shape, options).await?;
    if let Some(path) = &arguments.members_file {
        write_whole(path, &format!("{}\n", serde_json::to_string_pretty(fleet.members())?))
            .with_context(|| format!("the file {} cannot be written", path.display()))?;
    }
    let mut out = std::io::stdout();
    for member in &fleet.members().servers {
        writeln!(out, "{} listening on {}/mcp", member.name, member.url)?;
    }
    out.flush()?;
    fleet.run(signals.received()).await?;
    Ok(())
}
