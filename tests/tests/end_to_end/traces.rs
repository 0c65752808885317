//! Traces: a run is one trace across all services, and a collector that is away changes nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{self, Ended};
use gauntlet_tests::suite::{Parts, Suite};
use gauntlet_tests::{Beside, wait};
use rustix::process::Signal;
use test_servers::collector::{Collector, Made, named};

use crate::plans::{OnePhase, assert_closes, count, phase};

const WORKERS: usize = 2;
const SCHEDULED: u64 = 400;

/// All spans of a run in which nothing special happens.
const NAMES: [&str; 17] = [
    "check",
    "collect",
    "gauntlet run",
    "load end-phase",
    "load end-run",
    "load prepare",
    "load start-phase",
    "metrics aggregate",
    "metrics mark-phase",
    "metrics probes",
    "metrics run",
    "metrics unwatch",
    "metrics watch",
    "phase baseline",
    "prepare",
    "run",
    "scheduler create",
];

/// Each child's parent is the one span of the parent's name, and there are so many; the children.
fn children<'a>(spans: &'a [Made], parent: &str, child: &str, service: &str, many: usize) -> Vec<&'a Made> {
    let [parent] = named(spans, parent)[..] else { panic!("one span {parent} in {spans:#?}") };
    let children = named(spans, child);
    for one in &children {
        assert_eq!(one.span.parent_span_id, parent.span.span_id, "{child} is under {}", parent.span.name);
        assert_eq!(one.service, service, "{child}");
    }
    assert_eq!(children.len(), many, "{child}: {spans:#?}");
    children
}

/// The tree of a run in one phase, made by services of these names.
fn assert_tree(spans: &[Made], workers: usize, names: [&str; 4]) {
    let [cli, scheduler, load, metrics] = names;
    let traces: BTreeSet<_> = spans.iter().map(|made| made.span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 1, "one run is one trace: {spans:#?}");
    let [root] = named(spans, "gauntlet run")[..] else { panic!("one root in {spans:#?}") };
    assert!(root.span.parent_span_id.is_empty() && root.service == cli, "{root:#?}");
    children(spans, "gauntlet run", "scheduler create", scheduler, 1);
    children(spans, "scheduler create", "run", scheduler, 1);
    children(spans, "run", "prepare", scheduler, 1);
    children(spans, "prepare", "metrics watch", metrics, 1);
    let phase = children(spans, "run", "phase baseline", scheduler, 1)[0];
    assert_eq!(phase.attribute("gauntlet.phase.name").as_deref(), Some("baseline"));
    children(spans, "phase baseline", "check", scheduler, 1);
    children(spans, "phase baseline", "metrics mark-phase", metrics, 1);
    children(spans, "phase baseline", "collect", scheduler, 1);
    let [root, collect] = ["gauntlet run", "collect"].map(|name| &named(spans, name)[0].span.span_id);
    let read = named(spans, "metrics run");
    // By the scheduler until all samples are in, and by the command for its report.
    assert!(read.iter().all(|one| one.service == metrics), "{read:#?}");
    assert!(read.iter().any(|one| one.span.parent_span_id == *collect), "{read:#?}");
    assert_eq!(read.iter().filter(|one| one.span.parent_span_id == *root).count(), 1, "{read:#?}");
    for (parent, child) in [
        ("prepare", "load prepare"),
        ("phase baseline", "load start-phase"),
        ("phase baseline", "load end-phase"),
        ("run", "load end-run"),
    ] {
        let told = children(spans, parent, child, load, workers);
        let ids: BTreeSet<_> =
            told.iter().map(|made| made.attribute("gauntlet.worker.id").unwrap()).collect();
        assert_eq!(ids.len(), workers, "{child} names its worker");
        let run = named(spans, "run")[0].attribute("gauntlet.run.id");
        assert!(told.iter().all(|made| made.attribute("gauntlet.run.id") == run), "{child} names its run");
        if parent == "phase baseline" {
            assert!(told.iter().all(|made| made.attribute("gauntlet.phase.index").as_deref() == Some("0")));
        }
    }
    let names: BTreeSet<&str> = spans.iter().map(|made| made.span.name.as_str()).collect();
    let others: Vec<_> = names.difference(&BTreeSet::from(NAMES)).copied().collect();
    assert!(others.is_empty(), "nothing else is traced, and nothing each second: {others:?}");
}

fn plan(core: &Core) -> OnePhase {
    OnePhase::new(&core.url(), "rate = 100\nduration = \"4s\"\nconnections = 10")
}

fn deployed(dir: &Path, flags: &[String]) -> Suite {
    Suite::of(dir, WORKERS, Parts { all: flags.to_vec(), ..Parts::default() })
}

fn run(dir: &Path, suite: &Suite, plan: &str, flags: &[String]) -> Ended {
    let nats = suite.nats.url();
    let mut more = vec!["--nats", &nats];
    more.extend(flags.iter().map(String::as_str));
    gauntlet::start_run(dir, plan, &more).wait(Duration::from_secs(120))
}

/// A whole number that a service says of itself.
fn metric(suite: &Suite, service: &str, name: &str) -> Option<u64> {
    let log = suite.log(service);
    let line = log.lines().find(|line| line.contains("health, readiness and metrics of the process"))?;
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let url = format!("http://{}/metrics", line["address"].as_str()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let text = runtime.block_on(async { client.get(url).send().await?.text().await }).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// What is wanted before the tree is looked at: the ends of what ends last.
const ENDS: [(&str, usize); 5] = [
    ("gauntlet run", 1),
    ("run", 1),
    ("metrics unwatch", 1),
    ("load end-run", WORKERS),
    ("load end-phase", WORKERS),
];

#[test]
fn a_run_is_one_trace_across_services() {
    let dir = Beside::new();
    let (core, collector) = (Core::start(dir.path(), "{}"), Collector::start());
    let flags = [format!("--otlp-url={}", collector.url)];
    let suite = deployed(dir.path(), &flags);
    let ended = run(dir.path(), &suite, &plan(&core).text(), &flags).expect(0);
    assert_closes(phase(&ended.summary()));
    let spans = collector.until_has(&ENDS);
    assert_tree(
        &spans,
        WORKERS,
        ["gauntlet", "gauntlet-scheduler", "gauntlet-load-worker", "gauntlet-metrics"],
    );
    let instances: BTreeSet<_> = spans.iter().map(|made| (&made.service, &made.instance)).collect();
    assert_eq!(instances.len(), 3 + WORKERS, "each process is an instance: {instances:?}");
    assert!(!spans.iter().any(Made::is_error), "{spans:#?}");
}

#[test]
fn a_run_in_one_process_is_one_trace_and_its_failure_is_an_error() {
    let dir = Beside::new();
    let (core, collector) = (Core::start(dir.path(), "{}"), Collector::start());
    let mut plan = plan(&core);
    plan.end = "[thresholds]\nrun = [\"p(99) < 1us\"]".to_owned();
    let flag = format!("--otlp-url={}", collector.url);
    let running = gauntlet::start_run(dir.path(), &plan.text(), &[&flag]);
    let ended = running.wait(Duration::from_secs(120)).expect(99);
    // It has ended, and with it everything was sent.
    let spans = collector.spans();
    assert_tree(&spans, 1, ["gauntlet"; 4]);
    let errors: BTreeSet<&str> =
        spans.iter().filter(|made| made.is_error()).map(|made| made.span.name.as_str()).collect();
    assert_eq!(errors, BTreeSet::from(["gauntlet run", "run"]), "{ended:#?}");
    let run = named(&spans, "run")[0];
    assert!(run.span.status.as_ref().unwrap().message.contains("p(99) < 1us"), "{run:#?}");
    assert_eq!(run.attribute("gauntlet.verdict").as_deref(), Some("failed"));
}

#[test]
fn a_collector_that_is_away_changes_nothing() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    // It takes connections and never answers, which is worse than none.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = [format!("--otlp-url=http://{}", silent.local_addr().unwrap())];
    let mut suite = deployed(dir.path(), &flags);
    let ended = run(dir.path(), &suite, &plan(&core).text(), &flags).expect(0);
    let summary = ended.summary();
    assert_closes(phase(&summary));
    assert_eq!(count(phase(&summary), "scheduled"), SCHEDULED);
    assert_eq!(count(phase(&summary), "answered"), SCHEDULED);
    let lost = || metric(&suite, "scheduler", "gauntlet_spans_lost_total").filter(|lost| *lost > 0);
    wait::until("lost spans to be counted", Duration::from_secs(30), lost, || suite.log("scheduler"));
    for name in ["scheduler", "metrics", "worker-1"] {
        // Ends in time although the last spans cannot be delivered.
        suite.signal(name, Signal::TERM);
        let log = suite.log(name);
        assert!(log.contains("the collector takes no spans"), "{name}: {log}");
        assert!(log.contains("spans did not reach the collector"), "{name}: {log}");
    }
}

#[test]
fn a_share_of_nothing_sends_nothing() {
    let dir = Beside::new();
    let (core, collector) = (Core::start(dir.path(), "{}"), Collector::start());
    // Only the command says so: the others follow where the trace begins.
    let all = [format!("--otlp-url={}", collector.url)];
    let none = [all[0].clone(), "--trace-ratio=0".to_owned()];
    let mut suite = deployed(dir.path(), &all);
    let _ = run(dir.path(), &suite, &plan(&core).text(), &none).expect(0);
    for (name, _) in suite.pids() {
        suite.signal(&name, Signal::TERM);
    }
    assert!(collector.spans().is_empty(), "{:#?}", collector.spans());
}
