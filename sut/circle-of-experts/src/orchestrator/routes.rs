//! The endpoints: questions, what probes and Prometheus ask, and those for whoever holds the admin token.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serving::admin::{authorise, refuse};
use serving::traces::{self, Routes};
use serving::versions::Versions;

use super::app::App;
use super::metrics::{self, Decision};
use super::query::ask;
use super::settings::Settings;

/// Bytes of a question, or of settings, at most.
const BODY_LIMIT: usize = 64 << 10;

/// What has spans.
const TRACED: Routes = Routes {
    scheme: "http",
    begin: &["/v1/consensus"],
    join: &["/health", "/ready", "/version", "/metrics", "/admin/{*rest}"],
};

pub(super) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/v1/consensus", post(consensus))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(prometheus))
        .route("/admin/settings", put(set_settings).get(settings))
        .route("/admin/versions", get(versions))
        .route("/admin/versions/{name}", put(roll_out).post(roll_back))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    app.traces.over(router, TRACED).with_state(app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    question: String,
}

async fn consensus(State(app): State<Arc<App>>, body: Result<Json<Question>, JsonRejection>) -> Response {
    let question = match body {
        Ok(Json(Question { question })) => question,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    if question.trim().is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "question: expected a text that is not empty");
    }
    if let Some(why) = app.not_ready() {
        return later(&why);
    }
    let circle = app.circle();
    let Some(query) = app.admit(circle.settings.questions) else {
        return later(&format!("{} questions are in progress, as many as may be", circle.settings.questions));
    };
    let knobs = circle.settings.knobs;
    let latency = query.latency(knobs.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if query.fails(knobs.error_rate) {
        query.decided(Decision::Failed);
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed, as the knob error_rate has it");
    }
    // A string always is one in JSON.
    let escaped = serde_json::to_string(&question).unwrap_or_default();
    let escaped = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let verdict = ask(&app.client, &circle, (query.number, query.key()), escaped).await;
    traces::note("circle.outcome", verdict.outcome.name());
    query.decided(verdict.outcome);
    let status = match verdict.outcome {
        Decision::NoQuorum => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    (status, Json(verdict)).into_response()
}

fn later(why: &str) -> Response {
    ([(RETRY_AFTER, "1")], refuse(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether it knows whom to ask.
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.not_ready() {
        None => Json(json!({ "status": "ok", "experts": app.circle().experts.len() })).into_response(),
        Some(why) => refuse(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

async fn version(State(app): State<Arc<App>>) -> Response {
    Json(json!({ "version": app.versions().active() })).into_response()
}

async fn prometheus(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&app)).into_response()
}

async fn settings(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match authorise(app.admin_token.as_deref(), &headers) {
        Ok(()) => Json(&app.circle().settings).into_response(),
        Err(refusal) => refusal,
    }
}

async fn set_settings(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Json<Settings>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let settings = match sensible(body) {
        Ok(settings) => settings,
        Err(refusal) => return refusal,
    };
    match tune(&app, settings) {
        Ok(()) => Json(&app.circle().settings).into_response(),
        Err(refusal) => refusal,
    }
}

/// Which version is active, and those that can be rolled back to.
async fn versions(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let versions = app.versions();
    let kept = versions.kept().iter();
    let kept = kept.map(|(name, settings)| json!({ "version": name, "settings": settings }));
    Json(json!({ "active": versions.active(), "kept": kept.collect::<Vec<_>>() })).into_response()
}

/// Rolls out a version, which is a name for settings.
async fn roll_out(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Settings>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    if !Versions::<Settings>::is_name(&name) {
        let expected = "expected 1 to 64 letters, digits and the signs . - _ +";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("version {name:?}: {expected}"));
    }
    let settings = match sensible(body) {
        Ok(settings) => settings,
        Err(refusal) => return refusal,
    };
    // Both under one lock, so that name and settings are of the same version.
    let mut versions = app.versions();
    if let Err(refusal) = tune(&app, settings.clone()) {
        return refusal;
    }
    versions.roll_out(&name, settings);
    Json(json!({ "active": versions.active() })).into_response()
}

/// Rolls back (or forward) to a version that is kept.
async fn roll_back(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let mut versions = app.versions();
    let Some(settings) = versions.roll_back(&name) else {
        let kept = versions.kept().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return refuse(StatusCode::NOT_FOUND, &format!("there is no version {name}; there are: {kept}"));
    };
    match tune(&app, settings) {
        Ok(()) => Json(json!({ "active": versions.active() })).into_response(),
        Err(refusal) => refusal,
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn sensible(body: Result<Json<Settings>, JsonRejection>) -> Result<Settings, Response> {
    let Json(settings) = body.map_err(|rejection| refuse(rejection.status(), &rejection.body_text()))?;
    let problems = settings.problems();
    if problems.is_empty() {
        return Ok(settings);
    }
    Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; ")))
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn tune(app: &App, settings: Settings) -> Result<(), Response> {
    app.tune(settings).map_err(|problem| refuse(StatusCode::INTERNAL_SERVER_ERROR, &problem))
}
