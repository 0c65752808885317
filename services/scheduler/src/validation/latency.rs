//! The network latency that tiers base and stress promise (requirement R3.3).

use std::path::Path;
use std::time::Duration;

use plan::model::Tier;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::Unmet;
use crate::figures::micros;
use crate::run::Context;

/// Connections made per endpoint; the fastest counts, as it has waited least in queues.
const ATTEMPTS: usize = 5;

/// The longest that making a connection may take in a tier.
pub(crate) const fn limit(tier: Option<Tier>) -> Option<Duration> {
    match tier {
        Some(Tier::Base) => Some(Duration::from_millis(1)),
        Some(Tier::Stress) => Some(Duration::from_millis(5)),
        // Theirs is injected, not found.
        Some(Tier::Chaos | Tier::Ultimate) | None => None,
    }
}

/// Measures every endpoint; absent when the tier promises nothing.
pub(super) async fn within_tier(ctx: &Context, deadline: Instant) -> Option<Result<String, Unmet>> {
    let limit = limit(ctx.plan.tier)?;
    let mut worst = Duration::ZERO;
    let mut missed = Vec::new();
    for target in &ctx.plan.targets {
        for url in &target.urls {
            // What is connected to is the proxy, where there is one.
            let way = target.proxy.as_ref().unwrap_or(url);
            match measure(way, target.socket.as_deref(), deadline).await {
                Ok(latency) => {
                    worst = worst.max(latency);
                    if latency >= limit {
                        missed.push(format!("{url} takes {}", micros(latency.as_secs_f64() * 1e6)));
                    }
                }
                Err(problem) => missed.push(format!("{url}: {problem}")),
            }
        }
    }
    let allowed = micros(limit.as_secs_f64() * 1e6);
    Some(if missed.is_empty() {
        Ok(format!("connections are made in {} at most, under {allowed}", micros(worst.as_secs_f64() * 1e6)))
    } else {
        let mend =
            format!("bring the load-worker closer to the target, under {allowed}, or choose another `tier`");
        Err(Unmet::new(missed.join("; "), mend))
    })
}

async fn measure(url: &str, socket: Option<&Path>, deadline: Instant) -> Result<Duration, String> {
    let (host, port) = host_and_port(url).ok_or_else(|| "not an address".to_owned())?;
    let mut best: Option<Duration> = None;
    for _ in 0..ATTEMPTS {
        let begun = Instant::now();
        let connect = async {
            match socket {
                Some(path) => UnixStream::connect(path).await.map(drop),
                None => TcpStream::connect((host.as_str(), port)).await.map(drop),
            }
        };
        let made = tokio::time::timeout_at(deadline, connect).await;
        made.map_err(|_| "no connection in time".to_owned())?.map_err(|error| error.to_string())?;
        let took = begun.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
    }
    best.ok_or_else(|| "not measured".to_owned())
}

/// Host and port of a URL with an optional path.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default = if scheme == "https" { 443 } else { 80 };
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']')?;
        let port = port.strip_prefix(':').map_or(Some(default), |port| port.parse().ok())?;
        return Some((host.to_owned(), port));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None if authority.is_empty() => None,
        None => Some((authority.to_owned(), default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base_and_stress_promise_a_latency() {
        assert_eq!(limit(Some(Tier::Base)), Some(Duration::from_millis(1)));
        assert_eq!(limit(Some(Tier::Stress)), Some(Duration::from_millis(5)));
        assert_eq!(limit(Some(Tier::Chaos)), None);
        assert_eq!(limit(None), None);
    }

    #[test]
    fn addresses_of_urls() {
        let found = |url| host_and_port(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(found("http://a.example:81/x?y").as_deref(), Some("a.example 81"));
        assert_eq!(found("https://a.example").as_deref(), Some("a.example 443"));
        assert_eq!(found("http://[::1]:8080/").as_deref(), Some("::1 8080"));
        assert_eq!(found("http://[::1]").as_deref(), Some("::1 80"));
        assert_eq!(found("nothing"), None);
    }

    #[tokio::test]
    async fn a_listener_is_measured_and_a_closed_port_is_named() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let deadline = Instant::now() + Duration::from_secs(10);
        let url = format!("http://127.0.0.1:{port}");
        assert!(measure(&url, None, deadline).await.unwrap() > Duration::ZERO);
        drop(listener);
        assert!(measure(&url, None, deadline).await.unwrap_err().contains("refused"));
    }
}
