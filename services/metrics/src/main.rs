//! `gauntlet-metrics`: the metrics service as a process of its own, on NATS and PostgreSQL.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use launch::settings::{Common, PostgresSettings, Settings};
use launch::{Error, Parts};
use tokio::sync::oneshot;

/// Merges samples, keeps them, watches targets, and answers what a run's figures are.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-metrics", version)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    postgres: PostgresSettings,
    /// Loopback address where Prometheus scrapes a run's figures [default: not at all]
    #[arg(long, env = "GAUNTLET_PROMETHEUS", value_name = "HOST:PORT")]
    prometheus: Option<SocketAddr>,
}

impl Settings for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    launch::main("metrics", run)
}

async fn run(arguments: Arguments, parts: Parts) -> Result<(), Error> {
    let Parts { bus, shutdown, health } = parts;
    let store = tokio::select! {
        store = launch::connect::store(&arguments.postgres) => store?,
        () = shutdown.triggered() => return Ok(()),
    };
    let (ready, is_ready) = oneshot::channel();
    let options = metrics::Options {
        prometheus: arguments.prometheus,
        ready: Some(ready),
        ..metrics::Options::default()
    };
    let serving = metrics::run(options, bus, store.clone(), shutdown);
    let served = launch::serve(serving, is_ready, &health).await;
    store.close().await;
    served
}
