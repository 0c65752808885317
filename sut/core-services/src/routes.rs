//! The service's own endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serving::traces::{self, Routes};

use crate::app::{App, BackendError};
use crate::items::{NewItem, Refusal};
use crate::observe::observe;
use crate::store::{Added, Store};
use crate::{admin, database, metrics};

const CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What has spans.
const TRACED: Routes = Routes {
    scheme: "http",
    begin: &["/items/{id}", "/items", "/search"],
    join: &["/health", "/ready", "/version", "/metrics", "/admin/{*rest}"],
};

/// Items in one answer at most.
const MAX_LIMIT: usize = 100;

pub(crate) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/version", get(version))
        .route("/items/{id}", get(item))
        .route("/items", get(list).post(add))
        .route("/search", get(search))
        .route("/metrics", get(prometheus))
        .route("/admin/knobs", put(admin::set_knobs).get(admin::knobs))
        .route("/admin/versions", get(admin::versions))
        .route("/admin/versions/{name}", put(admin::roll_out).post(admin::roll_back))
        .route("/admin/limits", put(admin::set_limits).get(admin::limits))
        .route("/admin/integrity", get(admin::integrity))
        .route("/admin/flush", get(admin::flush))
        .layer(from_fn_with_state(Arc::clone(&app), observe));
    app.traces.over(router, TRACED).with_state(app)
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether writes can be expected to work; what is served from memory goes on without.
async fn ready(State(app): State<Arc<App>>) -> Response {
    match &app.store {
        Store::Database(database) if !database.is_ready() => {
            let body = Json(json!({ "error": "the circuit breaker of the primary is open" }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
        _ => Json(json!({ "status": "ready" })).into_response(),
    }
}

async fn version(State(app): State<Arc<App>>) -> Response {
    Json(json!({ "version": app.versions().active() })).into_response()
}

async fn item(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Response, BackendError> {
    app.backend().await?;
    let Some((cached, body)) = app.item(id).await? else {
        return Ok((StatusCode::NOT_FOUND, Json(json!({ "error": format!("there is no item {id}") })))
            .into_response());
    };
    traces::note("core_services.cache", cached);
    Ok(([(header::CONTENT_TYPE, "application/json"), (CACHE, cached)], body).into_response())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn list(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Response, BackendError> {
    app.backend().await?;
    let (total, items) = app.list(page.offset, page.limit.unwrap_or(20).min(MAX_LIMIT)).await?;
    Ok(Json(json!({ "total": total, "items": items })).into_response())
}

async fn add(State(app): State<Arc<App>>, Json(new): Json<NewItem>) -> Result<Response, BackendError> {
    app.backend().await?;
    let created = |id: u64, body: serde_json::Value| {
        (StatusCode::CREATED, [(header::LOCATION, format!("/items/{id}"))], Json(body)).into_response()
    };
    Ok(match app.add(new).await? {
        Added::Kept(id) => created(id, json!({ "id": id })),
        Added::Written(id, checksum) => created(id, json!({ "id": id, "checksum": checksum })),
        Added::Refused(refusal) => {
            let status = match refusal {
                Refusal::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Full => StatusCode::INSUFFICIENT_STORAGE,
            };
            (status, Json(json!({ "error": refusal.to_string() }))).into_response()
        }
    })
}

#[derive(Deserialize)]
struct Search {
    q: String,
}

async fn search(State(app): State<Arc<App>>, Query(search): Query<Search>) -> Result<Response, BackendError> {
    app.backend().await?;
    let items = app.search(&search.q, 20).await?;
    Ok(Json(json!({ "query": search.q, "items": items })).into_response())
}

async fn prometheus(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&app))
        .into_response()
}

impl IntoResponse for BackendError {
    fn into_response(self) -> Response {
        match self {
            Self::Failed => {
                let body = Json(json!({ "error": "the backend failed" }));
                (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
            }
            Self::Refused(wait) => come_later(wait, &database::Error::Open(wait).to_string()),
            Self::Database(error @ database::Error::Failed { .. }) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error.to_string() })))
                    .into_response()
            }
            Self::Database(error) => come_later(Duration::ZERO, &error.to_string()),
        }
    }
}

fn come_later(wait: Duration, why: &str) -> Response {
    // Whole seconds, rounded up: zero would ask for an immediate retry.
    let seconds = wait.as_secs() + 1;
    let body = Json(json!({ "error": why }));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds.to_string())], body).into_response()
}
