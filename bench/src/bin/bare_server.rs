//! `bare-server`: see [`bench::server`].
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the port is what whoever started it reads")]

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context as _;
use bench::server::{Log, Server};
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
    /// Add this header field's value to each line of the log; may be given several times
    #[arg(long, value_name = "NAME", requires = "log")]
    log_header: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    bench::resources::raise_open_files().context("raise the limit of open files")?;
    let log = args.log.map(|path| {
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        anyhow::Ok(Log::new(file, args.log_header))
    });
    let server = Server::bind(args.port, log.transpose()?)
        .with_context(|| format!("listen on 127.0.0.1:{}", args.port))?;
    println!("{}", server.addr()?.port());
    Ok(server.run()?)
}
