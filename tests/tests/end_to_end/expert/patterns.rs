//! The four query patterns as phases of one run: each has the arrivals of its pattern, and one that gives experts less time is
//! seen to.

use std::time::Duration;

use gauntlet_tests::setting::Setting;
use prost::Message as _;
use protocol::v1;

use super::model::{End, Model, Reply};
use crate::plans::{assert_closes, count};

const PLAN: &str = r#"
name = "patterns"
seed = 7
time-scale = 1
load-scale = 1
run-phases = ["baseline", "light", "medium", "heavy"]

[targets.models]
url = "URL"

[[scenarios]]
name = "experts"
guest = "expert"
target = "models"

[scenarios.config]
prompt = "Query {arrival}."
stream = true
retries = 0
breaker = false
experts = [{ name = "one", api = "anthropic", model = "m", key = "k", path = "/e0/v1/messages" }]

[phases.baseline]
duration = "6s"
rate = 10
arrivals = "sequential"
connections = 40

[phases.light]
duration = "6s"
rate = 10
arrivals = { burst = 30 }
connections = 40

[phases.medium]
duration = "6s"
rate = 10
arrivals = "sustained"
connections = 40

[phases.heavy]
duration = "6s"
rate = 10
arrivals = "chaotic"
connections = 60

[phases.heavy.scenarios.experts]
timeout = "200ms"

[validity]
judge = false
"#;

/// Arrivals of each second, by phase.
fn arrivals(series: &v1::RunSeries) -> Vec<Vec<u64>> {
    let of = |phase: &v1::PhaseSeries| {
        phase.seconds.iter().map(|second| second.arrivals.as_ref().map_or(0, |n| n.scheduled)).collect()
    };
    series.phases.iter().map(of).collect()
}

#[test]
fn each_pattern_has_its_arrivals_and_a_phase_may_give_experts_less_time() {
    let setting = Setting::embedded();
    let model = Model::start(|_| Reply::Stream {
        contents: 3,
        first: Duration::from_millis(700),
        gap: Duration::ZERO,
        end: End::Proper,
    });
    let ended = setting.run(&PLAN.replace("URL", &model.url()));
    let bytes = std::fs::read(ended.run_dir.as_ref().unwrap().join("series.pb")).unwrap();
    let all = arrivals(&v1::RunSeries::decode(bytes.as_slice()).unwrap());
    let summary = ended.summary();
    let [baseline, light, medium, heavy] = summary["phases"].as_array().unwrap().as_slice() else {
        panic!("four phases: {summary}")
    };
    let [sequential, burst, sustained, chaotic] = all.as_slice() else { panic!("four phases: {all:?}") };

    // A late thread may count a few arrivals a second later than they were due.
    for (even, phase) in [(sequential, baseline), (sustained, medium)] {
        assert_eq!(count(phase, "scheduled"), 60, "{all:?}");
        assert!(even[..6].iter().all(|n| (8..=12).contains(n)), "{all:?}");
    }
    // Thirty at once, then nothing for as long as thirty would take.
    assert_eq!(count(light, "scheduled"), 60, "{all:?}");
    let crowded: Vec<u64> = burst.iter().copied().filter(|n| *n > 0).collect();
    assert_eq!(crowded, [30, 30], "{all:?}");
    // Crowds and lulls, by the seed.
    assert!((30..=120).contains(&count(heavy, "scheduled")), "{all:?}");
    let (least, most) = (chaotic[..6].iter().min().unwrap(), chaotic[..6].iter().max().unwrap());
    assert!(most - least >= 6, "{all:?}");

    for phase in [baseline, light, medium, heavy] {
        assert_closes(phase);
    }
    for phase in [baseline, light, medium] {
        assert_eq!(count(phase, "answered"), 60, "{phase}");
    }
    assert_eq!(count(heavy, "answered"), 0, "{heavy}");
    let timeouts = heavy["failures"].as_array().unwrap().iter().find(|failure| failure["name"] == "timeout");
    assert_eq!(timeouts.unwrap()["count"], count(heavy, "started"), "{heavy}");
}
