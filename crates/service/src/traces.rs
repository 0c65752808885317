//! Traces: what a service does for a run, as spans that are sent to a collector ([`otlp`]), and how one run is one trace
//! across services: the bus carries a [`TraceParent`] with each command.
//!
//! Spans are for the control plane. Nothing on a load thread, and nothing that happens for each request of the load, is
//! one. Without a collector nobody wants them, and making one costs what a disabled log line does.

use std::fmt::{self, Display};
use std::str::FromStr;

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, Value};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that are traced. Logs leave them out: whether there is a collector changes no log line.
pub const TARGET: &str = "gauntlet_traces";

/// A span of a trace: `span!("phase", phase = 3)`. Its parent is the span that it is made in, unless [`under`] says another.
/// `otel.name` and `otel.kind` are its name and kind where they are not those of the macro's call.
#[macro_export]
macro_rules! span {
    ($($all:tt)*) => { $crate::tracing::info_span!(target: $crate::traces::TARGET, $($all)*) };
}

tokio::task_local! {
    static UNTRACED: ();
}

/// A span of some process, as the parent of what others do for it: `traceparent` of W3C's Trace Context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(SpanContext);

impl TraceParent {
    /// The span that this code runs in; `None` when it runs in none, or [`untraced`].
    #[must_use]
    pub fn here() -> Option<Self> {
        if UNTRACED.try_with(|()| ()).is_ok() {
            return None;
        }
        let context = Span::current().context();
        let found = context.span().span_context().clone();
        found.is_valid().then_some(Self(found))
    }
}

impl Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span, flags) = (self.0.trace_id(), self.0.span_id(), self.0.trace_flags().to_u8());
        write!(f, "00-{trace}-{span}-{flags:02x}")
    }
}

/// The text is none that this version of the format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 00-<32 hexadecimal digits>-<16>-<2>, as W3C's Trace Context has it")]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.trim().split('-');
        let mut part = |digits: usize| {
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            parts.next().filter(|part| part.len() == digits && part.bytes().all(lower)).ok_or(NoTraceParent)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may have more parts; what ours needs is in the first.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(NoTraceParent);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| NoTraceParent)?;
        let span = SpanId::from_hex(span).map_err(|_| NoTraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NoTraceParent)?;
        let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
        let found = SpanContext::new(trace, span, flags, true, TraceState::default());
        if found.is_valid() { Ok(Self(found)) } else { Err(NoTraceParent) }
    }
}

/// A span under a parent in another task or process. Without a parent there is none: what is done for no trace begins none.
pub fn under(parent: Option<&TraceParent>, make: impl FnOnce() -> Span) -> Span {
    let Some(TraceParent(parent)) = parent else { return Span::none() };
    let span = make();
    // Refused when nothing is exported here: then there is no span either.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent.clone()));
    span
}

/// Notes something on a span that was not known when it was made.
pub fn note(span: &Span, key: &'static str, value: impl Into<Value>) {
    span.set_attribute(key, value);
}

/// Gives a span the status of an error, with its words.
pub fn failed(span: &Span, why: &dyn Display) {
    if !span.is_disabled() {
        span.set_status(Status::error(why.to_string()));
    }
}

/// Does work in a span, whose status becomes that of an error if one comes of it.
///
/// # Errors
/// Those of the work.
pub fn within<T, E: Display>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // On the heap, because work that is worth a span is large, and its future would be copied into each one around it.
    let work = Box::pin(work.instrument(span.clone()));
    async move {
        let done = work.await;
        if let Err(error) = &done {
            failed(&span, error);
        }
        done
    }
}

/// Does work that belongs to no trace, wherever it is done: what is asked every second would drown the rest.
pub fn untraced<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    UNTRACED.scope((), Box::pin(work))
}

#[cfg(test)]
mod tests;
