use super::*;

fn logged(options: Options, work: impl FnOnce(&Telemetry)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("service.log");
    let options = Options { output: Output::File(path.clone()), ..options };
    let (subscriber, telemetry) = build(&options).unwrap();
    tracing::subscriber::with_default(subscriber, || work(&telemetry));
    std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_level_changes_while_running() {
    let lines = logged(Options::default(), |telemetry| {
        tracing::debug!("too fine");
        telemetry.set_level("debug").unwrap();
        tracing::debug!(rate = 5, "fine enough");
        tracing::debug!(target: "cranelift", "a library's");
        telemetry.set_level("error").unwrap();
        tracing::info!("too fine again");
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("fine enough") && lines[0].contains("rate=5"), "{lines:?}");
}

#[test]
fn json_lines_are_objects_with_flat_fields() {
    let lines = logged(Options { format: Format::Json, ..Options::default() }, |_| {
        tracing::warn!(task = "probe", "task failed");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with('{') && lines[0].ends_with('}'), "{lines:?}");
    for part in [r#""level":"WARN""#, r#""message":"task failed""#, r#""task":"probe""#] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}

#[test]
fn a_wrong_filter_says_what_is_expected_and_changes_nothing() {
    let lines = logged(Options::default(), |telemetry| {
        let error = telemetry.set_filter("scheduler=loud").unwrap_err();
        assert!(
            error.to_string().contains("scheduler=loud") && error.to_string().contains("expected"),
            "{error}"
        );
        tracing::info!("still here");
    });
    assert_eq!(lines.len(), 1);
}

#[test]
fn an_unwritable_log_file_is_named() {
    let output = Output::File(PathBuf::from("/nonexistent/dir/service.log"));
    let error = build(&Options { output, ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/dir/service.log"), "{error}");
}

#[test]
fn spans_are_made_at_every_log_level_and_change_no_line() {
    let collector = "http://127.0.0.1:9".parse().unwrap();
    let ratio = otlp::Ratio::default();
    let traces = Some(otlp::Options { collector, ratio, service: "test".to_owned() });
    let lines = logged(Options { format: Format::Json, traces, ..Options::default() }, |telemetry| {
        let here = || traces::TraceParent::here().is_some();
        crate::span!("one", phase = 3).in_scope(|| {
            tracing::info!("in a span");
            assert!(here());
        });
        telemetry.set_level("error").unwrap();
        assert!(crate::span!("two").in_scope(here), "a level is one of logs");
        assert!(!tracing::info_span!("another").in_scope(here), "others' spans are none of ours");
        let exporter = telemetry.traces().unwrap();
        assert_eq!(exporter.counts().ended, 2);
        exporter.end();
    });
    assert!(lines[0].contains("in a span") && !lines[0].contains("phase"), "{lines:?}");
    assert!(logged(Options::default(), |_| assert!(crate::span!("one").is_disabled())).is_empty());
}
