//! Logs of a service: text for people, JSON for machines, at a level that follows the phase (requirement R8.2); and its
//! traces, which are independent of that level.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use otlp::Exporter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, LevelFilter, ParseError};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{Layer, fmt, reload};

use crate::traces;

/// Our own crates, by the names that their log lines carry: what [`Telemetry::set_level`] applies to.
pub const CRATES: [&str; 21] = [
    "bus",
    "chaos",
    "core_services",
    "draws",
    "fault_agent",
    "fault_proxy",
    "gauntlet",
    "launch",
    "load_worker",
    "metrics",
    "otlp",
    "plan",
    "platform",
    "prober",
    "recovery",
    "report",
    "sandbox",
    "scheduler",
    "series",
    "service",
    "store",
];

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, target, message, fields.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    #[default]
    Stderr,
    /// Appended to this file, which is made if need be; its directory must exist.
    File(PathBuf),
}

/// How a service logs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shape of lines.
    pub format: Format,
    /// Directives as `RUST_LOG` has them: `info`, `warn,scheduler=debug`.
    pub filter: String,
    /// Where lines go.
    pub output: Output,
    /// Where spans go; `None` = nowhere.
    pub traces: Option<otlp::Options>,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: Format::Text, filter: directives("info"), output: Output::Stderr, traces: None }
    }
}

/// Why telemetry could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log filter {filter:?}: {source}: expected directives such as `info` or `warn,scheduler=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The log file cannot be opened.
    #[error("log file {}: {source}: choose a path in a writable directory", .path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Spans cannot be sent.
    #[error(transparent)]
    Traces(#[from] otlp::NotStarted),
    /// The process logs already.
    #[error("logging was set up before in this process: set it up once, in main")]
    Twice,
    /// The subscriber is gone.
    #[error("logging has ended: its level cannot be changed any more")]
    Ended,
}

/// A handle to change the log level while the service runs, and to what is traced.
#[derive(Clone, Debug)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    traces: Option<Exporter>,
}

impl Telemetry {
    /// Replaces the filter by these directives.
    ///
    /// # Errors
    /// When they cannot be read; the present filter stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), TelemetryError> {
        let parsed = parse(filter)?;
        self.filter.reload(parsed).map_err(|_| TelemetryError::Ended)
    }

    /// What sends spans, if anything does. End it when nothing makes any more.
    #[must_use]
    pub const fn traces(&self) -> Option<&Exporter> {
        self.traces.as_ref()
    }

    /// Sets the level of our own crates, as a phase asks for it: `error`, `warn`, `info`, `debug`, `trace`. Libraries stay
    /// at `warn`: at `trace` a wasm compiler alone would drown everything.
    ///
    /// # Errors
    /// When the level is none of these.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        self.set_filter(&directives(level))
    }
}

/// The directives that set our own crates to `level` and leave libraries at `warn`.
#[must_use]
pub fn directives(level: &str) -> String {
    let ours: Vec<String> = CRATES.iter().map(|name| format!("{name}={level}")).collect();
    format!("warn,{}", ours.join(","))
}

/// Sets up logging for the whole process.
///
/// # Errors
/// When the filter or the file is wrong, or when the process logs already.
pub fn init(options: &Options) -> Result<Telemetry, TelemetryError> {
    let (subscriber, telemetry) = build(options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)?;
    Ok(telemetry)
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn build(options: &Options) -> Result<(Subscriber, Telemetry), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(&options.filter)?);
    let (writer, to_file) = match &options.output {
        Output::Stderr => (BoxMakeWriter::new(io::stderr), false),
        Output::File(path) => (BoxMakeWriter::new(Mutex::new(open(path)?)), true),
    };
    let ansi = !to_file && io::IsTerminal::is_terminal(&io::stderr());
    let lines = match options.format {
        Format::Text => fmt::layer().with_writer(writer).with_ansi(ansi).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    // With a hint to both: else each disabled line of a load thread would be looked at anew.
    let no_spans = FilterFn::new(|of| of.target() != traces::TARGET).with_max_level_hint(LevelFilter::TRACE);
    let logged = Registry::default().with(lines.with_filter(filter.and(no_spans)));
    let Some(options) = &options.traces else {
        return Ok((Box::new(logged), Telemetry { filter: handle, traces: None }));
    };
    let exporter = Exporter::start(options)?;
    let traced = FilterFn::new(|of| of.is_span() && of.target() == traces::TARGET);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(exporter.tracer())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(traced.with_max_level_hint(LevelFilter::INFO));
    Ok((Box::new(logged.with(spans)), Telemetry { filter: handle, traces: Some(exporter) }))
}

fn open(path: &std::path::Path) -> Result<Arc<File>, TelemetryError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map(Arc::new)
        .map_err(|source| TelemetryError::File { path: path.to_owned(), source })
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests;
