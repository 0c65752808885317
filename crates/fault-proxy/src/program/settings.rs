//! Settings of the program: each is a flag and a variable of the environment; proxies are in a file of Toxiproxy's shape.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use service::telemetry;

use crate::api::ApiError;
use crate::{Options, ProxyInput};

/// A TCP proxy with seeded faults, driven through the Toxiproxy HTTP API
#[derive(Debug, Parser)]
#[command(name = "gauntlet-fault-proxy", version)]
pub(crate) struct Arguments {
    /// Where the API listens; port 0 = any free one. Other than loopback needs --token-file
    #[arg(
        long,
        env = "GAUNTLET_FAULT_PROXY_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8474"
    )]
    pub(crate) listen: String,
    /// File with the token that callers must send; with one, the API and proxies may listen on any address
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What draws depend on, beside names and numbers
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_SEED", value_name = "NUMBER", default_value_t = Options::default().seed)]
    seed: u64,
    /// File with proxies at the start: a JSON list as POST /populate takes it, toxics included
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bytes that all connections together may hold while toxics delay them; beyond, senders wait
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_BUFFER_BYTES", value_name = "BYTES", default_value_t = Options::default().buffer_bytes, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1 << 40))]
    buffer_bytes: usize,
    /// Milliseconds that connections may take to end by themselves when the process is told to end
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_GRACE", value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    grace: u64,
    /// Milliseconds after which it ends, and closes everything at once, when nobody has called its API; 0 = never
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_LEASE", value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    lease: u64,
    /// Leave the session of who starts it, so that a terminal's Ctrl-C does not end it
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_OWN_SESSION")]
    pub(crate) own_session: bool,
    /// Threads that carry connections [default: half the cores: clients and servers need the others]
    #[arg(long, env = "GAUNTLET_FAULT_PROXY_THREADS", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    threads: Option<usize>,
    /// Shape of log lines
    #[arg(long, env = "GAUNTLET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// What is logged: `info`, `warn,fault_proxy=debug` [default: our own at info, libraries at warn]
    #[arg(long, env = "GAUNTLET_LOG", value_name = "DIRECTIVES")]
    log: Option<String>,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the program cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A setting is wrong: exit code 2.
    #[error("{0}")]
    Input(String),
    /// Network, file or right: exit code 3.
    #[error("{0}")]
    Environment(String),
}

impl Problem {
    /// The exit code of requirement R12.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Environment(_) => 3,
        }
    }
}

/// What is wrong with the API's address.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn of_api(error: ApiError) -> Problem {
    match error {
        ApiError::Address { .. } | ApiError::Unprotected(_) => Problem::Input(error.to_string()),
        ApiError::Listen { .. } => Problem::Environment(error.to_string()),
    }
}

impl Arguments {
    /// Threads that carry connections.
    pub(crate) fn threads(&self) -> usize {
        let half = || std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        self.threads.unwrap_or_else(half)
    }

    /// How proxies work.
    pub(crate) fn options(&self, has_token: bool) -> Options {
        Options {
            seed: self.seed,
            buffer_bytes: self.buffer_bytes,
            any_address: has_token,
            grace: Duration::from_millis(self.grace),
        }
    }

    /// How long it goes on when nobody calls its API; `None` = as long as it may.
    pub(crate) fn lease(&self) -> Option<Duration> {
        (self.lease > 0).then(|| Duration::from_millis(self.lease))
    }

    /// How it logs.
    pub(crate) fn telemetry(&self) -> telemetry::Options {
        telemetry::Options {
            format: match self.log_format {
                LogFormat::Text => telemetry::Format::Text,
                LogFormat::Json => telemetry::Format::Json,
            },
            filter: self.log.clone().unwrap_or_else(|| telemetry::directives("info")),
            output: telemetry::Output::Stderr,
            ..telemetry::Options::default()
        }
    }

    /// The token, if there is to be one.
    pub(crate) fn token(&self) -> Result<Option<String>, Problem> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let text = read("token-file", file)?;
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() || token.contains(char::is_whitespace) {
            let shown = file.display();
            return Err(Problem::Input(format!(
                "token-file: {shown}: expected one line with a token without blanks"
            )));
        }
        Ok(Some(token.to_owned()))
    }

    /// The proxies at the start.
    pub(crate) fn proxies(&self) -> Result<Vec<ProxyInput>, Problem> {
        let Some(file) = &self.config else { return Ok(Vec::new()) };
        let text = read("config", file)?;
        serde_json::from_str(&text).map_err(|error| {
            let shown = file.display();
            Problem::Input(format!(
                "config: {shown}: {error}; expected a JSON list of proxies with name, listen, upstream"
            ))
        })
    }
}

fn read(setting: &str, file: &Path) -> Result<String, Problem> {
    let shown = file.display();
    std::fs::read_to_string(file)
        .map_err(|error| Problem::Input(format!("{setting}: cannot read {shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let arguments = Arguments::try_parse_from(["gauntlet-fault-proxy"]).unwrap();
        let options = arguments.options(false);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!((arguments.listen.as_str(), arguments.threads()), ("127.0.0.1:8474", (cores / 2).max(1)));
        let three = Arguments::try_parse_from(["gauntlet-fault-proxy", "--threads", "3"]).unwrap();
        assert_eq!(three.threads(), 3);
        assert_eq!((options.seed, options.buffer_bytes, options.any_address), (0, 256 << 20, false));
        assert_eq!((options.grace, arguments.log_format), (Duration::from_secs(5), LogFormat::Json));
        assert_eq!((arguments.lease(), arguments.own_session), (None, false));
        assert!(arguments.token().unwrap().is_none() && arguments.proxies().unwrap().is_empty());
    }
}
