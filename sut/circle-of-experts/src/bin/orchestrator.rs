//! The orchestrator as a process of its own.
#![forbid(unsafe_code)]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use circle_of_experts::orchestrator::member::http;
use circle_of_experts::orchestrator::{Member, Options, Orchestrator, Settings};
use clap::Parser;
use serving::Target;
use serving::process::{Signals, raise_open_files, write_whole};
use serving::traces;

/// Asks a circle of experts and counts their answers as votes. Any number of replicas may run.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; other than loopback, whoever reaches it may ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port there; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// File to write the port to, once it listens.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// A process of experts, whose GET /experts says who is in the circle; may be repeated.
    #[arg(long, value_name = "URL", value_parser = parse_url, required_unless_present = "expert")]
    experts: Vec<String>,
    /// Milliseconds after which those lists are read anew.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    refresh_ms: u64,
    /// One expert, {"type":"claude_expert","url":"http://…","weight":1,"model":"…","key":"…"}; may be repeated.
    #[arg(long, value_name = "JSON", value_parser = parse_member)]
    expert: Vec<Member>,
    /// API key for the experts of lists.
    #[arg(long, env = "EXPERTS_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Tokens of an expert's answer at most.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_tokens: u32,
    /// How it asks and counts at the start, as PUT /admin/settings takes it.
    #[arg(long, value_name = "JSON", value_parser = parse_settings, default_value = "{}")]
    settings: Settings,
    /// Of the draws for pauses and knobs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Token for /admin; without one, /admin refuses.
    #[arg(long, env = "ORCHESTRATOR_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    #[command(flatten)]
    traces: traces::Flags,
    /// Threads that serve; default = cores.
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    threads: Option<usize>,
}

fn parse_url(text: &str) -> Result<String, String> {
    http(text).map(|_| text.to_owned())
}

fn parse_member(text: &str) -> Result<Member, String> {
    let member: Member = serde_json::from_str(text).map_err(|error| error.to_string())?;
    sensible(&member.problems()).map(|()| member)
}

fn parse_settings(text: &str) -> Result<Settings, String> {
    let settings: Settings = serde_json::from_str(text).map_err(|error| error.to_string())?;
    sensible(&settings.problems()).map(|()| settings)
}

fn sensible(problems: &[String]) -> Result<(), String> {
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise_open_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let server = Orchestrator::bind(Options {
        host: arguments.host,
        port: arguments.port,
        lists: arguments.experts,
        refresh: Duration::from_millis(arguments.refresh_ms),
        members: arguments.expert,
        api_key: arguments.api_key,
        max_tokens: arguments.max_tokens,
        settings: arguments.settings,
        seed: arguments.seed,
        admin_token: arguments.admin_token,
        traces: arguments.traces.start("orchestrator")?,
        ..Options::default()
    })
    .await?;
    let address = server.address();
    if let Some(path) = &arguments.port_file {
        write_whole(path, &format!("{}\n", address.port()))
            .with_context(|| format!("the port file {} cannot be written", path.display()))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{address}")?;
    out.flush()?;
    server.run(signals.received()).await?;
    Ok(())
}
