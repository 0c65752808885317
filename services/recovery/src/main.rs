//! `gauntlet-recovery`: the recovery service as a process of its own, on NATS.

use std::process::ExitCode;

use clap::Parser;
use launch::settings::{Common, Settings};
use launch::{Error, Parts};
use tokio::sync::oneshot;

/// Watches targets, and brings back those that fail as the plan says.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-recovery", version)]
struct Arguments {
    #[command(flatten)]
    common: Common,
}

impl Settings for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    launch::main("recovery", run)
}

async fn run(_: Arguments, parts: Parts) -> Result<(), Error> {
    let Parts { bus, shutdown, health } = parts;
    let (ready, is_ready) = oneshot::channel();
    let options = recovery::Options { ready: Some(ready), ..recovery::Options::default() };
    let announce = async {
        if is_ready.await.is_ok() {
            health.ready();
        }
    };
    let (served, ()) = tokio::join!(recovery::run(options, bus, shutdown), announce);
    served.map_err(|error| Error::Environment(error.to_string()))
}
