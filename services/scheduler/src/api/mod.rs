//! The public HTTP API: runs, phases, live control, history and live figures, faults and recovery.
//!
//! Errors are RFC 9457 problem details; the description of it all is at `/openapi.json`. It listens on loopback, and then
//! only requests addressed to a loopback name are answered, so that no web page can reach it through a name of its own;
//! elsewhere every request needs the token. `/health` and `/ready` need neither.

mod faults;
mod guard;
mod problem;
mod runs;
mod stream;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use service::Shutdown;
use tokio::net::TcpListener;
use utoipa::OpenApi;

use crate::Error;
use crate::service_loop::Service;

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gauntlet",
        description = "Runs of the stress cycle: create, follow, steer. Errors are RFC 9457 problem details.",
        license(name = "Apache-2.0")
    ),
    paths(
        runs::list,
        runs::create,
        runs::show,
        runs::phases,
        runs::history,
        runs::control,
        faults::list,
        faults::inject,
        faults::stop,
        faults::recovery,
        stream::history,
        stream::live,
        health,
        ready,
        description
    ),
    components(schemas(problem::Problem))
)]
struct Api;

/// The OpenAPI document of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// Binds the API's address.
pub(crate) async fn listen(address: &str, has_token: bool) -> Result<TcpListener, Error> {
    let wrong = |problem: String| Error::Address { address: address.to_owned(), problem };
    let mut found = tokio::net::lookup_host(address)
        .await
        .map_err(|error| wrong(error.to_string()))?
        .collect::<Vec<SocketAddr>>();
    found.sort_by_key(SocketAddr::is_ipv6);
    let Some(socket) = found.first().copied() else {
        return Err(wrong("the name has no address".to_owned()));
    };
    if !socket.ip().is_loopback() && !has_token {
        return Err(Error::Unprotected { address: socket });
    }
    TcpListener::bind(socket).await.map_err(|source| Error::Listen { address: socket, source })
}

/// Serves until the shutdown; streams end with it.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    token: Option<String>,
    end: Shutdown,
) -> Result<(), std::io::Error> {
    let state = State { service, end: end.clone() };
    let app = router(state, token);
    axum::serve(listener, app).with_graceful_shutdown(async move { end.triggered().await }).await
}

/// What handlers need.
#[derive(Clone)]
pub(crate) struct State {
    service: Arc<Service>,
    end: Shutdown,
}

fn router(state: State, token: Option<String>) -> Router {
    let guarded = Router::new()
        .route("/v1/runs", get(runs::list).post(runs::create))
        .route("/v1/runs/{run}", get(runs::show))
        .route("/v1/runs/{run}/phases", get(runs::phases))
        .route("/v1/runs/{run}/history", get(runs::history))
        .route("/v1/runs/{run}/history/stream", get(stream::history))
        .route("/v1/runs/{run}/live", get(stream::live))
        .route("/v1/runs/{run}/control", post(runs::control))
        .route("/v1/runs/{run}/faults", get(faults::list).post(faults::inject))
        .route("/v1/runs/{run}/faults/stop", post(faults::stop))
        .route("/v1/runs/{run}/recovery", get(faults::recovery))
        .route("/openapi.json", get(description))
        .layer(axum::middleware::from_fn_with_state(service::Callers::new(token), guard::check));
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .merge(guarded)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(state)
}

/// The process lives.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "It lives")))]
async fn health() -> &'static str {
    "ok\n"
}

/// Runs are accepted.
#[utoipa::path(
    get, path = "/ready", tag = "service",
    responses(
        (status = 200, description = "Runs are accepted"),
        (status = 503, description = "Shutting down", body = problem::Problem)
    )
)]
async fn ready(
    axum::extract::State(state): axum::extract::State<State>,
) -> Result<&'static str, problem::Problem> {
    if state.service.shutdown.is_triggered() {
        return Err(problem::Problem::unavailable("the scheduler is shutting down"));
    }
    Ok("ready\n")
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI document", content_type = "application/json"))
)]
async fn description() -> axum::Json<utoipa::openapi::OpenApi> {
    axum::Json(openapi())
}
