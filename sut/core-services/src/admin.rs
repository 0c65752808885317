//! The knobs' endpoints, for whoever holds the admin token.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use serving::admin::refuse;
use serving::versions::Versions;

use crate::app::App;
use crate::database::{Database, Limits};
use crate::knobs::Knobs;
use crate::store::Store;

pub(crate) async fn knobs(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    Json(&app.tuning().knobs).into_response()
}

pub(crate) async fn set_knobs(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Json<Knobs>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    match sensible(body) {
        Ok(knobs) => app.tune(knobs),
        Err(refusal) => return refusal,
    }
    Json(&app.tuning().knobs).into_response()
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn sensible(body: Result<Json<Knobs>, JsonRejection>) -> Result<Knobs, Response> {
    let Json(knobs) = body.map_err(|rejection| refuse(rejection.status(), &rejection.body_text()))?;
    let problems = knobs.problems();
    if problems.is_empty() {
        return Ok(knobs);
    }
    Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; ")))
}

/// Which version is active, and those that can be rolled back to.
pub(crate) async fn versions(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    let versions = app.versions();
    let kept = versions.kept().iter().map(|(name, knobs)| json!({ "version": name, "knobs": knobs }));
    Json(json!({ "active": versions.active(), "kept": kept.collect::<Vec<_>>() })).into_response()
}

/// Rolls out a version, which is a name for knobs.
pub(crate) async fn roll_out(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Knobs>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    if !Versions::<Knobs>::is_name(&name) {
        let expected = "expected 1 to 64 letters, digits and the signs . - _ +";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("version {name:?}: {expected}"));
    }
    let knobs = match sensible(body) {
        Ok(knobs) => knobs,
        Err(refusal) => return refusal,
    };
    // Both under one lock, so that name and knobs are of the same version.
    let mut versions = app.versions();
    versions.roll_out(&name, knobs.clone());
    app.tune(knobs);
    Json(json!({ "active": versions.active() })).into_response()
}

/// Rolls back (or forward) to a version that is kept.
pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = authorise(&app, &headers) {
        return refusal;
    }
    let mut versions = app.versions();
    let Some(knobs) = versions.roll_back(&name) else {
        let kept = versions.kept().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return refuse(StatusCode::NOT_FOUND, &format!("there is no version {name}; there are: {kept}"));
    };
    app.tune(knobs);
    Json(json!({ "active": versions.active() })).into_response()
}

pub(crate) async fn limits(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match database(&app, &headers) {
        Ok(database) => Json(database.limits().await).into_response(),
        Err(refusal) => refusal,
    }
}

pub(crate) async fn set_limits(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Json<Limits>, JsonRejection>,
) -> Response {
    let database = match database(&app, &headers) {
        Ok(database) => database,
        Err(refusal) => return refusal,
    };
    let limits = match body {
        Ok(Json(limits)) => limits,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let problems = database.problems(&limits);
    if !problems.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; "));
    }
    match database.set_limits(limits).await {
        Ok(()) => Json(limits).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &format!("not all could be held: {error}")),
    }
}

/// What of the acknowledged items each server has.
pub(crate) async fn integrity(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match database(&app, &headers) {
        Ok(database) => Json(database.integrity().await).into_response(),
        Err(refusal) => refusal,
    }
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
fn database<'a>(app: &'a App, headers: &HeaderMap) -> Result<&'a Database, Response> {
    authorise(app, headers)?;
    match &app.store {
        Store::Database(database) => Ok(database),
        Store::Memory(_) => Err(refuse(
            StatusCode::NOT_FOUND,
            "there is no database: start with --primary URL or --sqlite PATH",
        )),
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn authorise(app: &App, headers: &HeaderMap) -> Result<(), Response> {
    serving::admin::authorise(app.admin_token.as_deref(), headers)
}
