//! Traces of a system under test: a span for each request, and for what is done in it, sent to a collector ([`otlp`]).
//!
//! Without a collector a [`Traces`] is nothing: no layer is added to a router, and what is done for a request finds no span to
//! be under. With one, a request that carries a `traceparent` is part of that trace, and kept or not as it says; another one
//! begins a trace where [`Routes::begin`] has its path, which is kept or not by the ratio.
//!
//! The span of a request is known by the task that answers it ([`note`], [`Child`]); where another task goes on, it takes
//! [`Here`] along.

mod child;
mod server;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::SdkTracer;
use otlp::Exporter;

pub use child::Child;
pub use opentelemetry::KeyValue;
pub use otlp::{CollectorUrl, NotStarted, Options, Ratio};
pub use server::Routes;

/// Flags about traces.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct Flags {
    /// Collector that a span of each request is sent to, OTLP over HTTP: http://host:4318. Without one, none are made.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<CollectorUrl>,
    /// Share of the traces that begin here which are kept, 0 to 1; a request with a traceparent is kept or not as that says.
    #[arg(long, value_name = "SHARE", default_value_t = Ratio::default())]
    otlp_sample_ratio: Ratio,
}

impl Flags {
    /// What they say, for a program that collectors know by this name.
    ///
    /// # Errors
    /// When no thread or socket can be had for it.
    pub fn start(self, service: &str) -> Result<Traces, NotStarted> {
        let Some(collector) = self.otlp_endpoint else { return Ok(Traces::default()) };
        Traces::start(&Options { collector, ratio: self.otlp_sample_ratio, service: service.to_owned() })
    }
}

/// Where the spans of a process go; by default nowhere. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Exporter>);

impl Traces {
    /// Begins to send spans. The collector need not be there.
    ///
    /// # Errors
    /// When no thread or socket can be had for it.
    pub fn start(options: &Options) -> Result<Self, NotStarted> {
        Ok(Self(Some(Exporter::start(options)?)))
    }

    /// Adds what became of the spans to a Prometheus text; nothing where none are made.
    pub fn render(&self, text: &mut String) {
        let Some(counts) = self.0.as_ref().map(Exporter::counts) else { return };
        for (name, help, value) in [
            ("spans_total", "Spans that ended.", counts.ended),
            ("spans_delivered_total", "Of these, spans that the collector has.", counts.delivered),
            (
                "spans_lost_total",
                "Of these, spans that did not fit into the queue or were not taken.",
                counts.lost,
            ),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
    }

    /// Delivers what waits and ends. It blocks for this time at most (a fifth of a second at least, three at most) and says
    /// on standard error what was lost. Call it when nothing makes spans any more.
    pub fn end(&self, time: Duration) {
        let Some(exporter) = &self.0 else { return };
        exporter.end_within(time);
        let counts = exporter.counts();
        if counts.lost > 0 {
            // Where nobody listens, nobody is told.
            let _ = writeln!(
                std::io::stderr(),
                "traces: {} of {} spans did not reach the collector: look whether it is up and keeps up, or lower --otlp-sample-ratio",
                counts.lost,
                counts.ended
            );
        }
    }
}

tokio::task_local! {
    static HERE: Here;
}

/// The span that something is done under, whether or not it is kept.
#[derive(Clone, Debug)]
pub struct Here {
    tracer: SdkTracer,
    context: Context,
}

impl Here {
    /// The span that this task works under.
    #[must_use]
    pub fn now() -> Option<Self> {
        HERE.try_with(Clone::clone).ok()
    }

    /// Notes something on it.
    pub fn note(&self, key: &'static str, value: impl Into<Value>) {
        let span = self.context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }
}

/// Notes something on the span that this task works under, if there is one.
pub fn note(key: &'static str, value: impl Into<Value>) {
    let _ = HERE.try_with(|here| here.note(key, value));
}

/// Does work under a span that another task works under, too.
pub async fn within<T>(here: Option<Here>, work: impl Future<Output = T>) -> T {
    match here {
        Some(here) => HERE.scope(here, work).await,
        None => work.await,
    }
}

#[cfg(test)]
mod tests;
