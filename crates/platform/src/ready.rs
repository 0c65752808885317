//! Whether a process that was started is ready: its URL answers 2xx, or its port accepts.

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::net::TcpStream;

use crate::PROBE_USER_AGENT;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a listener on loopback may take to accept: the kernel does it, at once.
const LOOPBACK_ANSWERS: Duration = Duration::from_millis(200);

/// A ready check, read from the plan's text.
#[derive(Debug)]
pub(crate) enum Check {
    /// A GET on the URL answers 2xx.
    Http { client: reqwest::Client, url: reqwest::Url },
    /// The port accepts a connection; `host:port`.
    Tcp { address: String },
}

impl Check {
    /// Reads `http://…` or `tcp://host:port`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp://") {
            let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
            return match port.map(str::parse::<u16>) {
                Some(Ok(port)) if port != 0 => Ok(Self::Tcp { address: address.to_owned() }),
                _ => Err(format!("{text:?}: expected tcp://host:port")),
            };
        }
        let url = reqwest::Url::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
        if url.scheme() != "http" {
            return Err(format!(
                "{text:?}: expected http://… or tcp://host:port (the latter also for TLS servers)"
            ));
        }
        let client = reqwest::Client::builder()
            .user_agent(PROBE_USER_AGENT)
            // The answer of the process itself counts, not that of whatever it points to or of a proxy in between.
            .redirect(Policy::none())
            .no_proxy()
            .timeout(ATTEMPT)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| format!("HTTP client: {error}"))?;
        Ok(Self::Http { client, url })
    }

    /// Whether something listens on this machine's loopback where the check looks, before our process was started. Other
    /// addresses are not ours to judge.
    pub(crate) fn somebody_accepts(&self) -> bool {
        let address = match self {
            Self::Http { url, .. } => {
                format!(
                    "{}:{}",
                    url.host_str().unwrap_or_default(),
                    url.port_or_known_default().unwrap_or(80)
                )
            }
            Self::Tcp { address } => address.clone(),
        };
        let Ok(addresses) = address.to_socket_addrs() else { return false };
        addresses
            .filter(|address| address.ip().is_loopback())
            .any(|address| std::net::TcpStream::connect_timeout(&address, LOOPBACK_ANSWERS).is_ok())
    }

    /// Makes one attempt; the error says what was seen.
    pub(crate) async fn attempt(&self) -> Result<(), String> {
        match self {
            Self::Http { client, url } => {
                let answer = client.get(url.clone()).send().await.map_err(|error| causes(&error))?;
                let status = answer.status();
                if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status}")) }
            }
            Self::Tcp { address } => match tokio::time::timeout(ATTEMPT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{address}: {error}")),
                Err(_) => Err(format!("{address}: no answer within {ATTEMPT:?}")),
            },
        }
    }
}

/// An error with what lies behind it: reqwest's own text leaves out the reason.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_check_is_refused_with_what_is_expected() {
        assert!(matches!(Check::parse("tcp://127.0.0.1:80"), Ok(Check::Tcp { .. })));
        assert!(matches!(Check::parse("tcp://[::1]:80"), Ok(Check::Tcp { .. })));
        assert!(matches!(Check::parse("http://127.0.0.1:80/health"), Ok(Check::Http { .. })));
        for wrong in
            ["tcp://127.0.0.1", "tcp://:80", "tcp://host:0", "tcp://host:http", "https://host/", "health", ""]
        {
            let error = Check::parse(wrong).unwrap_err();
            assert!(error.starts_with(&format!("{wrong:?}")), "{error}");
        }
    }
}
