//! The endpoints for whoever holds the admin token.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serving::admin::{authorise, refuse};
use serving::versions::Versions;

use crate::app::App;
use crate::knobs::Knobs;
use crate::members::Members;
use crate::tools::{monitoring, scanner};

pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/admin/knobs", put(set_knobs).get(knobs))
        .route("/admin/versions", get(versions))
        .route("/admin/versions/{name}", put(roll_out).post(roll_back))
        .route("/admin/members", put(set_members).get(members))
        .route("/admin/integrity", get(integrity))
        .route("/admin/plan/source/{repository}", get(planted))
        .route("/admin/plan/series/{series}", get(series))
        .layer(from_fn_with_state(Arc::clone(app), guard))
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match authorise(app.admin_token.as_deref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

async fn knobs(State(app): State<Arc<App>>) -> Response {
    Json(app.knobs()).into_response()
}

async fn set_knobs(State(app): State<Arc<App>>, body: Result<Json<Knobs>, JsonRejection>) -> Response {
    match sensible(body) {
        Ok(knobs) => app.tune(knobs),
        Err(refusal) => return refusal,
    }
    Json(app.knobs()).into_response()
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
async fn versions(State(app): State<Arc<App>>) -> Response {
    let versions = app.versions();
    let kept = versions.kept().iter().map(|(name, knobs)| json!({ "version": name, "knobs": knobs }));
    Json(json!({ "active": versions.active(), "kept": kept.collect::<Vec<_>>() })).into_response()
}

/// Rolls out a version, which is a name for knobs.
async fn roll_out(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Result<Json<Knobs>, JsonRejection>,
) -> Response {
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
async fn roll_back(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    let mut versions = app.versions();
    let Some(knobs) = versions.roll_back(&name) else {
        let kept = versions.kept().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return refuse(StatusCode::NOT_FOUND, &format!("there is no version {name}; there are: {kept}"));
    };
    app.tune(knobs);
    Json(json!({ "active": versions.active() })).into_response()
}

async fn members(State(app): State<Arc<App>>) -> Response {
    Json(&app.cluster.view().members).into_response()
}

async fn set_members(State(app): State<Arc<App>>, body: Result<Json<Members>, JsonRejection>) -> Response {
    let members = match body {
        Ok(Json(members)) => members,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let problems = members.problems_for(&app.name);
    if !problems.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; "));
    }
    app.cluster.set_members(members);
    Json(&app.cluster.view().members).into_response()
}

/// What of the acknowledged objects is there.
async fn integrity(State(app): State<Arc<App>>) -> Response {
    Json(app.cluster.integrity().await).into_response()
}

#[derive(Deserialize)]
struct Files {
    files: u32,
}

/// What is planted in the files of a repository: what `scan` has to find.
async fn planted(
    State(app): State<Arc<App>>,
    Path(repository): Path<String>,
    Query(Files { files }): Query<Files>,
) -> Response {
    if files > scanner::MAX_FILES {
        let most = scanner::MAX_FILES;
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("files: {files} is above {most}"));
    }
    let findings: Vec<_> =
        (0..files).flat_map(|file| scanner::planted(app.seed, &repository, file)).collect();
    Json(json!({ "findings": findings })).into_response()
}

#[derive(Deserialize)]
struct Span {
    from: u64,
    to: u64,
}

/// Seconds of a series in one answer at most.
const MAX_SECONDS: u64 = 10_000;

/// The values of a series: what `query` has to compute with.
async fn series(
    State(app): State<Arc<App>>,
    Path(series): Path<String>,
    Query(Span { from, to }): Query<Span>,
) -> Response {
    if to < from || to - from >= MAX_SECONDS {
        let expected = format!("to: expected less than {MAX_SECONDS} s from `from` ({from}) on, found {to}");
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &expected);
    }
    let values: Vec<u64> = (from..=to).map(|second| monitoring::value(app.seed, &series, second)).collect();
    Json(json!({ "values": values })).into_response()
}
