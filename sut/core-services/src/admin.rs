//! The knobs' endpoints, for whoever holds the admin token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;
use crate::knobs::Knobs;

pub(crate) async fn knobs(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    Json(&app.tuning().knobs).into_response()
}

pub(crate) async fn set_knobs(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Json<Knobs>, axum::extract::rejection::JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    let knobs = match body {
        Ok(Json(knobs)) => knobs,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let problems = knobs.problems();
    if !problems.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; "));
    }
    app.tune(knobs);
    Json(&app.tuning().knobs).into_response()
}

/// Writes the access log out and says how many lines were lost.
pub(crate) async fn flush(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    let Some(log) = &app.access_log else {
        return refuse(StatusCode::NOT_FOUND, "there is no access log: start with --access-log PATH");
    };
    match log.flush() {
        Ok(()) => Json(json!({ "lost": log.lost() })).into_response(),
        Err(error) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the access log cannot be written: {error}"))
        }
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn authorise(app: &App, headers: &HeaderMap) -> Result<(), Response> {
    let Some(token) = &app.admin_token else {
        return Err(refuse(StatusCode::FORBIDDEN, "there is no admin token: start with --admin-token TOKEN"));
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| same(given, token.as_bytes())) {
        return Ok(());
    }
    Err(refuse(StatusCode::UNAUTHORIZED, "expected `Authorization: Bearer TOKEN` with the admin token"))
}

/// Compares without telling by its duration how much was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
