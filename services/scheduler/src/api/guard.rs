//! Who may call the API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// The token that callers must send; without one, only requests to loopback names are answered.
#[derive(Clone)]
pub(super) struct Guard {
    token: Option<Arc<str>>,
}

impl Guard {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token: token.map(Arc::from) }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match &self.token {
            Some(token) => {
                let sent = headers
                    .get(header::AUTHORIZATION)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.strip_prefix("Bearer "));
                if sent.is_some_and(|sent| same(sent.as_bytes(), token.as_bytes())) {
                    Ok(())
                } else {
                    Err(Problem::unauthorized())
                }
            }
            None => {
                let host =
                    headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if is_loopback(host) { Ok(()) } else { Err(Problem::foreign_host(host)) }
            }
        }
    }
}

/// Compares in a time that does not tell where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a request through, or answers with what is missing.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.org", "10.0.0.1:80", "localhost.example.org", "[2001:db8::1]:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn tokens_must_be_the_same() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
    }
}
