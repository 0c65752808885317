//! What is asked of others while a request is answered.

use std::fmt::Display;

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{KeyValue, Value};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::Here;

/// A client's span, under that of the request. Dropped before it was told how it ended, it was given up.
#[derive(Debug)]
pub struct Child {
    here: Option<Here>,
    told: bool,
}

impl Child {
    /// Begins one; it is none where this task works under none. Its attributes are made only where it is kept.
    #[must_use]
    pub fn begin(name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) -> Self {
        let here = Here::now().map(|Here { tracer, context }| {
            let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
            let context = context.with_span(tracer.build_with_context(builder, &context));
            if context.span().is_recording() {
                context.span().set_attributes(attributes());
            }
            Here { tracer, context }
        });
        Self { here, told: false }
    }

    /// Notes something that was not known when it began.
    pub fn note(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(here) = &self.here {
            here.note(key, value);
        }
    }

    /// Tells whoever is asked that what he does is part of the trace.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Some(here) = &self.here else { return };
        TraceContextPropagator::new().inject_context(&here.context, &mut HeaderInjector(headers));
        if headers.get(super::server::STATE).is_some_and(HeaderValue::is_empty) {
            headers.remove(super::server::STATE);
        }
    }

    /// It ended well, or with an error: its kind, of which there are few, and its words.
    pub fn ended<E: Display>(mut self, error: Option<(&'static str, E)>) {
        self.told = true;
        if let (Some(here), Some((kind, words))) = (&self.here, error) {
            here.note("error.type", kind);
            here.context.span().set_status(Status::error(words.to_string()));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(here) = &self.here else { return };
        if !self.told {
            here.note("error.type", "cancelled");
        }
        here.context.span().end();
    }
}
