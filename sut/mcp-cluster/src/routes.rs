//! What clients reach: the protocol's endpoint behind its token, health, metrics and the admin endpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::header::{USER_AGENT, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use serving::admin::{carries, refuse};
use serving::traces::Routes;

use crate::app::App;
use crate::handler::Handler;
use crate::{admin, metrics};

/// Where the protocol is spoken.
pub(crate) const ENDPOINT: &str = "/mcp";
/// Where a client learns what the token is for (RFC 9728).
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

pub(crate) fn router(
    app: &Arc<App>,
    url: &str,
    max_sessions: usize,
    protocol: StreamableHttpServerConfig,
    scheme: &'static str,
) -> Router {
    let handler = Handler(Arc::clone(app));
    let service =
        StreamableHttpService::new(move || Ok(handler.clone()), Arc::clone(&app.sessions), protocol);
    let metadata = format!("{url}{METADATA}");
    let described = json!({ "resource": format!("{url}{ENDPOINT}"), "bearer_methods_supported": ["header"] });
    let gate = Gate { app: Arc::clone(app), metadata, max_sessions };
    let protocol =
        Router::new().route_service(ENDPOINT, service).layer(from_fn_with_state(Arc::new(gate), enter));
    let router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(prometheus))
        .route(METADATA, get(async move || Json(described)))
        .merge(admin::router(app))
        .merge(protocol)
        .layer(from_fn_with_state(Arc::clone(app), observe));
    let traced = Routes {
        scheme,
        begin: &[ENDPOINT],
        join: &["/health", "/ready", "/version", "/metrics", METADATA, "/admin/{*rest}"],
    };
    app.traces.over(router, traced).with_state(Arc::clone(app))
}

/// Whether a request may begin a session: one without a session that does not say, as the revision without sessions has it, that
/// it is something else than `initialize`.
fn may_open_session(request: &Request) -> bool {
    let headers = request.headers();
    let modern =
        headers.get("mcp-protocol-version").is_some_and(|version| version.as_bytes() >= &b"2026-07-28"[..]);
    let other = headers.get("mcp-method").is_some_and(|method| method.as_bytes() != b"initialize");
    *request.method() == Method::POST && !headers.contains_key("mcp-session-id") && !(modern && other)
}

/// Who and how many are let in.
struct Gate {
    app: Arc<App>,
    /// Where it is said what the token is for.
    metadata: String,
    max_sessions: usize,
}

async fn enter(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let counters = &gate.app.counters;
    if let Some(token) = &gate.app.bearer
        && !carries(request.headers(), token)
    {
        counters.unauthorised.fetch_add(1, Ordering::Relaxed);
        return challenge(&gate.metadata, request.headers());
    }
    if may_open_session(&request) {
        let open = gate.app.sessions.sessions.read().await.len();
        if open >= gate.max_sessions {
            counters.refused_sessions.fetch_add(1, Ordering::Relaxed);
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &format!("there are {open} sessions already"));
        }
    }
    next.run(request).await
}

/// The answer to a request without the token.
fn challenge(metadata: &str, headers: &HeaderMap) -> Response {
    // A request without any token gets no error code (RFC 6750).
    let error = headers.contains_key(header::AUTHORIZATION).then_some(", error=\"invalid_token\"");
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"{}", error.unwrap_or_default());
    let body =
        Json(json!({ "error": "expected `Authorization: Bearer TOKEN` with the token of this server" }));
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)], body).into_response()
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether it can be counted on.
async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.cluster.view().recovered.load(Ordering::Acquire) {
        return Json(json!({ "status": "ready" })).into_response();
    }
    refuse(StatusCode::SERVICE_UNAVAILABLE, "this server is getting back the copies that it should have")
}

async fn version(State(app): State<Arc<App>>) -> Response {
    Json(json!({ "version": app.versions().active() })).into_response()
}

async fn prometheus(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&app).await)
        .into_response()
}

/// Counts each request, and holds its answer back while a stall lasts; metrics and admin go on.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/metrics" || path.starts_with("/admin/") {
        return next.run(request).await;
    }
    if is_probe(request.headers()) {
        app.counters.probes.fetch_add(1, Ordering::Relaxed);
        let response = next.run(request).await;
        app.stall().await;
        return response;
    }
    let mut seen = Seen::new(Arc::clone(&app));
    let response = next.run(request).await;
    app.stall().await;
    seen.status = response.status().as_u16();
    response
}

fn is_probe(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"gauntlet-probe/"))
}

/// The status of a request whose client closed the connection before the answer, as nginx logs it.
const CLIENT_CLOSED: u16 = 499;

/// A request in progress; ends, with what is known by then, when it is dropped.
struct Seen {
    app: Arc<App>,
    status: u16,
}

impl Seen {
    fn new(app: Arc<App>) -> Self {
        app.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { app, status: CLIENT_CLOSED }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.app.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.app.counters.answered(self.status);
    }
}
