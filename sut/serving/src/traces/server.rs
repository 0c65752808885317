//! The spans of requests, after OpenTelemetry's conventions for HTTP servers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::USER_AGENT;
use axum::http::{Method, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

use super::{HERE, Here, Traces};

/// The header that a request says its trace in.
const PARENT: &str = "traceparent";
/// The one with what vendors add to it.
pub(super) const STATE: &str = "tracestate";

/// The paths of a router, as templates: `/items/{id}`, `/admin/{*rest}`.
#[derive(Clone, Copy, Debug)]
pub struct Routes {
    /// What clients speak: `http` or `https`.
    pub scheme: &'static str,
    /// Those where a request without a `traceparent` begins a trace.
    pub begin: &'static [&'static str],
    /// Others. What is asked every second, by a probe or a scraper, would drown the rest: only in somebody's trace has it a span.
    pub join: &'static [&'static str],
}

impl Traces {
    /// Gives the requests of a router spans. Call it last, so that they begin before all else and end after it.
    pub fn over<S: Clone + Send + Sync + 'static>(&self, router: Router<S>, routes: Routes) -> Router<S> {
        let Some(exporter) = &self.0 else { return router };
        let server = Server { tracer: exporter.tracer(), w3c: TraceContextPropagator::new(), routes };
        router.layer(from_fn_with_state(Arc::new(server), serve))
    }
}

struct Server {
    tracer: SdkTracer,
    w3c: TraceContextPropagator,
    routes: Routes,
}

async fn serve(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let Some(here) = server.begin(&request) else { return next.run(request).await };
    let kept = here.context.span().is_recording();
    let head = *request.method() == Method::HEAD;
    let mut ending = Ending { context: kept.then(|| here.context.clone()), told: false };
    request.extensions_mut().insert(here.clone());
    let response = HERE.scope(here, next.run(request)).await;
    ending.answered(&response);
    if !kept || head || response.body().size_hint().exact().is_some() {
        // There is no more to come.
        ending.told = true;
        return response;
    }
    response.map(|body| Body::new(Streamed { body, ending }))
}

impl Server {
    /// The span of a request. It is one, too, if it is not kept: so others are told.
    fn begin(&self, request: &Request) -> Option<Here> {
        let (path, headers) = (request.uri().path(), request.headers());
        let mut parent = Context::new();
        if headers.contains_key(PARENT) {
            parent = self.w3c.extract_with_context(&parent, &HeaderExtractor(headers));
        }
        let find = |templates: &'static [&'static str]| templates.iter().find(|one| fits(one, path)).copied();
        let begins = find(self.routes.begin);
        let probe =
            || headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"gauntlet-probe/"));
        if !parent.has_active_span() && (begins.is_none() || probe()) {
            return None;
        }
        let method = known(request.method());
        let builder = SpanBuilder::from_name(method.unwrap_or("HTTP")).with_kind(SpanKind::Server);
        let context = parent.with_span(self.tracer.build_with_context(builder, &parent));
        let span = context.span();
        if span.is_recording() {
            let template = begins.or_else(|| find(self.routes.join));
            if let Some(template) = template {
                span.update_name(format!("{} {template}", method.unwrap_or("HTTP")));
                span.set_attribute(KeyValue::new("http.route", template));
            }
            if method.is_none() {
                let original = request.method().as_str().to_owned();
                span.set_attribute(KeyValue::new("http.request.method_original", original));
            }
            span.set_attributes([
                KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
                KeyValue::new("url.scheme", self.routes.scheme),
                KeyValue::new("url.path", path.to_owned()),
            ]);
            if let Some(agent) = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
                span.set_attribute(KeyValue::new("user_agent.original", agent.to_owned()));
            }
            if let Some(version) = version(request.version()) {
                span.set_attribute(KeyValue::new("network.protocol.version", version));
            }
        }
        Some(Here { tracer: self.tracer.clone(), context })
    }
}

/// Whether a path is one of a template.
fn fits(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in template.split('/') {
        let Some(part) = parts.next() else { return false };
        if wanted.starts_with("{*") {
            return !part.is_empty();
        }
        let is_name = wanted.starts_with('{');
        if (is_name && part.is_empty()) || (!is_name && part != wanted) {
            return false;
        }
    }
    parts.next().is_none()
}

/// A method that the conventions know. Others are a client's to invent: they must not be names of spans.
fn known(method: &Method) -> Option<&'static str> {
    let all = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    all.into_iter().find(|one| *one == method.as_str())
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The end of a request's span, wherever that comes: dropped before the whole answer was handed over, its client has gone.
struct Ending {
    /// Absent = it is not kept.
    context: Option<Context>,
    told: bool,
}

impl Ending {
    fn answered(&self, response: &Response) {
        let status = response.status();
        self.note("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            self.failed(status.as_str().to_owned());
        }
    }

    fn note(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.context {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    fn failed(&self, kind: impl Into<Value>) {
        self.note("error.type", kind);
        if let Some(context) = &self.context {
            context.span().set_status(Status::error(""));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.told {
            // As with a status of 4xx, the fault is not ours: it is no error of the span's.
            self.note("error.type", "client_closed");
        }
        if let Some(context) = &self.context {
            context.span().end();
        }
    }
}

/// An answer that comes piece by piece.
struct Streamed {
    // Dropped first: what it notes at its end is on the span still.
    body: Body,
    ending: Ending,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        match &polled {
            Poll::Ready(None) => self.ending.told = true,
            Poll::Ready(Some(Err(_))) => {
                self.ending.failed("body");
                self.ending.told = true;
            }
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.ending.told = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
