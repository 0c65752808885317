//! The queue, the thread that sends what is in it, and the counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};

use crate::settings::{CollectorUrl, Options};

/// Spans that wait for the collector; more are lost.
const QUEUE: u16 = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with it.
const DELAY: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the last spans may take to be delivered when the process ends.
const LAST: Duration = Duration::from_secs(3);
/// The same for a collector that took none before: it may have come back this moment.
const LAST_TRY: Duration = Duration::from_millis(200);

/// Spans of this process since it began. What is in none of the last two waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans that ended.
    pub ended: u64,
    /// Of these: the collector has them.
    pub delivered: u64,
    /// Of these: lost because the queue was full, or because the collector did not take them.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Tally {
    ended: AtomicU64,
    waiting: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
    /// The last attempt to deliver failed.
    away: AtomicBool,
    /// Nothing is waited for any more.
    over: AtomicBool,
}

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces: {0}: allow more threads and open files (ulimit -u, -n), or leave the collector out")]
pub struct NotStarted(String);

/// The sending of spans. Clones share it.
#[derive(Clone, Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    collector: CollectorUrl,
}

impl Exporter {
    /// Begins to send. The collector need not be there.
    ///
    /// # Errors
    /// When no thread or socket can be had for it.
    pub fn start(options: &Options) -> Result<Self, NotStarted> {
        let exporter = Otlp::builder()
            .with_http()
            .with_http_client(client().map_err(NotStarted)?)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", options.collector))
            .with_timeout(ANSWER)
            .build()
            .map_err(|error| NotStarted(error.to_string()))?;
        let tally = Arc::new(Tally::default());
        let told = Told { inner: exporter, tally: Arc::clone(&tally), collector: options.collector.clone() };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(usize::from(QUEUE))
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let inner = BatchSpanProcessor::builder(told).with_batch_config(config).build();
        let resource = Resource::builder()
            .with_service_name(options.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.ratio.share()))))
            .with_resource(resource)
            .with_span_processor(Counted { inner, tally: Arc::clone(&tally) })
            .build();
        Ok(Self { provider, tally, collector: options.collector.clone() })
    }

    /// What makes spans that are sent.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("gauntlet")
    }

    /// What became of the spans so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (ended, delivered) = (read(&self.tally.ended), read(&self.tally.delivered));
        let undelivered = ended.saturating_sub(delivered);
        let lost = if self.tally.over.load(Ordering::Relaxed) { undelivered } else { read(&self.tally.lost) };
        Counts { ended, delivered, lost }
    }

    /// Delivers what waits, and ends. It blocks, at most three seconds, and much less where the collector was away before:
    /// what was not delivered until then is lost, which the log says.
    pub fn end(&self) {
        self.end_within(LAST);
    }

    /// The same, but in this time; a fifth of a second is always taken, for a collector that is there needs no more.
    pub fn end_within(&self, time: Duration) {
        let away = self.tally.away.load(Ordering::Relaxed);
        let patience = if away { LAST_TRY } else { time.clamp(LAST_TRY, LAST) };
        // Its error says that time was up, which the counts say better.
        let _ = self.provider.shutdown_with_timeout(patience);
        self.tally.over.store(true, Ordering::Relaxed);
        let Counts { ended, lost, .. } = self.counts();
        if lost > 0 {
            tracing::warn!(collector = %self.collector, lost, of = ended, "spans did not reach the collector");
        }
    }
}

/// The client, which blocks the exporter's thread and nobody else. It may be neither made nor dropped on a thread of tokio.
fn client() -> Result<reqwest::blocking::Client, String> {
    let build = || reqwest::blocking::Client::builder().no_proxy().timeout(ANSWER).build();
    let made = std::thread::Builder::new().name("traces".to_owned()).spawn(build);
    let made = made.map_err(|error| error.to_string())?.join();
    made.map_err(|_| "the client's thread panicked".to_owned())?.map_err(|error| error.to_string())
}

/// Counts spans, and bounds those that wait.
#[derive(Debug)]
struct Counted {
    inner: BatchSpanProcessor,
    tally: Arc<Tally>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        self.tally.ended.fetch_add(1, Ordering::Relaxed);
        if self.tally.waiting.fetch_add(1, Ordering::Relaxed) >= u64::from(QUEUE) {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Tells what became of the spans.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    tally: Arc<Tally>,
    collector: CollectorUrl,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.tally.waiting.fetch_sub(spans, Ordering::Relaxed);
        let done = self.inner.export(batch).await;
        let (count, away) = match &done {
            Ok(()) => (&self.tally.delivered, false),
            Err(_) => (&self.tally.lost, true),
        };
        count.fetch_add(spans, Ordering::Relaxed);
        let was_away = self.tally.away.swap(away, Ordering::Relaxed);
        match &done {
            Err(error) if !was_away => {
                tracing::warn!(collector = %self.collector, %error, "the collector takes no spans: they are lost until it does");
            }
            Ok(()) if was_away => {
                tracing::info!(collector = %self.collector, "the collector takes spans again");
            }
            _ => {}
        }
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
