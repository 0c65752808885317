//! `gauntlet-chaos`: the chaos service as a process of its own, on NATS. Started with the word `fault-agent` or `fault-proxy`
//! it is one of the two programs that carry faults out for it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use bus::SchedulerClock;
use clap::Parser;
use launch::settings::{Common, Settings};
use launch::{Error, Parts};
use tokio::sync::oneshot;

/// Injects the faults of plans, ends them, and sees that nothing of them is left.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-chaos", version)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Address on which the fault proxy listens. Load has no token: whoever reaches another address than loopback reaches
    /// the targets through it
    #[arg(long, env = "GAUNTLET_PROXY_ADDRESS", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    proxy_address: IpAddr,
    /// Name by which load-workers and recovery reach the fault proxy [default: its address]
    #[arg(long, env = "GAUNTLET_PROXY_HOST", value_name = "HOST")]
    proxy_host: Option<String>,
    /// Milliseconds that faults outlive this service at most when it dies
    #[arg(long, env = "GAUNTLET_FAULT_LEASE", value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    fault_lease: u64,
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

/// The words by which this program is started as one of those that carry faults out.
const AGENT: &str = "fault-agent";
const PROXY: &str = "fault-proxy";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == AGENT => fault_agent::main([AGENT], arguments),
        Some(word) if word == PROXY => {
            fault_proxy::main(std::iter::once(OsString::from("gauntlet-chaos fault-proxy")).chain(arguments))
        }
        _ => launch::main("chaos", run),
    }
}

async fn run(arguments: Arguments, parts: Parts) -> Result<(), Error> {
    let Parts { bus, shutdown, health } = parts;
    let program = std::env::current_exe()
        .map_err(|error| Error::Environment(format!("this program's own file is not known: {error}")))?;
    if arguments.proxy_address.is_unspecified() && arguments.proxy_host.is_none() {
        let address = arguments.proxy_address;
        return Err(Error::Input(format!(
            "proxy-address: found {address}, which names no host: say with proxy-host how others reach this one"
        )));
    }
    let (ready, is_ready) = oneshot::channel();
    let with = |word: &str| [program.clone().into_os_string(), OsString::from(word)];
    let options = chaos::Options {
        proxy_address: arguments.proxy_address,
        proxy_host: arguments.proxy_host,
        lease: Duration::from_millis(arguments.fault_lease),
        clock: SchedulerClock::shifted(arguments.clock_shift_ns),
        ready: Some(ready),
        ..chaos::Options::new(&arguments.common.state_dir, with(AGENT), with(PROXY))
    };
    launch::serve(chaos::run(options, bus, shutdown), is_ready, &health).await
}
