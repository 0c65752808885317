//! A collector of traces: OTLP over HTTP, as it comes from the wire.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
pub use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, span::SpanKind};
use prost::Message as _;
use tokio::runtime::Runtime;

/// Keeps what it gets. It ends with the value.
pub struct Collector {
    /// Where it is, as programs are told.
    pub url: String,
    got: Arc<Got>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Got {
    spans: Mutex<Vec<Made>>,
    more: Condvar,
}

/// A span with who made it.
#[derive(Clone, Debug)]
pub struct Made {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
    /// As it came.
    pub span: Span,
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Made {
    fn all_of(spans: &ResourceSpans) -> Vec<Self> {
        let resource = &spans.resource.as_ref().expect("spans of a resource").attributes;
        let of = |key| text(resource, key).unwrap_or_else(|| panic!("{key} in {resource:?}"));
        assert_eq!(of("service.version"), env!("CARGO_PKG_VERSION"));
        let (service, instance) = (of("service.name"), of("service.instance.id"));
        let spans = spans.scope_spans.iter().flat_map(|scope| scope.spans.clone());
        spans.map(|span| Self { service: service.clone(), instance: instance.clone(), span }).collect()
    }

    /// An attribute that is a text or a whole number.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }

    /// Whether its status is that of an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }

    /// The trace that it is of, in hexadecimal.
    #[must_use]
    pub fn trace(&self) -> String {
        hexadecimal(&self.span.trace_id)
    }

    /// The span that it is under, in hexadecimal; empty = none.
    #[must_use]
    pub fn parent(&self) -> String {
        hexadecimal(&self.span.parent_span_id)
    }

    /// Whether it is under that one.
    #[must_use]
    pub fn is_under(&self, other: &Self) -> bool {
        self.span.trace_id == other.span.trace_id && self.span.parent_span_id == other.span.span_id
    }
}

/// Those of a name.
#[must_use]
pub fn named<'a>(spans: &'a [Made], name: &str) -> Vec<&'a Made> {
    spans.iter().filter(|made| made.span.name == name).collect()
}

impl Got {
    fn spans(&self) -> MutexGuard<'_, Vec<Made>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector {
    /// Starts one on a free port, inside a runtime or outside.
    ///
    /// # Panics
    /// When there is no port or thread for it.
    #[must_use]
    pub fn start() -> Self {
        let got: Arc<Got> = Arc::default();
        let kept = Arc::clone(&got);
        let take = move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("spans as OTLP has them");
            kept.spans().extend(request.resource_spans.iter().flat_map(Made::all_of));
            kept.more.notify_all();
            std::future::ready(())
        };
        let router = axum::Router::new().route("/v1/traces", post(take));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("threads");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, router).await
        });
        Self { url, got, runtime: Some(runtime) }
    }

    /// What came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Made> {
        self.got.spans().clone()
    }

    /// The spans, once so many of each name have come. It blocks until then.
    ///
    /// # Panics
    /// After a minute, with what came instead.
    #[must_use]
    pub fn until_has(&self, wanted: &[(&str, usize)]) -> Vec<Made> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut spans = self.got.spans();
        while wanted.iter().any(|(name, least)| named(&spans, name).len() < *least) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {wanted:?}; there are {:#?}", *spans);
            spans = self.got.more.wait_timeout(spans, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        spans.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Inside a runtime another one must not be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
