//! The HTTP API: Toxiproxy's, call for call, and `/counters`, `/proxies/{proxy}/draws` and `/metrics`.
//!
//! Bodies of errors are `{"error": …, "status": …}` with the content type that Toxiproxy gives them, `text/plain`. Which
//! path there is, which method it takes and how a browser is turned away is Toxiproxy's too.

mod answer;
mod calls;
mod counters;
mod guard;
mod metrics;
mod proxies;
mod toxics;

use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::USER_AGENT;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use service::Shutdown;
use tokio::net::TcpListener;

use crate::Registry;

pub use calls::Calls;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// The version of Toxiproxy whose API this is: clients look at it to see what they may ask for.
pub const SPEAKS: &str = "2.12.0";

/// Why the API is not there.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is none.
    #[error("listen: found {address:?}: {problem}; expected a host and port, such as 127.0.0.1:8474")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The address is open to others, and there is no token.
    #[error(
        "listen: {0} is not a loopback address, and whoever reaches the API can break every connection: give a token with \
         --token-file, or listen on 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// The address cannot be had.
    #[error("listen: cannot listen on {address}: {source}; choose another port, 0 = any")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Listens on a host and port.
///
/// # Errors
/// When it is none, cannot be had, or would be open to others without a token.
pub async fn listen(address: &str, has_token: bool) -> Result<TcpListener, ApiError> {
    let wrong = |problem: String| ApiError::Address { address: address.to_owned(), problem };
    let found = tokio::net::lookup_host(address).await.map_err(|error| wrong(error.to_string()))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let socket = *found.first().ok_or_else(|| wrong("the name has no address".to_owned()))?;
    if !socket.ip().is_loopback() && !has_token {
        return Err(ApiError::Unprotected(socket));
    }
    TcpListener::bind(socket).await.map_err(|source| ApiError::Listen { address: socket, source })
}

/// Answers until the shutdown, and finishes what it has begun. Calls are noted in `calls`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    token: Option<String>,
    calls: Calls,
    shutdown: Shutdown,
) -> Result<(), io::Error> {
    let app = router(registry, token, calls);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { shutdown.triggered().await })
        .into_future()
        .await
}

fn router(registry: Registry, token: Option<String>, calls: Calls) -> Router {
    Router::new()
        .route("/reset", post(proxies::reset))
        .route("/proxies", get(proxies::list).post(proxies::create))
        .route("/populate", post(proxies::populate))
        .route(
            "/proxies/{proxy}",
            get(proxies::show).post(proxies::update).patch(proxies::update).delete(proxies::delete),
        )
        .route("/proxies/{proxy}/draws", get(proxies::draws))
        .route("/proxies/{proxy}/toxics", get(toxics::list).post(toxics::create))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            get(toxics::show).post(toxics::update).patch(toxics::update).delete(toxics::delete),
        )
        .route("/version", get(version))
        .route("/counters", get(counters::show))
        .route("/metrics", get(metrics::show))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(calls, calls::note))
        .layer(middleware::from_fn_with_state(service::Callers::new(token), guard::check))
        .layer(middleware::from_fn(no_browsers))
        .with_state(registry)
}

async fn version() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json;charset=utf-8")];
    (kind, format!("{{\"version\": \"{SPEAKS}\"}}\n")).into_response()
}

async fn no_such_path() -> Response {
    answer::text(StatusCode::NOT_FOUND, "404 page not found")
}

async fn no_such_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// Pages in a browser could otherwise reach it: they send requests to any address.
async fn no_browsers(request: Request, next: Next) -> Response {
    let agent = request.headers().get(USER_AGENT).map(header::HeaderValue::as_bytes).unwrap_or_default();
    if agent.starts_with(b"Mozilla/") {
        return answer::text(StatusCode::FORBIDDEN, "User agent not allowed");
    }
    next.run(request).await
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_open_without_a_token() {
        let refused = listen("0.0.0.0:0", false).await.unwrap_err();
        assert!(refused.to_string().contains("--token-file"), "{refused}");
        assert!(listen("0.0.0.0:0", true).await.is_ok());
        assert!(listen("127.0.0.1:0", false).await.is_ok());
        let wrong = listen("nowhere", false).await.unwrap_err();
        assert!(wrong.to_string().contains("127.0.0.1:8474"), "{wrong}");
    }
}
