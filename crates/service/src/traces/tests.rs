use super::*;

use std::net::TcpListener;

use otlp::{CollectorUrl, Counts, Exporter, Options, Ratio};
use tracing_subscriber::layer::SubscriberExt as _;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that nobody is at.
fn nobody() -> CollectorUrl {
    // The port was free a moment ago, and is again.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}").parse().unwrap()
}

/// Does something where spans go to an exporter, and ends that; what became of the spans.
fn traced(ratio: &str, work: impl FnOnce()) -> Counts {
    let ratio = ratio.parse().unwrap();
    let options = Options { collector: nobody(), ratio, service: "test".to_owned() };
    let exporter = Exporter::start(&options).unwrap();
    let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer()).with_context_activation(false);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    exporter.end();
    exporter.counts()
}

#[test]
fn a_parent_comes_back_as_it_was_written() {
    let parent: TraceParent = PARENT.parse().unwrap();
    assert_eq!(parent.to_string(), PARENT);
    let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-else";
    assert_eq!(later.parse(), Ok(parent), "a later version, and flags that are not ours");
    for wrong in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6-00f067aa0ba902b7-01",
    ] {
        assert_eq!(wrong.parse::<TraceParent>(), Err(NoTraceParent), "{wrong}");
    }
}

#[test]
fn a_span_is_under_the_parent_that_it_is_given() {
    let counts = traced("1", || {
        assert_eq!(TraceParent::here(), None);
        let parent: TraceParent = PARENT.parse().unwrap();
        let span = under(Some(&parent), || crate::span!("child", phase = 3));
        let here = span.in_scope(TraceParent::here).unwrap().to_string();
        assert!(here.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && here != PARENT, "{here}");
        let none = under(None, || panic!("no span without a parent"));
        assert!(none.is_disabled());
    });
    assert_eq!(counts, Counts { ended: 1, delivered: 0, lost: 1 });
}

#[test]
fn what_is_untraced_has_no_parent() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    traced("1", || {
        runtime
            .block_on(within(crate::span!("outer"), async {
                assert!(TraceParent::here().is_some());
                assert_eq!(untraced(async { TraceParent::here() }).await, None);
                Ok::<(), String>(())
            }))
            .unwrap();
    });
}

#[test]
fn a_share_of_nothing_keeps_nothing_and_who_takes_part_follows() {
    let counts = traced("0", || {
        let root = crate::span!("root");
        let here = root.in_scope(TraceParent::here).unwrap().to_string();
        assert!(here.ends_with("-00"), "others are told that it is not kept: {here}");
    });
    assert_eq!(counts, Counts::default());
    let unkept: TraceParent = PARENT.replace("-01", "-00").parse().unwrap();
    assert_eq!(traced("1", || drop(under(Some(&unkept), || crate::span!("child")))), Counts::default());
    let kept: TraceParent = PARENT.parse().unwrap();
    assert_eq!(traced("0", || drop(under(Some(&kept), || crate::span!("child")))).ended, 1);
}

#[test]
fn more_than_the_queue_holds_is_lost_and_counted_without_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Connections are made, and nobody answers.
    let collector = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let options = Options { collector, ratio: Ratio::default(), service: "test".to_owned() };
    let exporter = Exporter::start(&options).unwrap();
    let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        (0..10_000).for_each(|_| drop(crate::span!("one")));
    });
    let counts = exporter.counts();
    assert!(counts.ended == 10_000 && counts.lost > 5_000, "{counts:?}");
    let begun = std::time::Instant::now();
    exporter.end();
    assert!(begun.elapsed().as_secs() < 30, "the end is bounded");
    assert_eq!(exporter.counts(), Counts { ended: 10_000, delivered: 0, lost: 10_000 });
}
