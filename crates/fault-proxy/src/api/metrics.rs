//! `/metrics`: the counters for Prometheus, those that Toxiproxy has under its names.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry as Metrics, Unit};

use super::{answer, counters};
use crate::Registry;
use crate::proxy::Proxy;

/// The format that `prometheus-client` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStream {
    direction: String,
    listener: String,
    proxy: String,
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    proxy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfToxic {
    proxy: String,
    toxic: String,
}

/// One look at all proxies.
#[derive(Default)]
struct Looks {
    received: Family<OfStream, Counter>,
    sent: Family<OfStream, Counter>,
    connections: Family<Of, Counter>,
    open: Family<Of, Gauge>,
    unreachable: Family<Of, Counter>,
    effects: Family<OfToxic, Counter>,
}

impl Looks {
    fn take(&self, proxy: &Proxy) {
        let (view, counters) = (proxy.view(), counters::of(proxy));
        for (direction, stream) in [("upstream", &counters.upstream), ("downstream", &counters.downstream)] {
            let of = OfStream {
                direction: direction.to_owned(),
                listener: view.listen.clone(),
                proxy: view.name.clone(),
                upstream: view.upstream.clone(),
            };
            self.received.get_or_create(&of).inc_by(stream.received_bytes);
            self.sent.get_or_create(&of).inc_by(stream.sent_bytes);
        }
        let of = Of { proxy: view.name.clone() };
        self.connections.get_or_create(&of).inc_by(counters.connections);
        self.open.get_or_create(&of).set(i64::try_from(counters.open).unwrap_or(i64::MAX));
        self.unreachable.get_or_create(&of).inc_by(counters.unreachable);
        for (toxic, done) in counters.toxics {
            self.effects.get_or_create(&OfToxic { proxy: view.name.clone(), toxic }).inc_by(done.effects);
        }
    }

    fn registered(self) -> Metrics {
        let mut metrics = Metrics::default();
        let bytes = Unit::Bytes;
        metrics.register_with_unit(
            "toxiproxy_proxy_received",
            "Bytes received",
            bytes.clone(),
            self.received,
        );
        metrics.register_with_unit("toxiproxy_proxy_sent", "Bytes sent", bytes, self.sent);
        metrics.register("fault_proxy_connections", "Connections accepted", self.connections);
        metrics.register("fault_proxy_open_connections", "Connections that are open", self.open);
        metrics.register(
            "fault_proxy_unreachable",
            "Connections closed because the upstream could not be reached",
            self.unreachable,
        );
        metrics.register("fault_proxy_toxic_effects", "Times that a toxic acted", self.effects);
        metrics
    }
}

pub(super) async fn show(State(registry): State<Registry>) -> Response {
    let looks = Looks::default();
    for proxy in registry.all() {
        looks.take(&proxy);
    }
    let mut body = String::new();
    match text::encode(&mut body, &looks.registered()) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
