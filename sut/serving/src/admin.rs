//! Who may turn the knobs, and how a request is refused.

use axum::Json;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Lets a request with `Authorization: Bearer TOKEN` pass.
///
/// # Errors
/// The answer to any other: 401, or 403 where there is no token at all, so that nobody may.
#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
pub fn authorise(token: Option<&str>, headers: &HeaderMap) -> Result<(), Response> {
    let Some(token) = token else {
        return Err(refuse(StatusCode::FORBIDDEN, "there is no admin token: start with --admin-token TOKEN"));
    };
    if carries(headers, token) {
        return Ok(());
    }
    Err(refuse(StatusCode::UNAUTHORIZED, "expected `Authorization: Bearer TOKEN` with the admin token"))
}

/// Whether a request has this bearer token.
#[must_use]
pub fn carries(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| same(given, token.as_bytes()))
}

/// Compares without telling by its duration how much was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// An answer that says in JSON what is wrong.
#[must_use]
pub fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, axum::http::HeaderValue::from_static(value))])
    }

    #[test]
    fn only_the_token_passes() {
        let status = |token, headers: &HeaderMap| authorise(token, headers).err().map(|r| r.status());
        assert_eq!(status(Some("secret"), &with("Bearer secret")), None);
        for other in ["Bearer secre", "Bearer secretly", "bearer secret", "secret", "Basic secret", "Bearer "]
        {
            assert_eq!(status(Some("secret"), &with(other)), Some(StatusCode::UNAUTHORIZED), "{other}");
        }
        assert_eq!(status(Some("secret"), &HeaderMap::new()), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(None, &with("Bearer ")), Some(StatusCode::FORBIDDEN));
    }
}
