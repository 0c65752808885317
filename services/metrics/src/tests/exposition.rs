//! What Prometheus scrapes.

use bus::Bus;
use protocol::id::RunId;
use service::Shutdown;
use store::Store;

use super::suite::{Suite, Target, until};
use crate::fixture::{KEYS, Worker};
use crate::probe::text;
use crate::{Error, Options, metric_definitions};

pub(super) async fn scrape(suite: &Suite) -> String {
    let url = format!("http://{}/metrics", suite.prometheus);
    crate::probe::fetch(&url).await.unwrap()
}

#[tokio::test]
async fn the_newest_run_can_be_scraped() {
    let suite = Suite::start().await;
    assert_eq!(scrape(&suite).await, "# EOF\n");
    let target = Target::start().await;
    let run = RunId::new();
    suite
        .watch(run, &target.plan(&format!("resources = {{ pid = {} }}", std::process::id())), Vec::new())
        .await;
    suite.mark(run, 0).await;
    suite.mark(run, 1).await;
    let mut worker = Worker::new(run, 1);
    for second in 0..3 {
        suite.record(&worker.second(1, second, 40)).await;
    }
    suite.phase_with(run, 1, 3).await;
    let text = until("the target's memory is shown", async || {
        let text = scrape(&suite).await;
        text.contains("gauntlet_target_memory_ratio{").then_some(text)
    })
    .await;
    let samples = text::parse(&text).unwrap();
    let sum = |name: &str| text::sums(&samples, name).iter().map(|(_, value)| value).sum::<f64>();
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line {start} in {text}")).rsplit(' ').next().unwrap().to_owned()
    };
    let total = worker.total();
    assert_eq!(sum("gauntlet_requests_total"), total.counts.requests as f64);
    assert_eq!(sum("gauntlet_operations_total"), total.ended() as f64);
    assert_eq!(sum("gauntlet_failures_total"), 9.0);
    assert_eq!(sum("gauntlet_dropped_arrivals_total"), 3.0);
    assert_eq!(sum("gauntlet_latency_seconds_count"), total.latency.len() as f64);
    let truth = &worker.truth[&KEYS[1]];
    let labels = "scenario=\"buy\",step=\"one-b\",target=\"shop\"";
    assert_eq!(line(&format!("gauntlet_latency_seconds_bucket{{le=\"+Inf\",{labels}}}")), "120");
    let below = truth.latency.cumulative(&[10_000])[0].to_string();
    assert_eq!(line(&format!("gauntlet_latency_seconds_bucket{{le=\"0.01\",{labels}}}")), below);
    let broken = truth.checks[&0].failed.to_string();
    assert_eq!(line(&format!("gauntlet_checks_total{{{labels},result=\"failed\"}}")), broken);
    let unavailable = truth.statuses[&503].to_string();
    assert_eq!(line(&format!("gauntlet_responses_total{{{labels},status=\"5xx\"}}")), unavailable);
    assert_eq!(line("stress_phase_progression "), "1.0");
    assert_eq!(line("gauntlet_wanted_arrivals_per_second "), "124.0");
    assert_eq!(line("gauntlet_achieved_arrivals_per_second "), "123.0");
    assert_eq!(line("gauntlet_target_healthy{target=\"shop\"}"), "1.0");
    assert!(line("gauntlet_run_info{").starts_with('1'));
    for definition in metric_definitions::ALL {
        assert!(text.contains(&format!("# TYPE {} ", definition.name)), "{}", definition.name);
    }
    // After a restart the counters are those of the store.
    let suite = suite.restart().await;
    let again = scrape(&suite).await;
    let counters = |text: &str| {
        let lines = text.lines().filter(|line| line.contains("_total{") || line.contains("_bucket{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(counters(&again), counters(&text));
}

#[tokio::test]
async fn the_endpoint_is_for_loopback_and_a_free_port() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("store.sqlite")).unwrap();
    let bus = Bus::in_process(store.clone(), &dir.path().join("objects")).unwrap();
    let start = async |address: String| {
        let options = Options { prometheus: Some(address.parse().unwrap()), ..Options::default() };
        crate::run(options, bus.clone(), store.clone(), Shutdown::new()).await.unwrap_err()
    };
    let error = start("0.0.0.0:0".into()).await;
    assert!(matches!(error, Error::NotLoopback(_)), "{error}");
    let taken = tokio::net::TcpListener::bind(crate::endpoint::ANY).await.unwrap();
    let error = start(taken.local_addr().unwrap().to_string()).await.to_string();
    assert!(error.contains("choose a free port"), "{error}");
}
