//! `bare-server`: see [`bench::server`].
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the port is what whoever started it reads")]

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

/// Answers every GET with the same 200 of 12 bytes, or 1 KB of JSON below /json/
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens on 127.0.0.1; 0 = any free port. The port is printed
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write each request's first line to this file; without it nothing is logged
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    bench::resources::raise_open_files().context("raise the limit of open files")?;
    let log = args.log.map(|path| File::create(&path).with_context(|| format!("create {}", path.display())));
    let server = bench::server::Server::bind(args.port, log.transpose()?)
        .with_context(|| format!("listen on 127.0.0.1:{}", args.port))?;
    println!("{}", server.addr()?.port());
    Ok(server.run()?)
}
