//! Who may call the API.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use service::{Callers, Stranger};

use super::problem::Problem;

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Lets a request through, or answers with what is missing.
pub(super) async fn check(State(callers): State<Callers>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = callers.admit(text(headers, header::AUTHORIZATION), text(headers, header::HOST));
    match admitted {
        Ok(()) => next.run(request).await,
        Err(Stranger::Unauthorized) => Problem::unauthorized().into_response(),
        Err(Stranger::ForeignHost(host)) => Problem::foreign_host(&host).into_response(),
    }
}
