//! One server of a cluster as a process of its own.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use mcp_cluster::arguments::{Shared, members};
use mcp_cluster::{Kind, Options, Server};
use serving::process::{Signals, raise_open_files, write_whole};

/// A server of one type in one region that speaks the Model Context Protocol, alone or in a cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What it offers.
    #[arg(long = "type", value_enum)]
    kind: Kind,
    /// Where it stands.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Its name in the cluster; one that takes another's place takes its name. Default = region and type.
    #[arg(long)]
    name: Option<String>,
    /// Port for clients; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port for other servers; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    peer_port: u16,
    /// The cluster, as PUT /admin/members takes it; without, it is alone until it is told.
    #[arg(long, value_name = "PATH")]
    members: Option<PathBuf>,
    /// File to write this server's entry of the members to, once it listens.
    #[arg(long, value_name = "PATH")]
    member_file: Option<PathBuf>,
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
    let server = Server::bind(Options {
        name: arguments.name,
        kind: arguments.kind,
        region: arguments.region,
        port: arguments.port,
        peer_port: arguments.peer_port,
        members: arguments.members.as_deref().map(members).transpose()?,
        ..arguments.shared.options("mcp-server")?
    })
    .await?;
    if let Some(path) = &arguments.member_file {
        write_whole(path, &format!("{}\n", serde_json::to_string(server.member())?))
            .with_context(|| format!("the file {} cannot be written", path.display()))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}/mcp", server.member().url)?;
    out.flush()?;
    server.run(signals.received()).await?;
    Ok(())
}
