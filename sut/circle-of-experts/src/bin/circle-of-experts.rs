//! A whole circle in one process.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use circle_of_experts::fleet::{Fleet, Shape};
use circle_of_experts::{Circle, Options, orchestrator};
use clap::Parser;
use serving::Target as _;
use serving::process::{Signals, raise_open_files};

/// Experts and the orchestrators that ask them, in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; other than loopback, whoever reaches it may ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port of the experts there; the orchestrators take those that follow it. 0 takes any free ones.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Experts: the four types in turn.
    #[arg(long, value_name = "COUNT", default_value_t = Options::default().experts, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    experts: u32,
    /// Replicas of the orchestrator.
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().orchestrators, value_parser = clap::value_parser!(u16).range(1..=100))]
    orchestrators: u16,
    /// How the experts behave at the start, as PUT /admin/circle takes it.
    #[arg(long, value_name = "JSON", value_parser = |text: &str| serde_json::from_str::<Circle>(text), default_value = "{}")]
    circle: Circle,
    /// How the orchestrators ask and count at the start, as PUT /admin/settings takes it.
    #[arg(long, value_name = "JSON", value_parser = |text: &str| serde_json::from_str::<orchestrator::Settings>(text), default_value = "{}")]
    settings: orchestrator::Settings,
    /// Token for /admin of all of them; without one, /admin refuses.
    #[arg(long, env = "CIRCLE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise_open_files();
    // Before the addresses are announced: whoever reads them may send a signal at once.
    let signals = Signals::catch()?;
    let fleet = Fleet::bind(Shape {
        orchestrators: arguments.orchestrators,
        experts: Options {
            host: arguments.host,
            port: arguments.port,
            experts: arguments.experts,
            circle: arguments.circle,
            admin_token: arguments.admin_token.clone(),
            ..Options::default()
        },
        orchestrator: orchestrator::Options {
            host: arguments.host,
            settings: arguments.settings,
            admin_token: arguments.admin_token,
            ..orchestrator::Options::default()
        },
    })
    .await?;
    let mut out = std::io::stdout();
    writeln!(out, "experts listening on http://{}", fleet.experts().address())?;
    for (n, orchestrator) in (1..).zip(fleet.orchestrators()) {
        writeln!(out, "orchestrator-{n} listening on http://{}", orchestrator.address())?;
    }
    out.flush()?;
    fleet.run(signals.received()).await?;
    Ok(())
}
