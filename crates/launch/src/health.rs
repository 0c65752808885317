//! Health, readiness and metrics of a process, for its supervisor and for Prometheus, on a loopback address.
//!
//! `/healthz` answers as long as the process does; `/readyz` says what the service waits for, with status 503; `/metrics` is
//! about the process itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use otlp::{Counts, Exporter};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use service::{OnError, Shutdown, Tasks};
use tokio::net::TcpListener;

use crate::Error;
use crate::process::{self, Usage};

/// The format that `prometheus-client` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Something that readiness depends on; what is wrong with it, for people.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a process says of itself. Clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    role: &'static str,
    traces: Option<Exporter>,
    checks: Mutex<Vec<(&'static str, Check)>>,
    /// The service takes requests.
    ready: Mutex<bool>,
}

impl Health {
    /// Of a service that is not ready yet; with what sends its spans, if anything does.
    #[must_use]
    pub fn new(role: &'static str, traces: Option<Exporter>) -> Self {
        let inner = Inner { role, traces, checks: Mutex::default(), ready: Mutex::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// Adds something without which the service is not ready.
    pub fn depends_on(
        &self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let mut checks = self.inner.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.push((name, Box::new(check)));
    }

    /// The service takes requests from now on.
    pub fn ready(&self) {
        *self.inner.ready.lock().unwrap_or_else(PoisonError::into_inner) = true;
        tracing::info!(service = self.inner.role, "ready");
    }

    /// What the service waits for; empty = it is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let checks = self.inner.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = checks
            .iter()
            .filter_map(|(name, check)| check().err().map(|problem| format!("{name}: {problem}")));
        let mut missing: Vec<String> = failed.collect();
        if !*self.inner.ready.lock().unwrap_or_else(PoisonError::into_inner) {
            missing.push("service: starting".to_owned());
        }
        missing
    }

    /// Serves on a loopback address until the shutdown.
    ///
    /// # Errors
    /// When the address is not one, is not loopback, or cannot be had.
    pub(crate) async fn serve(&self, address: &str, tasks: &Tasks, shutdown: &Shutdown) -> Result<(), Error> {
        let socket = match address.parse::<SocketAddr>() {
            Ok(socket) if socket.ip().is_loopback() => socket,
            _ => {
                return Err(Error::Input(format!(
                    "health: found {address:?}, expected a loopback address and port such as 127.0.0.1:9100: it has no access control"
                )));
            }
        };
        let listener = TcpListener::bind(socket).await.map_err(|error| {
            Error::Environment(format!(
                "health: cannot listen on {socket}: {error}; choose another port, 0 = any"
            ))
        })?;
        if let Ok(bound) = listener.local_addr() {
            tracing::info!(address = %bound, "health, readiness and metrics of the process");
        }
        let router = Router::new()
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics))
            .with_state(self.clone());
        let end = shutdown.clone();
        tasks.spawn("health", OnError::Log, async move {
            axum::serve(listener, router).with_graceful_shutdown(async move { end.triggered().await }).await
        });
        Ok(())
    }
}

async fn readiness(State(health): State<Health>) -> Response {
    let missing = health.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("\n"))).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut registry = Registry::default();
    let ready = health.missing().is_empty();
    let traces = health.inner.traces.as_ref().map(Exporter::counts);
    registry.register_collector(Box::new(Process { ready, traces, usage: process::usage() }));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// One look at the process.
#[derive(Debug)]
struct Process {
    ready: bool,
    traces: Option<Counts>,
    usage: Option<Usage>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ready = ConstGauge::new(i64::from(self.ready));
        let described = encoder.encode_descriptor(
            "gauntlet_ready",
            "1 = the service is ready",
            None,
            ready.metric_type(),
        )?;
        ready.encode(described)?;
        if let Some(Counts { ended, delivered, lost }) = self.traces {
            for (name, help, value) in [
                ("gauntlet_spans", "Spans that ended", ended),
                ("gauntlet_spans_delivered", "Spans that the collector has", delivered),
                ("gauntlet_spans_lost", "Spans that did not fit into the queue or were not taken", lost),
            ] {
                let count = ConstCounter::new(value);
                count.encode(encoder.encode_descriptor(name, help, None, count.metric_type())?)?;
            }
        }
        let Some(usage) = &self.usage else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let seconds = Some(&Unit::Seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu",
            "Processor time used",
            seconds,
            cpu.metric_type(),
        )?)?;
        for (name, help, unit, value) in [
            ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), usage.resident_bytes),
            ("process_open_fds", "Open files", None, usage.open_files),
            ("process_threads", "Threads", None, usage.threads),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing() {
        let health = Health::new("test", None);
        let here = Arc::new(Mutex::new(false));
        let seen = Arc::clone(&here);
        health.depends_on("nats", move || {
            if *seen.lock().unwrap() { Ok(()) } else { Err("not connected".to_owned()) }
        });
        assert_eq!(health.missing(), ["nats: not connected", "service: starting"]);
        health.ready();
        assert_eq!(health.missing(), ["nats: not connected"]);
        *here.lock().unwrap() = true;
        assert_eq!(health.missing(), [""; 0]);
    }

    #[tokio::test]
    async fn metrics_are_of_this_process() {
        let health = Health::new("test", None);
        let response = metrics(State(health)).await;
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("gauntlet_ready 0"), "{text}");
        assert!(text.contains("process_cpu_seconds_total ") && text.contains("process_open_fds "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn nothing_listens_where_others_reach_it() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let refused = Health::new("test", None).serve("0.0.0.0:0", &tasks, &shutdown).await;
        assert!(matches!(refused, Err(Error::Input(text)) if text.contains("loopback")));
    }
}
