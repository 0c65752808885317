//! What the experts are, and the endpoints for whoever holds the admin token.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serving::admin::{authorise, refuse};
use serving::traces::Routes;
use serving::versions::Versions;

use crate::answer::answer;
use crate::app::App;
use crate::metrics;
use crate::model::Circle;
use crate::plan::{plan, truth};
use crate::shape::Shape;

/// What has spans.
const TRACED: Routes = Routes {
    scheme: "http",
    begin: &["/experts/{expert}/{*path}"],
    join: &["/experts", "/health", "/version", "/metrics", "/admin/{*rest}"],
};

pub(crate) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/experts/{expert}/{*path}", any(answer))
        .route("/experts", get(experts))
        .route("/health", get(health))
        .route("/version", get(version))
        .route("/metrics", get(prometheus))
        .route("/admin/circle", put(set_circle).get(circle))
        .route("/admin/versions", get(versions))
        .route("/admin/versions/{name}", put(roll_out).post(roll_back))
        .route("/admin/plan", get(planned))
        .route("/admin/flush", get(flush));
    app.traces.over(router, TRACED).with_state(app)
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn prometheus(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&app)).into_response()
}

/// All experts, with what a client needs to ask them.
async fn experts(State(app): State<Arc<App>>) -> Response {
    let circle = app.circle();
    let experts = (0..app.count()).map(|expert| {
        let shape = Shape::of(expert);
        json!({
            "expert": expert, "type": shape.expert(), "weight": circle.of(expert).weight,
            "path": format!("/experts/{expert}{}", shape.path()),
        })
    });
    Json(json!({ "experts": experts.collect::<Vec<_>>() })).into_response()
}

async fn circle(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match authorise(app.admin_token.as_deref(), &headers) {
        Ok(()) => Json(&*app.circle()).into_response(),
        Err(refusal) => refusal,
    }
}

async fn set_circle(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Json<Circle>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    match sensible(&app, body) {
        Ok(circle) => app.set_circle(circle),
        Err(refusal) => return refusal,
    }
    Json(&*app.circle()).into_response()
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn sensible(app: &App, body: Result<Json<Circle>, JsonRejection>) -> Result<Circle, Response> {
    let Json(circle) = body.map_err(|rejection| refuse(rejection.status(), &rejection.body_text()))?;
    let problems = circle.problems(app.count());
    if problems.is_empty() {
        return Ok(circle);
    }
    Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; ")))
}

async fn version(State(app): State<Arc<App>>) -> Response {
    Json(json!({ "version": app.versions().active() })).into_response()
}

/// Which version is active, and those that can be rolled back to.
async fn versions(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let versions = app.versions();
    let kept = versions.kept().iter().map(|(name, circle)| json!({ "version": name, "circle": circle }));
    Json(json!({ "active": versions.active(), "kept": kept.collect::<Vec<_>>() })).into_response()
}

/// Rolls out a version, which is a name for a circle.
async fn roll_out(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Circle>, JsonRejection>,
) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    if !Versions::<Circle>::is_name(&name) {
        let expected = "expected 1 to 64 letters, digits and the signs . - _ +";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("version {name:?}: {expected}"));
    }
    let circle = match sensible(&app, body) {
        Ok(circle) => circle,
        Err(refusal) => return refusal,
    };
    // Both under one lock, so that name and circle are of the same version.
    let mut versions = app.versions();
    versions.roll_out(&name, circle.clone());
    app.set_circle(circle);
    Json(json!({ "active": versions.active() })).into_response()
}

/// Rolls back (or forward) to a version that is kept.
async fn roll_back(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let mut versions = app.versions();
    let Some(circle) = versions.roll_back(&name) else {
        let kept = versions.kept().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return refuse(StatusCode::NOT_FOUND, &format!("there is no version {name}; there are: {kept}"));
    };
    app.set_circle(circle);
    Json(json!({ "active": versions.active() })).into_response()
}

#[derive(Deserialize)]
struct Question {
    question: String,
}

/// What each expert does with a question, without asking them: the vote's right answer is known.
async fn planned(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(Question { question }): Query<Question>,
) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let circle = app.circle();
    let experts = (0..app.count()).map(|expert| {
        let model = circle.of(expert);
        let plan = plan(circle.seed, model, expert, &question);
        json!({
            "expert": expert, "weight": model.weight, "vote": plan.vote, "failure": plan.failure,
            "tokens": plan.tokens.len(),
        })
    });
    let truth = truth(circle.seed, &question);
    Json(json!({ "truth": truth, "experts": experts.collect::<Vec<_>>() })).into_response()
}

/// Writes the log out and says how many lines were lost.
async fn flush(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorise(app.admin_token.as_deref(), &headers) {
        return refusal;
    }
    let Some(log) = &app.log else {
        return refuse(StatusCode::NOT_FOUND, "there is no log: start with --write-log PATH");
    };
    match log.flush() {
        Ok(()) => Json(json!({ "lost": log.lost() })).into_response(),
        Err(error) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the log cannot be written: {error}"))
        }
    }
}
