use std::collections::BTreeSet;

use plan::model::Phase;
use protocol::event::OutcomeResult::{self, Fail, NotEvaluable, Pass};
use protocol::v1;
use series::Merged;

use super::evidence::{Incident, Judged, Measured};
use super::*;
use crate::news::{Closed, Opened};

const SECOND: u64 = 1_000_000_000;

fn plan() -> Plan {
    let text = "name = \"t\"\n[targets.shop]\nurl = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"http\"\n\
                config.steps = [{ name = \"x\", get = \"/\" }]\n";
    plan::parse(text, std::path::Path::new("plan.toml")).unwrap()
}

/// Wanted rate, goodput and p95 of one second.
fn second(at: u64, wanted: f64, good: u64, p95_us: u64) -> v1::Second {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let scheduled = wanted as u64;
    v1::Second {
        offset_ns: at * SECOND,
        length_ns: SECOND,
        wanted_rate: wanted,
        arrivals: Some(v1::ArrivalCounts {
            scheduled,
            started: scheduled,
            answered: good,
            failed: scheduled - good,
            ..Default::default()
        }),
        good,
        errors: scheduled - good,
        latency_us: vec![p95_us / 2, p95_us, p95_us, p95_us, p95_us, p95_us],
        ..Default::default()
    }
}

fn metric(name: &str, instance: &str, values: &[f64], first_at: u64) -> v1::TargetMetric {
    let points = (first_at..).zip(values).map(|(at, value)| v1::MetricPoint {
        at_unix_ns: i64::try_from(at * SECOND).unwrap(),
        value: *value,
    });
    v1::TargetMetric { name: name.to_owned(), instance: instance.to_owned(), points: points.collect() }
}

fn targets(metrics: Vec<v1::TargetMetric>) -> Vec<v1::TargetSamples> {
    vec![v1::TargetSamples { target: 0, metrics, probes: 100, ..Default::default() }]
}

/// A phase of the plan with series: its total is the sum of its seconds.
fn measured(name: PhaseName, seconds: Vec<v1::Second>, metrics: Vec<v1::TargetMetric>) -> Measured {
    let phase: Phase = plan().phases.into_iter().find(|phase| phase.name == name).unwrap();
    let mut merged = Merged::new();
    let mut arrivals = v1::ArrivalCounts::default();
    for second in &seconds {
        let counts = second.arrivals.unwrap();
        arrivals.scheduled += counts.scheduled;
        arrivals.started += counts.started;
        arrivals.answered += counts.answered;
        arrivals.failed += counts.failed;
        merged.counts.started += counts.started;
        merged.counts.answered += counts.answered;
        merged.counts.failed += counts.failed;
        merged.counts.good += second.good;
        merged.counts.requests += counts.started;
        merged.latency.record_n(second.latency_us[2], counts.answered);
    }
    let total = v1::Aggregate {
        arrivals: Some(arrivals),
        to_offset_ns: seconds.len() as u64 * SECOND,
        total: Some(merged.to_proto(0, 0, 0)),
        ..Default::default()
    };
    let series = v1::PhaseSeries {
        series: if seconds.is_empty() { Vec::new() } else { vec![merged.to_proto(0, 0, 0)] },
        total: Some(total),
        seconds,
        targets: targets(metrics),
        ..Default::default()
    };
    Measured { phase, t0_unix_ns: 0, series }
}

fn steady(wanted: f64, good: u64, p95_us: u64) -> Vec<v1::Second> {
    (0..20).map(|at| second(at, wanted, good, p95_us)).collect()
}

#[derive(Default)]
struct Around<'a> {
    before: &'a [Measured],
    probes: Option<&'a [v1::ProbeState]>,
    incidents: &'a [Incident],
    opened: &'a [Opened],
    exits: &'a [String],
    thresholds: &'a [Judged],
    /// The plan has a recovery of the target.
    recovers: bool,
}

fn outcome(now: &Measured, around: &Around<'_>, name: &str) -> (OutcomeResult, String) {
    let mut plan = plan();
    if around.recovers {
        plan.recovery.insert("shop".to_owned(), plan::model::Recovery::of_target(false));
    }
    let evidence = Evidence {
        plan: &plan,
        now,
        before: around.before,
        probes: around.probes,
        incidents: around.incidents,
        opened: around.opened,
        exits: around.exits,
        thresholds: around.thresholds,
    };
    let found =
        judge(&evidence).into_iter().find(|outcome| outcome.name == name).expect("an objective of the phase");
    (found.result, found.seen)
}

fn result(now: &Measured, around: &Around<'_>, name: &str) -> OutcomeResult {
    outcome(now, around, name).0
}

fn is_open(result: &OutcomeResult) -> bool {
    matches!(result, NotEvaluable { reason } if !reason.is_empty())
}

#[test]
fn there_are_three_for_each_phase() {
    for phase in PhaseName::ALL {
        assert_eq!(rows(phase).count(), 3, "{}", phase.name());
    }
    let names: BTreeSet<_> = table().iter().map(|row| (row.phase, row.name)).collect();
    assert_eq!(names.len(), 21);
}

#[test]
fn every_parameter_stands_in_its_formula_and_every_brace_is_a_parameter() {
    for row in table() {
        for parameter in row.parameters {
            assert!(
                row.formula.contains(&format!("{{{}}}", parameter.key)) || parameter.key.starts_with("knee")
            );
        }
        let braces = row.formula.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        for key in braces {
            assert!(row.parameters.iter().any(|parameter| parameter.key == key), "{}: {key}", row.name);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_plan() {
    for phase in PhaseName::ALL {
        for (key, value) in plan::presets::objectives(phase) {
            let known = rows(phase).flat_map(|row| row.parameters).find(|parameter| parameter.key == *key);
            assert_eq!(known.map(|parameter| parameter.default), Some(*value), "{} {key}", phase.name());
        }
    }
}

#[test]
fn the_document_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/OBJECTIVES.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == markdown(), "OBJECTIVES.md is not the table: run this test with UPDATE_GOLDEN=1");
}

#[test]
fn nothing_measured_passes_nothing() {
    for phase in PhaseName::ALL {
        let empty =
            Measured { series: v1::PhaseSeries::default(), ..measured(phase, Vec::new(), Vec::new()) };
        for row in rows(phase) {
            let found = result(&empty, &Around::default(), row.name);
            assert!(is_open(&found), "{} {}: {found:?}", phase.name(), row.name);
        }
    }
}

#[test]
fn idle_metrics_need_their_samples() {
    let with = |samples: usize| {
        let cpu = metric("cpu", "a", &vec![0.1; samples], 0);
        result(
            &measured(PhaseName::Idle, Vec::new(), vec![cpu]),
            &Around::default(),
            "baseline metrics established",
        )
    };
    assert_eq!(with(30), Pass);
    assert_eq!(with(29), Fail);
}

#[test]
fn idle_probes_must_be_fresh() {
    let idle = measured(PhaseName::Idle, Vec::new(), Vec::new());
    let with = |age_ns| {
        let probes = [v1::ProbeState { interval_ns: SECOND, age_ns, ..Default::default() }];
        result(&idle, &Around { probes: Some(&probes), ..Around::default() }, "monitoring valid")
    };
    assert_eq!(with(Some(2 * SECOND)), Pass);
    assert_eq!(with(Some(2 * SECOND + 1)), Fail);
    assert_eq!(with(None), Fail);
}

#[test]
fn idle_is_stable_without_exits_and_incidents() {
    let idle = measured(PhaseName::Idle, Vec::new(), Vec::new());
    assert_eq!(result(&idle, &Around::default(), "system stable"), Pass);
    let exits = ["shop: exit code 1".to_owned()];
    assert_eq!(result(&idle, &Around { exits: &exits, ..Around::default() }, "system stable"), Fail);
    let incidents = [Incident { target: "shop".to_owned(), began_unix_ns: 0, ended_unix_ns: Some(1) }];
    assert_eq!(result(&idle, &Around { incidents: &incidents, ..Around::default() }, "system stable"), Fail);
}

#[test]
fn baseline_judges_errors_and_stores_percentiles() {
    let good = measured(PhaseName::Baseline, steady(1000.0, 1000, 2_000), Vec::new());
    let around = Around::default();
    assert_eq!(result(&good, &around, "normal operation"), Pass);
    let (found, seen) = outcome(&good, &around, "performance baseline");
    assert_eq!(found, Pass);
    assert!(seen.starts_with("p50 2 ms, p95 2 ms"), "{seen}");
    let just = measured(PhaseName::Baseline, steady(1000.0, 991, 2_000), Vec::new());
    assert_eq!(result(&just, &around, "normal operation"), Pass);
    let bad = measured(PhaseName::Baseline, steady(1000.0, 990, 2_000), Vec::new());
    assert_eq!(result(&bad, &around, "normal operation"), Fail);
    // p99 falls among the failed.
    let lost = measured(PhaseName::Baseline, steady(1000.0, 980, 2_000), Vec::new());
    assert_eq!(result(&lost, &around, "performance baseline"), Fail);
}

#[test]
fn bottlenecks_are_ranked() {
    let metrics = vec![metric("cpu", "a", &[0.2, 0.4], 0), metric("memory", "a", &[0.5], 0)];
    let (found, seen) = outcome(
        &measured(PhaseName::Baseline, steady(10.0, 10, 1), metrics),
        &Around::default(),
        "first bottlenecks",
    );
    assert_eq!((found, seen.as_str()), (Pass, "shop (CPU 30 %, memory 50 %)"));
}

#[test]
fn caching_counts_growth_and_survives_a_restart() {
    let with = |misses: f64| {
        let metrics = vec![
            metric("cache-hits", "a", &[100.0, 140.0, 40.0], 0),
            metric("cache-misses", "a", &[7.0, 7.0 + misses], 0),
        ];
        result(
            &measured(PhaseName::Light, steady(10.0, 10, 1), metrics),
            &Around::default(),
            "caching effective",
        )
    };
    assert_eq!(with(20.0), Pass);
    assert_eq!(with(21.0), Fail);
}

#[test]
fn resource_use_is_held_against_the_table() {
    let with = |cpu: f64| {
        let metrics = vec![metric("cpu", "a", &[cpu], 0), metric("memory", "a", &[0.45], 0)];
        result(&measured(PhaseName::Light, steady(10.0, 10, 1), metrics), &Around::default(), "resource use")
    };
    assert_eq!(with(0.40), Pass);
    assert_eq!(with(0.41), Fail);
}

#[test]
fn scaling_compares_goodput_per_instance() {
    let with = |after: u64| {
        let mut seconds: Vec<_> = (0..10).map(|at| second(at, 1000.0, 100, 1_000)).collect();
        seconds.extend((10..20).map(|at| second(at, 1000.0, after, 1_300)));
        let metrics = vec![metric("requests", "a", &[1.0; 21], 0), metric("requests", "b", &[1.0; 11], 10)];
        measured(PhaseName::Light, seconds, metrics)
    };
    let around = Around::default();
    assert_eq!(result(&with(160), &around, "component scaling"), Pass);
    assert_eq!(result(&with(159), &around, "component scaling"), Fail);
    let unscaled =
        measured(PhaseName::Light, steady(10.0, 10, 1), vec![metric("requests", "a", &[1.0; 21], 0)]);
    assert!(is_open(&result(&unscaled, &around, "component scaling")));

    let mut medium = with(160);
    medium.phase = measured(PhaseName::Medium, Vec::new(), Vec::new()).phase;
    assert_eq!(result(&medium, &around, "horizontal scaling"), Fail);
    for second in &mut medium.series.seconds[10..] {
        second.latency_us[2] = 1_200;
    }
    assert_eq!(result(&medium, &around, "horizontal scaling"), Pass);
}

#[test]
fn instances_must_be_balanced() {
    let with = |busy: f64| {
        let metrics =
            vec![metric("requests", "a", &[0.0, busy], 0), metric("requests", "b", &[0.0, 100.0], 0)];
        result(
            &measured(PhaseName::Medium, steady(10.0, 10, 1), metrics),
            &Around::default(),
            "load balancing",
        )
    };
    assert_eq!(with(125.0), Pass);
    assert_eq!(with(126.0), Fail);
    let alone = vec![metric("requests", "a", &[0.0, 1.0], 0)];
    let alone = measured(PhaseName::Medium, steady(10.0, 10, 1), alone);
    assert!(is_open(&result(&alone, &Around::default(), "load balancing")));
}

#[test]
fn components_are_judged_by_their_own_thresholds() {
    let medium = measured(PhaseName::Medium, steady(10.0, 10, 1), Vec::new());
    let with = |target: Option<&str>, result: OutcomeResult| {
        let outcome = Outcome {
            name: "p(99) < 1ms".to_owned(),
            expected: String::new(),
            seen: "2 ms".to_owned(),
            result,
        };
        vec![Judged { target: target.map(str::to_owned), outcome }]
    };
    let found = |thresholds: &[Judged]| {
        result(&medium, &Around { thresholds, ..Around::default() }, "core components")
    };
    assert!(is_open(&found(&with(None, Pass))));
    assert_eq!(found(&with(Some("shop"), Pass)), Pass);
    assert_eq!(found(&with(Some("shop"), Fail)), Fail);
    assert!(is_open(&found(&with(Some("shop"), NotEvaluable { reason: "x".to_owned() }))));
}

#[test]
fn the_knee_is_named_and_degradation_held_against_it() {
    let baseline = measured(PhaseName::Baseline, steady(1000.0, 1000, 1_000), Vec::new());
    let before = [baseline];
    let around = Around { before: &before, ..Around::default() };
    let heavy = |beyond: u64| {
        let mut seconds: Vec<_> = (0..10).map(|at| second(at, 2000.0, 2000, 2_000)).collect();
        seconds.extend((10..20).map(|at| second(at, 4000.0, beyond, 2_500)));
        measured(PhaseName::Heavy, seconds, Vec::new())
    };
    let (found, seen) = outcome(&heavy(1600), &around, "performance limits");
    assert_eq!(found, Pass);
    assert!(seen.starts_with("knee at 2000 /s"), "{seen}");
    assert_eq!(result(&heavy(1600), &around, "degradation"), Pass);
    assert_eq!(result(&heavy(1599), &around, "degradation"), Fail);
    let (_, seen) = outcome(&heavy(4000), &around, "performance limits");
    assert!(seen.starts_with("knee not reached up to 4000 /s"), "{seen}");
    assert!(is_open(&result(&heavy(4000), &around, "degradation")));

    let slow = measured(PhaseName::Heavy, steady(2000.0, 2000, 3_001), Vec::new());
    assert!(outcome(&slow, &around, "performance limits").1.starts_with("knee at 1000 /s"));
}

#[test]
fn an_operation_that_ends_in_the_next_second_is_no_knee() {
    let slow = measured(PhaseName::Heavy, steady(2.5, 2, 1_000), Vec::new());
    let (_, seen) = outcome(&slow, &Around::default(), "performance limits");
    assert!(seen.starts_with("knee not reached"), "{seen}");
}

#[test]
fn one_breaker_must_have_opened_and_closed() {
    let with = |closed: f64| {
        let metrics = vec![
            metric("breaker-opened", "a", &[3.0, 4.0], 0),
            metric("breaker-closed", "a", &[3.0, 3.0 + closed], 0),
        ];
        result(
            &measured(PhaseName::Heavy, steady(10.0, 10, 1), metrics),
            &Around::default(),
            "circuit breakers",
        )
    };
    assert_eq!(with(1.0), Pass);
    assert_eq!(with(0.0), Fail);
}

#[test]
fn the_breaking_point_is_named() {
    let around = Around::default();
    let broken = measured(PhaseName::Extreme, steady(1000.0, 499, 1_000), Vec::new());
    assert!(outcome(&broken, &around, "breaking point").1.starts_with("broke at 1000 /s"));
    let held = measured(PhaseName::Extreme, steady(1000.0, 501, 1_000), Vec::new());
    assert!(outcome(&held, &around, "breaking point").1.contains("not reached up to 1000 /s"));
}

#[test]
fn incidents_must_end_within_the_budget() {
    for phase in [PhaseName::Extreme, PhaseName::Chaos] {
        let now = measured(phase, steady(10.0, 10, 1), Vec::new());
        let with = |ended_unix_ns| {
            let incidents = [Incident { target: "shop".to_owned(), began_unix_ns: 0, ended_unix_ns }];
            result(&now, &Around { incidents: &incidents, ..Around::default() }, "recovery")
        };
        assert_eq!(with(Some(150_000_000_000)), Pass);
        assert_eq!(with(Some(150_000_000_001)), Fail);
        assert_eq!(with(None), Fail);
        assert!(is_open(&result(&now, &Around::default(), "recovery")));
    }
}

#[test]
fn where_recovery_looks_its_incidents_count_from_the_fault_on() {
    let now = measured(PhaseName::Chaos, steady(10.0, 10, 1), Vec::new());
    // What the health check saw is not counted beside it.
    let seen = [Incident { target: "shop".to_owned(), began_unix_ns: 0, ended_unix_ns: None }];
    let with = |detected_after_ms, recovered_after_ms: Option<u64>| {
        let opened = [Opened {
            incident: "shop-1".to_owned(),
            target: "shop".to_owned(),
            opened_unix_ns: 5,
            detected_after_ms,
            closed: recovered_after_ms.map(|recovered_after_ms| Closed { unix_ns: 9, recovered_after_ms }),
        }];
        let around = Around { incidents: &seen, opened: &opened, recovers: true, ..Around::default() };
        outcome(&now, &around, "recovery")
    };
    assert_eq!(with(Some(30_000), Some(120_000)).0, Pass);
    assert_eq!(with(Some(30_001), Some(120_000)).0, Fail);
    assert_eq!(with(None, Some(150_000)).0, Pass);
    let (result, text) = with(None, None);
    assert_eq!((result, text.as_str()), (Fail, "1 incident: shop-1 has not recovered"));
    let around = Around { incidents: &seen, recovers: true, ..Around::default() };
    assert!(is_open(&outcome(&now, &around, "recovery").0), "recovery opened none");
}

#[test]
fn our_counts_are_held_against_the_target_s_own_between_its_samples() {
    let with = |theirs: f64| {
        // Sampled from second 2 to second 12: ten seconds of 100 requests.
        let mut values = vec![50.0; 11];
        values[10] = 50.0 + theirs;
        let metrics = vec![metric("requests", "a", &values, 2)];
        result(
            &measured(PhaseName::Extreme, steady(100.0, 100, 1_000), metrics),
            &Around::default(),
            "monitoring accuracy",
        )
    };
    assert_eq!(with(1000.0), Pass);
    assert_eq!(with(1010.0), Pass);
    assert_eq!(with(1011.0), Fail);
}

#[test]
fn chaos_must_end_in_a_steady_state() {
    let baseline = measured(PhaseName::Baseline, steady(100.0, 100, 1_000), Vec::new());
    let before = [baseline];
    let around = Around { before: &before, ..Around::default() };
    let with = |good_at_end: u64| {
        let mut seconds: Vec<_> = (0..15).map(|at| second(at, 100.0, 10, 9_000)).collect();
        seconds.extend((15..20).map(|at| second(at, 100.0, good_at_end, 1_000)));
        result(&measured(PhaseName::Chaos, seconds, Vec::new()), &around, "resilience")
    };
    assert_eq!(with(99), Pass);
    assert_eq!(with(98), Fail);
}

#[test]
fn an_unknown_parameter_is_told_with_those_there_are() {
    let mut plan = plan();
    assert_eq!(unknown_parameters(&plan), Vec::new());
    plan.phases[2].objectives.insert("cache-hit".to_owned(), 0.5);
    let unknown = unknown_parameters(&plan);
    assert_eq!((unknown[0].0, unknown[0].1.as_str()), (PhaseName::Light, "cache-hit"));
    assert!(unknown[0].2.contains(&"cache-hit-ratio"));
}
