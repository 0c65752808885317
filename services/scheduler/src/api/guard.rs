//! Who may call the API.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use service::{Callers, Stranger};

use super::problem::Problem;

/// Lets a request through, or answers with what is missing.
pub(super) async fn check(State(callers): State<Callers>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let sent = |name| headers.get(name).map(HeaderValue::as_bytes);
    match callers.admit(sent(header::AUTHORIZATION), sent(header::HOST)) {
        Ok(()) => next.run(request).await,
        Err(Stranger::Unauthorized) => Problem::unauthorized().into_response(),
        Err(Stranger::ForeignHost(host)) => Problem::foreign_host(&host).into_response(),
    }
}
