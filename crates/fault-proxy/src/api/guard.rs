//! Who may call the API.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use service::{Callers, Stranger};

use super::answer;

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Lets a request through, or answers with what is missing.
pub(super) async fn check(State(callers): State<Callers>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = callers.admit(text(headers, header::AUTHORIZATION), text(headers, header::HOST));
    match admitted {
        Ok(()) => next.run(request).await,
        Err(Stranger::Unauthorized) => answer::error(
            StatusCode::UNAUTHORIZED,
            "unauthorized: send the header `Authorization: Bearer TOKEN` with the token that the proxy was started with",
        ),
        Err(Stranger::ForeignHost(host)) => {
            let expected = "expected a loopback name: without a token only these are answered";
            answer::error(StatusCode::FORBIDDEN, &format!("host: found {host:?}, {expected}"))
        }
    }
}
