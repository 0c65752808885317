//! `gauntlet-recovery`: the recovery service as a process of its own, on NATS.

use std::process::ExitCode;

use bus::SchedulerClock;
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
    /// Nanoseconds by which this host's wall clock is wrong, to see what that does
    #[arg(
        long,
        env = "GAUNTLET_CLOCK_SHIFT_NS",
        value_name = "NS",
        default_value_t = 0,
        allow_hyphen_values = true,
        hide = true
    )]
    clock_shift_ns: i64,
}

impl Settings for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    launch::main("recovery", run)
}

async fn run(arguments: Arguments, parts: Parts) -> Result<(), Error> {
    let Parts { bus, shutdown, health } = parts;
    let (ready, is_ready) = oneshot::channel();
    let clock = SchedulerClock::shifted(arguments.clock_shift_ns);
    let options = recovery::Options { clock, ready: Some(ready) };
    launch::serve(recovery::run(options, bus, shutdown), is_ready, &health).await
}
