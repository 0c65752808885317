//! The shapes of answers, and how bodies are read.

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

const NO_SNIFFING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
const PLAIN: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
const JSON: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// What a handler answers with.
pub(super) type Answer = Result<Response, Error>;

/// As Go's `http.Error` writes it.
pub(super) fn text(status: StatusCode, text: &str) -> Response {
    (status, [PLAIN, NO_SNIFFING], format!("{text}\n")).into_response()
}

/// An error of the API.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let body = serde_json::json!({ "error": message, "status": status.as_u16() });
    text(status, &body.to_string())
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [JSON], body).into_response(),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// Nothing to say.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Reads a body, whatever content type it claims to have.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Body(error.to_string()))
}

/// The status of an error.
pub(super) fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        error(status(&self), &self.to_string())
    }
}
