//! Probes as the scheduler sees them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use platform::Platform as _;
use platform::identity::ProcessId;
use platform::processes::{Processes, Spec};
use protocol::id::RunId;
use protocol::v1;

use super::suite::{Suite, Target, until};

fn find<'a>(probes: &'a [v1::ProbeState], target: u32, name: &str) -> Option<&'a v1::ProbeState> {
    probes.iter().find(|probe| probe.target == target && probe.probe.starts_with(name))
}

fn metric<'a>(samples: &'a v1::TargetSamples, name: &str) -> Option<&'a v1::TargetMetric> {
    samples.metrics.iter().find(|metric| metric.name == name)
}

#[tokio::test]
async fn health_is_known_at_once_and_follows_the_target() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    suite.watch(run, &target.plan(""), Vec::new()).await;
    let health = async |wanted: bool| {
        until("health changes", async || {
            let probes = suite.probes(run).await;
            let probe = find(&probes, 0, "health ")?.clone();
            (probe.samples > 0 && probe.healthy == wanted).then_some(probe)
        })
        .await
    };
    let probe = health(true).await;
    assert_eq!(probe.probe, format!("health http://{}/health", target.address));
    assert_eq!(probe.interval_ns, 250_000_000);
    assert!(probe.age_ns.is_some() && probe.error.is_empty());
    target.status.store(503, Ordering::Relaxed);
    assert_eq!(health(false).await.error, "answered 503, expected 2xx or 3xx");
    target.status.store(302, Ordering::Relaxed);
    health(true).await;
    let agent = concat!("gauntlet-probe/", env!("CARGO_PKG_VERSION"));
    assert!(target.agents.lock().unwrap().iter().all(|seen| seen == agent));
    // The other target names no health URL: its base URL answers 404, so it is alive.
    let probes = suite.probes(run).await;
    let bare = find(&probes, 1, "health ").unwrap();
    assert!(bare.healthy, "{bare:?}");
}

#[tokio::test]
async fn a_target_that_is_down_says_why() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    // Nobody listens on port 1 of loopback.
    let plan = target.plan("").replace(&format!("{}/health", target.address), "127.0.0.1:1/health");
    suite.watch(run, &plan, Vec::new()).await;
    let error = until("the probe fails", async || {
        let probes = suite.probes(run).await;
        let probe = find(&probes, 0, "health ")?;
        (!probe.error.is_empty()).then(|| probe.error.clone())
    })
    .await;
    assert!(error.starts_with("cannot connect to 127.0.0.1:1: Connection refused"), "{error}");
}

#[tokio::test]
async fn cpu_and_memory_of_a_process_and_what_is_absent() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    let plan = target.plan(&format!("resources = {{ pid = {} }}", std::process::id()));
    suite.watch(run, &plan, Vec::new()).await;
    suite.mark(run, 0).await;
    let samples = until("cpu was read twice", async || {
        let targets = suite.phase(run, 0).await.targets;
        let shop = targets.iter().find(|samples| samples.target == 0)?;
        (metric(shop, "cpu").is_some() && metric(shop, "memory")?.points.len() > 2).then_some(targets)
    })
    .await;
    for name in ["cpu", "memory"] {
        let values = &metric(&samples[0], name).unwrap().points;
        assert!(values.iter().all(|point| point.value.is_finite() && point.value >= 0.0), "{values:?}");
        // A machine that is busy with other tests may stand between clock and reading now and then, not always.
        assert!(values.iter().any(|point| point.value <= 1.5), "{values:?}");
    }
    assert!(samples[0].probes > 0 && samples[0].probe_failures == 0);
    assert_eq!(
        samples[1].absent,
        [
            "cpu: the plan declares no resources for this target",
            "memory: the plan declares no resources for this target"
        ]
    );
    let probes = suite.probes(run).await;
    for name in ["cpu", "memory"] {
        let probe = find(&probes, 0, name).unwrap();
        assert!(probe.samples > 1 && probe.interval_ns == 250_000_000 && probe.healthy, "{probe:?}");
    }
}

#[tokio::test]
async fn metrics_endpoints_are_summed_by_instance() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    "# TYPE hits counter\n\
     cache_hits_total{layer=\"1\",instance=\"a\"} 3\n\
     cache_hits_total{layer=\"2\",instance=\"a\"} 4\n\
     cache_hits_total{layer=\"1\",instance=\"b\"} 5\n\
     process_resident_memory_bytes 1048576\n\
     machine_memory_bytes 4194304\n\
     http_requests_total 17 1700000000000\n"
        .clone_into(&mut target.metrics.lock().unwrap());
    let url = format!("http://{}/metrics", target.address);
    let plan = target.plan(&format!(
        "resources = {{ prometheus = \"{url}\" }}\nmetrics-url = \"{url}\"\n\
         metrics = {{ cache-hits = \"cache_hits\", cache-misses = \"no_such\", requests = \"http_requests_total\" }}"
    ));
    suite.watch(run, &plan, Vec::new()).await;
    suite.mark(run, 0).await;
    let shop = until("the metrics were read", async || {
        let mut targets = suite.phase(run, 0).await.targets;
        let shop = targets.iter().position(|samples| samples.target == 0)?;
        metric(&targets[shop], "requests").is_some().then(|| targets.swap_remove(shop))
    })
    .await;
    let newest: Vec<_> = shop
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.instance.as_str(), metric.points.last().unwrap().value))
        .collect();
    let expected =
        [("cache-hits", "a", 7.0), ("cache-hits", "b", 5.0), ("memory", "", 0.25), ("requests", "", 17.0)];
    assert_eq!(newest, expected);
    let expected = [
        format!("cache-misses: {url} exposes no no_such"),
        format!("cpu: {url} exposes no process_cpu_seconds_total"),
    ];
    assert_eq!(shop.absent, expected);
    let probes = suite.probes(run).await;
    assert!(find(&probes, 0, &format!("metrics {url}")).unwrap().healthy);
    assert!(!find(&probes, 0, "cpu").unwrap().healthy);
    assert!(find(&probes, 0, "memory").unwrap().healthy);

    "broken {\n".clone_into(&mut target.metrics.lock().unwrap());
    let error = until("the probe fails", async || {
        let probes = suite.probes(run).await;
        let probe = find(&probes, 0, "metrics")?;
        (!probe.error.is_empty()).then(|| probe.error.clone())
    })
    .await;
    assert_eq!(error, format!("{url}: line 1: labels without an end"));
}

#[tokio::test]
async fn a_process_is_followed_when_it_is_started_anew() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let place = tempfile::tempdir().unwrap();
    let us = ProcessId::current().unwrap();
    let platform = Processes::create(&place.path().join("state"), us).unwrap();
    let plan =
        target.plan("resources = { process = \"shop\" }\n[processes.shop]\ncommand = [\"sleep\", \"600\"]\n");
    let spec = Spec {
        name: "shop".into(),
        command: ["sleep", "600"].map(str::to_owned).to_vec(),
        ready: None,
        ready_timeout: Duration::from_secs(20),
        env: BTreeMap::new(),
        dir: None,
        stop_timeout: Duration::from_secs(20),
        clock_adjustable: false,
    };
    let shop = platform.define(&spec, place.path(), &place.path().join("shop.log")).await.unwrap();
    platform.start(&shop).await.unwrap();

    let run = RunId::new();
    let watched = v1::WatchedProcess {
        target: 0,
        // Beyond the largest pid that Linux gives: what the platform has recorded goes before.
        pid: 1 << 23,
        instance: "shop".into(),
        state_dir: platform.dir().to_str().unwrap().to_owned(),
    };
    suite.watch(run, &plan, vec![watched]).await;
    for _ in 0..2 {
        until("the process is read", async || {
            let probes = suite.probes(run).await;
            find(&probes, 0, "memory").filter(|probe| probe.healthy).map(|_| ())
        })
        .await;
        platform.kill(&shop).await.unwrap();
        until("its end is seen", async || {
            let probes = suite.probes(run).await;
            find(&probes, 0, "memory").filter(|probe| !probe.healthy).map(|_| ())
        })
        .await;
        platform.start(&shop).await.unwrap();
    }
    suite.ask(v1::UnwatchRun { run: run.to_bytes() }).await.unwrap();
    platform.close().await.unwrap();
}

#[tokio::test]
async fn what_probes_saw_is_durable_once_unwatched() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    let process = v1::WatchedProcess {
        target: 0,
        pid: std::process::id(),
        instance: "shop-0".into(),
        ..Default::default()
    };
    let plan = target.plan("resources = { process = \"shop\" }\n[processes.shop]\ncommand = [\"true\"]\n");
    suite.watch(run, &plan, vec![process]).await;
    for phase in 0..2 {
        suite.mark(run, phase).await;
        until("each phase has a reading", async || {
            let targets = suite.phase(run, phase).await.targets;
            let shop = targets.first().filter(|shop| shop.probes > 0)?;
            metric(shop, "memory").filter(|memory| memory.instance == "shop-0").map(|_| ())
        })
        .await;
    }
    suite.ask(v1::UnwatchRun { run: run.to_bytes() }).await.unwrap();
    let before = (suite.phase(run, 0).await, suite.phase(run, 1).await);
    let suite = suite.restart().await;
    let mut after = (suite.phase(run, 0).await, suite.phase(run, 1).await);
    // Why a metric is absent is told by probes, and there are none any more.
    for (after, before) in [(&mut after.0, &before.0), (&mut after.1, &before.1)] {
        for (after, before) in after.targets.iter_mut().zip(&before.targets) {
            after.absent.clone_from(&before.absent);
        }
    }
    assert_eq!(after, before);
    assert!(suite.probes(run).await.is_empty());
}

#[tokio::test]
async fn watching_needs_a_plan_and_probes_a_watched_run() {
    let suite = Suite::start().await;
    let run = RunId::new();
    let error = suite.ask(v1::QueryProbes { run: run.to_bytes() }).await.unwrap_err();
    assert_eq!(error, format!("run {run} is not watched: send WatchRun first"));
    let plan_digest = format!("sha256:{}", "0".repeat(64));
    let watch = v1::WatchRun { run: run.to_bytes(), plan_digest, ..Default::default() };
    let error = suite.ask(watch).await.unwrap_err();
    assert!(error.contains("put it before it is named"), "{error}");
    let plan_digest = suite.bus.put_object(b"name = 3").await.unwrap();
    let watch = v1::WatchRun { run: run.to_bytes(), plan_digest, ..Default::default() };
    assert!(suite.ask(watch).await.unwrap_err().contains("plan.toml"));
    let error = suite.ask(v1::QueryRun { run: vec![1, 2], phase: None }).await.unwrap_err();
    assert!(error.contains("is not a RunId"), "{error}");
}
