//! Who may call the API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer;

/// The token that callers must send; without one, only requests to loopback names are answered, so that no web page can
/// reach the API through a name of its own.
#[derive(Clone)]
pub(super) struct Guard {
    token: Option<Arc<str>>,
}

impl Guard {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token: token.map(Arc::from) }
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, String)> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = &self.token {
            let sent = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            let is_right = sent.is_some_and(|sent| same(sent.as_bytes(), token.as_bytes()));
            let message = "unauthorized: send the header `Authorization: Bearer TOKEN` with the token that the proxy was started with";
            return (!is_right).then(|| (StatusCode::UNAUTHORIZED, message.to_owned()));
        }
        let host = text(header::HOST).unwrap_or_default();
        let message = || {
            format!("host: found {host:?}, expected a loopback name: without a token only these are answered")
        };
        (!is_loopback(host)).then(|| (StatusCode::FORBIDDEN, message()))
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
    match guard.refusal(request.headers()) {
        None => next.run(request).await,
        Some((status, message)) => answer::error(status, &message),
    }
}
