//! What the two programs have in common on their command lines.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serving::traces::{self, NotStarted};

use crate::knobs::Knobs;
use crate::server::{Options, ServerError};
use crate::tls::Tls;

/// Flags of both programs.
#[derive(Clone, Debug, clap::Args)]
pub struct Shared {
    /// Address to listen on; other than loopback, whoever reaches it may call tools.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// What servers of the cluster know each other by.
    #[arg(long, env = "MCP_CLUSTER_PEER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    peer_token: Option<String>,
    /// Token for /admin; without one, /admin refuses.
    #[arg(long, env = "MCP_CLUSTER_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Token that clients must carry; without one, none is asked for.
    #[arg(long, env = "MCP_CLUSTER_BEARER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    bearer_token: Option<String>,
    /// Certificate chain in PEM, for TLS.
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key in PEM.
    #[arg(long, value_name = "PATH", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Knobs at the start, as PUT /admin/knobs takes them.
    #[arg(long, value_name = "JSON", value_parser = parse_knobs, default_value = "{}")]
    knobs: Knobs,
    /// Of what is planted for the scanner and of the series.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Give no sessions: each request is by itself, in every revision.
    #[arg(long)]
    no_sessions: bool,
    /// Sessions of one server at most.
    #[arg(long, default_value_t = Options::default().max_sessions)]
    max_sessions: usize,
    /// Milliseconds that a server may take to answer another one.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    peer_timeout_ms: u64,
    /// Milliseconds between two looks after copies.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    repair_ms: u64,
    #[command(flatten)]
    traces: traces::Flags,
}

fn parse_knobs(text: &str) -> Result<Knobs, String> {
    let knobs: Knobs = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let problems = knobs.problems();
    if problems.is_empty() { Ok(knobs) } else { Err(problems.join("; ")) }
}

impl Shared {
    /// The options that they are, for a program that collectors know by this name; the others are as by default.
    ///
    /// # Errors
    /// When spans are wanted and no thread or socket can be had to send them.
    pub fn options(self, program: &str) -> Result<Options, NotStarted> {
        let tls = self.tls_certificate.zip(self.tls_key);
        Ok(Options {
            host: self.host,
            peer_token: self.peer_token,
            admin_token: self.admin_token,
            bearer: self.bearer_token,
            tls: tls.map(|(certificate, key)| Tls { certificate, key }),
            knobs: self.knobs,
            seed: self.seed,
            sessions: !self.no_sessions,
            max_sessions: self.max_sessions,
            peer_timeout: Duration::from_millis(self.peer_timeout_ms),
            repair_every: Duration::from_millis(self.repair_ms),
            traces: self.traces.start(program)?,
            ..Options::default()
        })
    }
}

/// Reads members as JSON.
///
/// # Errors
/// When the file cannot be read or is something else.
pub fn members(path: &std::path::Path) -> Result<crate::Members, ServerError> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| ServerError::Options(format!("{}: {error}", path.display())))
}
