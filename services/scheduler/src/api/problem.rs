//! Errors as RFC 9457 problem details.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong: `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: `urn:gauntlet:problem:…`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was found, what was expected, and how to mend it.
    detail: String,
    /// Everything that is wrong, where there may be several things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:gauntlet:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read", detail)
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "send the scheduler's token as `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token is missing or wrong", detail)
    }

    pub(super) fn foreign_host(host: &str) -> Self {
        let detail = format!(
            "addressed to {host:?}: without a token only localhost, 127.0.0.1 and [::1] are answered"
        );
        Self::new(StatusCode::FORBIDDEN, "foreign-host", "The request is not addressed to loopback", detail)
    }

    pub(super) fn no_run(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-run", "There is no such run", detail)
    }

    pub(super) fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", "It cannot be done now", detail)
    }

    pub(super) fn rejected(problems: Vec<String>) -> Self {
        let detail = problems.join("\n");
        let rejected =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", "The run was not accepted", detail);
        Self { problems, ..rejected }
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service is not available", detail)
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        tracing::error!(%error, "a request failed on the store");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store", "The store failed", error.to_string())
    }
}

impl From<bus::BusError> for Problem {
    fn from(error: bus::BusError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// No route has the path.
pub(super) async fn no_such_path(request: Request) -> Problem {
    let detail = format!("{}: the paths are listed in /openapi.json", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", "There is nothing at this path", detail)
}

/// The path has no such method.
pub(super) async fn no_such_method(request: Request) -> Problem {
    let detail =
        format!("{} {}: the methods are listed in /openapi.json", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "The path has no such method", detail)
}
