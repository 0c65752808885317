//! What the experts are, and the endpoints for whoever holds the admin token.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serving::admin::{authorise, refuse};
use serving::traces::Routes;

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
    join: &["/experts", "/health", "/metrics", "/admin/{*rest}"],
};

pub(crate) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/experts/{expert}/{*path}", any(answer))
        .route("/experts", get(experts))
        .route("/health", get(health))
        .route("/metrics", get(prometheus))
        .route("/admin/circle", put(set_circle).get(circle))
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
    let circle = match body {
        Ok(Json(circle)) => circle,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let problems = circle.problems(app.count());
    if !problems.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &problems.join("; "));
    }
    app.set_circle(circle);
    Json(&*app.circle()).into_response()
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
