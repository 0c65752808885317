//! `GET /metrics` for Prometheus.

mod encode;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use service::Shutdown;
use tokio::net::TcpListener;

use crate::Error;
use crate::service_state::Service;

/// Any loopback port.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The format that `prometheus-client` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Takes the port.
///
/// # Errors
/// When it is not on loopback or cannot be had.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

/// Answers scrapes until the shutdown.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    shutdown: Shutdown,
) -> Result<(), std::io::Error> {
    let router = Router::new().route("/metrics", get(scrape)).with_state(service);
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.triggered().await }).await
}

async fn scrape(State(service): State<Arc<Service>>) -> Response {
    let mut body = String::new();
    let mut registry = Registry::default();
    if let Some(view) = encode::View::of(&service.runs()) {
        registry.register_collector(Box::new(view));
    }
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
