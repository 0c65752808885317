//! Who may call the API.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use service::{Callers, Stranger};

use super::answer;

/// Lets a request through, or answers with what is missing.
pub(super) async fn check(State(callers): State<Callers>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let sent = |name| headers.get(name).map(HeaderValue::as_bytes);
    match callers.admit(sent(header::AUTHORIZATION), sent(header::HOST)) {
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
