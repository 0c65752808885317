//! `gauntlet-scheduler`: the scheduler as a process of its own, on NATS and PostgreSQL.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use launch::settings::{Common, PostgresSettings, Settings};
use launch::{Error, Parts};
use tokio::sync::oneshot;

/// Runs plans on deployed load-workers: phases, decisions, verdicts, and the HTTP API.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-scheduler", version)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    postgres: PostgresSettings,
    /// Where the HTTP API listens; other than on loopback it needs a token
    #[arg(long, env = "GAUNTLET_API", value_name = "HOST:PORT", default_value = "127.0.0.1:7070")]
    api: String,
    /// File with the token that callers of the API must send
    #[arg(long, env = "GAUNTLET_API_TOKEN_FILE", value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// Name of this scheduler as the holder of leases on its runs: one that is started anew under its name goes on
    /// with its run at once
    #[arg(long, env = "GAUNTLET_INSTANCE", value_name = "NAME", default_value = "scheduler")]
    instance: String,
    /// Load-workers that a run waits for before it begins
    #[arg(long, env = "GAUNTLET_WORKERS", value_name = "N", default_value_t = 1)]
    workers: usize,
    /// How long before it takes effect a change is sent, milliseconds: must cover the way to every worker
    #[arg(long, env = "GAUNTLET_LEAD_MS", value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lead_ms: u64,
}

impl Settings for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    launch::main("scheduler", run)
}

async fn run(arguments: Arguments, parts: Parts) -> Result<(), Error> {
    let token = match &arguments.api_token_file {
        Some(file) => Some(launch::connect::secret("api-token-file", file)?),
        None => None,
    };
    let run_dir = arguments.common.state_dir.join("processes");
    std::fs::create_dir_all(&run_dir).map_err(|error| {
        Error::Environment(format!("state-dir: cannot make {}: {error}", run_dir.display()))
    })?;
    let Parts { bus, shutdown, health } = parts;
    let store = tokio::select! {
        store = launch::connect::store(&arguments.postgres) => store?,
        () = shutdown.triggered() => return Ok(()),
    };
    let (ready, is_ready) = oneshot::channel();
    let options = scheduler::Options {
        api: arguments.api,
        token,
        ready: Some(ready),
        least_workers: arguments.workers,
        lead: Duration::from_millis(arguments.lead_ms),
        instance: arguments.instance,
        ..scheduler::Options::new(run_dir)
    };
    let serving = scheduler::run(options, bus, store.clone(), shutdown);
    let served = launch::serve(serving, is_ready, &health).await;
    store.close().await;
    served
}
