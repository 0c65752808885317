//! What the two scales scale and what they leave alone (requirement R1.3): one line a key.

use std::time::Duration;

use super::{SMALLEST, overridden, parse, phase};
use crate::Overrides;
use crate::model::{LoadModel, Phase, PhaseName, Plan};
use crate::units::print_duration;

const PLAN: &str = r#"
[targets.shop]
url = "http://127.0.0.1:8080"
[[scenarios]]
guest = "http"
[phases.light]
rate = 1000
start-rate = 100
ramp = "10m"
thresholds = [{ check = "p(99) < 1s", over = "30s", delay = "5s" }]
on-objective-failure = { hold = "2m" }
[phases.medium]
users = 300
start-users = 100
ramp = "10m"
think = "2s"
[phases.chaos]
floor = 100
"#;

fn scaled(time: f64, load: f64) -> (Plan, Vec<Phase>) {
    let overrides = Overrides { time_scale: Some(time), load_scale: Some(load), ..Overrides::default() };
    let plan = overridden(PLAN, &overrides).unwrap();
    let phases = plan.scaled();
    (plan, phases)
}

fn lines(time: f64, load: f64) -> Vec<String> {
    let (plan, phases) = scaled(time, load);
    let d = print_duration;
    let by_name = |name| phases.iter().find(|p: &&Phase| p.name == name).unwrap();
    let mut lines: Vec<String> = phases
        .iter()
        .map(|p| {
            let counts = format!("conn {} users {} waiting {}", p.connections, p.max_users, p.max_waiting);
            let load = match &p.model {
                LoadModel::None => "none".to_owned(),
                LoadModel::Open { start_rate, rate, ramp, .. } => {
                    format!("{start_rate}→{rate} in {}", d(*ramp))
                }
                LoadModel::Walk { floor, ceiling, step, .. } => {
                    format!("{floor}~{ceiling} each {}", d(*step))
                }
                LoadModel::Closed { start_users, users, ramp, think } => {
                    format!("{start_users}→{users} users in {} think {}", d(*ramp), d(*think))
                }
            };
            format!("{} {} | {load} | {counts}", p.name.name(), d(p.duration))
        })
        .collect();
    let light = by_name(PhaseName::Light);
    let threshold = &light.thresholds[0];
    lines.push(format!(
        "never: over {} delay {} hold {:?} timeout {} connect {} handshake {} grace {} probes {} worker {} controller {}",
        d(threshold.over.unwrap()),
        d(threshold.delay),
        light.on_objective_failure,
        d(plan.scenarios[0].timeout),
        d(plan.load.connect_timeout),
        d(plan.load.handshake_timeout),
        d(plan.load.grace),
        d(plan.control.probe_interval),
        d(plan.control.worker_timeout),
        d(plan.control.controller_lease),
    ));
    lines.push(format!("idle samples {}", by_name(PhaseName::Idle).objectives["samples"]));
    lines
}

const NEVER: &str = "never: over 30s delay 5s hold Hold { max: 120s } timeout 30s connect 5s handshake 5s grace 5s probes 5s worker 2s controller 15s";

#[test]
fn unscaled() {
    assert_eq!(
        lines(1.0, 1.0),
        [
            "idle 5m | none | conn 0 users 0 waiting 0",
            "baseline 15m | 100→100 in 0s | conn 50 users 50 waiting 1000",
            "light 20m | 100→1000 in 10m | conn 500 users 500 waiting 10000",
            "medium 30m | 100→300 users in 10m think 2s | conn 300 users 300 waiting 300",
            "heavy 30m | 10000→10000 in 0s | conn 5000 users 5000 waiting 100000",
            "extreme 20m | 50000→50000 in 0s | conn 10000 users 10000 waiting 500000",
            "chaos 20m | 100~100000 each 10s | conn 20000 users 20000 waiting 1000000",
            NEVER,
            "idle samples 30",
        ]
    );
}

#[test]
fn time_scale_alone() {
    assert_eq!(
        lines(0.01, 1.0),
        [
            "idle 3s | none | conn 0 users 0 waiting 0",
            "baseline 9s | 100→100 in 0s | conn 50 users 50 waiting 1000",
            "light 12s | 100→1000 in 6s | conn 500 users 500 waiting 10000",
            "medium 18s | 100→300 users in 6s think 2s | conn 300 users 300 waiting 300",
            "heavy 18s | 10000→10000 in 0s | conn 5000 users 5000 waiting 100000",
            "extreme 12s | 50000→50000 in 0s | conn 10000 users 10000 waiting 500000",
            "chaos 30s | 100~100000 each 10s | conn 20000 users 20000 waiting 1000000",
            NEVER,
            "idle samples 1",
        ]
    );
}

#[test]
fn load_scale_alone() {
    assert_eq!(
        lines(1.0, 0.001),
        [
            "idle 5m | none | conn 0 users 0 waiting 0",
            "baseline 15m | 1→1 in 0s | conn 1 users 1 waiting 1",
            "light 20m | 1→1 in 10m | conn 1 users 1 waiting 10",
            "medium 30m | 1→1 users in 10m think 2s | conn 1 users 1 waiting 1",
            "heavy 30m | 10→10 in 0s | conn 5 users 5 waiting 100",
            "extreme 20m | 50→50 in 0s | conn 10 users 10 waiting 500",
            "chaos 20m | 1~100 each 10s | conn 20 users 20 waiting 1000",
            NEVER,
            "idle samples 30",
        ]
    );
}

#[test]
fn seven_phases_fit_in_two_minutes() {
    let (_, phases) = scaled(0.01, 0.1);
    let total: Duration = phases.iter().map(|phase| phase.duration).sum();
    assert_eq!(total, Duration::from_secs(102));
}

#[test]
fn chaos_keeps_thirty_seconds_unless_the_plan_asks_for_less() {
    let plan = parse(&format!("time-scale = 0.001\n{SMALLEST}")).unwrap();
    assert_eq!(plan.scaled()[6].duration, Duration::from_secs(30));
    let plan = parse(&format!("time-scale = 0.001\nphases.chaos.duration = \"20s\"\n{SMALLEST}")).unwrap();
    assert_eq!(plan.scaled()[6].duration, Duration::from_secs(20));
}

#[test]
fn a_scaled_rate_is_what_one_reckons_by_hand() {
    let plan = parse(&format!("load-scale = 0.07\n{SMALLEST}")).unwrap();
    let scaled = plan.scaled();
    assert!(matches!(scaled[1].model, LoadModel::Open { rate: 7.0, .. }), "{:?}", scaled[1].model);
    let slow = parse(&format!("load-scale = 0.5\nphases.baseline.rate = 0.4\n{SMALLEST}")).unwrap();
    assert!(matches!(phase(&slow, PhaseName::Baseline).model, LoadModel::Open { rate: 0.4, .. }));
    assert!(
        matches!(slow.scaled()[1].model, LoadModel::Open { rate: 0.4, .. }),
        "a rate below 1 is not scaled down further, and not up either"
    );
}
