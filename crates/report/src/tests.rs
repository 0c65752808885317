//! A made-up run, from which each view is checked.

mod availability;
mod broken;
mod faults;

use protocol::event::{
    ClockReading, Entry, Event, Life, LoadShare, Outcome, OutcomeResult, ScenarioNames, Verdict,
};
use protocol::v1;
use series::{Hist, Merged};

use crate::summary::Summary;
use crate::{RunData, html, junit, write_all};

const SECOND: u64 = 1_000_000_000;

fn outcome(name: &str, result: OutcomeResult) -> Outcome {
    Outcome { name: name.to_owned(), expected: "at most 1 %".to_owned(), seen: "0.4 %".to_owned(), result }
}

/// `count` answers around `base` µs, one of them slow.
fn series(count: u64, base: u64) -> v1::Series {
    let mut merged = Merged::new();
    for i in 0..count {
        let service = base + i % 50 * base / 40 + if i == 7 { base * 60 } else { 0 };
        merged.service.record(service);
        merged.latency.record(service + i % 3 * 40);
        merged.queue.record(i % 3 * 40);
        merged.first_byte.record(service - 10);
    }
    merged.counts.started = count;
    merged.counts.answered = count;
    merged.counts.good = count;
    merged.counts.requests = count;
    merged.statuses.insert(200, count);
    merged.to_proto(0, 1, 0)
}

fn second(offset: u64, rate: u64, base: u64) -> v1::Second {
    let wobble = rate / 20 * (offset % 3);
    v1::Second {
        offset_ns: offset * SECOND,
        length_ns: SECOND,
        wanted_rate: crate::phases::real(rate),
        arrivals: Some(v1::ArrivalCounts {
            scheduled: rate,
            started: rate - wobble / 4,
            answered: rate - wobble / 4,
            ..v1::ArrivalCounts::default()
        }),
        good: rate - wobble / 4,
        latency_us: [1, 2, 3, 6, 12, 20].map(|x| x * (base + wobble)).to_vec(),
        service_us: [1, 2, 2, 4, 8, 20].map(|x| x * (base + wobble)).to_vec(),
        queue_us: vec![0; 6],
        errors: if offset == 2 { rate / 50 } else { 0 },
        ..v1::Second::default()
    }
}

/// Seven phases of four seconds each.
pub(crate) fn run() -> RunData {
    let text = "name = \"made up\"\n[targets.shop]\nurl = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"http\"\n\
                target = \"shop\"\nconfig.steps = [{ name = \"item\", get = \"/\" }]\n";
    let plan = plan::parse(text, std::path::Path::new("plan.toml")).unwrap();
    let names = ["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"];
    let start = 1_790_000_000_000_000_000_i64;
    let mut history: Vec<Entry> = Vec::new();
    let mut push = |at_ms: i64, event: Event| {
        let sequence = history.len() as u64 + 1;
        history.push(Entry {
            sequence,
            at_unix_ns: start + at_ms * 1_000_000,
            producer: "scheduler".into(),
            event,
        });
    };
    push(
        0,
        Event::RunCreated {
            run: "r".into(),
            name: "made up".into(),
            seed: 7,
            plan_digest: "sha256:00".into(),
            time_scale: 0.01,
            load_scale: 0.1,
            version: "0.1.0".into(),
            files: Vec::new(),
        },
    );
    push(
        20,
        Event::WorkersReady {
            workers: 1,
            load_threads: 1,
            scenarios: vec![ScenarioNames {
                scenario: "http".into(),
                guest: "http sha256:00".into(),
                steps: vec!["home".into(), "item".into()],
                checks: vec![],
                metrics: vec!["TTFT, ms".into()],
            }],
        },
    );
    let mut phases = Vec::new();
    for (i, name) in (0_u32..).zip(names) {
        let rate = [0, 10, 100, 500, 1_000, 5_000, 2_000][usize::try_from(i).unwrap()];
        let at = 100 + i64::from(i) * 4_100;
        push(
            at,
            Event::PhaseStarted {
                phase: i,
                name: name.into(),
                duration_ms: 4_000,
                rate: Some(crate::phases::real(rate)),
                connections: 10 * i,
                users: None,
            },
        );
        push(
            at + 4_000,
            Event::PhaseEnded {
                phase: i,
                name: name.into(),
                lasted_ms: 4_000,
                objectives: vec![
                    outcome("normal operation", OutcomeResult::Pass),
                    outcome(
                        "caching effective",
                        if i == 4 { OutcomeResult::Fail } else { OutcomeResult::Pass },
                    ),
                    outcome(
                        "first bottlenecks",
                        OutcomeResult::NotEvaluable { reason: "no CPU is read".into() },
                    ),
                ],
                expectations: vec![outcome("CPU", OutcomeResult::Fail)],
                thresholds: vec![],
                validity: vec![outcome("send lag", OutcomeResult::Pass)],
                decision: "continue".into(),
                reason: String::new(),
            },
        );
        let base = 300 * u64::from(i + 1);
        let total = series(rate * 4, base);
        let mut lag = Hist::nanos();
        lag.record_n(40_000, rate * 4);
        phases.push(v1::PhaseSeries {
            phase: i,
            series: vec![
                observed(total.clone()),
                observed(v1::Series { target: 1, ..v1::Series::default() }),
            ],
            total: Some(v1::Aggregate {
                phase: i,
                arrivals: Some(v1::ArrivalCounts {
                    scheduled: rate * 4,
                    started: rate * 4,
                    answered: rate * 4,
                    ..v1::ArrivalCounts::default()
                }),
                total: Some(total),
                busy_max: 0.1 * f64::from(i),
                send_lag: Some(lag.encode()),
                ..v1::Aggregate::default()
            }),
            seconds: (0..4).map(|s| second(s, rate, base)).collect(),
            targets: vec![v1::TargetSamples {
                target: 0,
                metrics: vec![v1::TargetMetric {
                    name: "cpu".into(),
                    instance: String::new(),
                    points: (0..4)
                        .map(|s| v1::MetricPoint {
                            at_unix_ns: start + (at + 500 + s * 1_000) * 1_000_000,
                            value: 0.1 * f64::from(i),
                        })
                        .collect(),
                }],
                ..v1::TargetSamples::default()
            }],
            ..v1::PhaseSeries::default()
        });
    }
    push(
        29_000,
        Event::RunEnded {
            verdict: Verdict::Failed,
            exit_code: 99,
            reasons: vec!["threshold p(99) < 300ms: 312 ms".into()],
            thresholds: vec![outcome("p(99) < 300ms", OutcomeResult::Fail)],
        },
    );
    RunData { run: "r".into(), plan, history, series: v1::RunSeries { phases } }
}

/// With four values of a guest's metric: 1.5, 2.5, 3.5 and 4.5.
fn observed(mut series: v1::Series) -> v1::Series {
    let mut values = Hist::micros();
    (1..=4).for_each(|value| values.record_n(value * 1_000 + 500, 1));
    series.step = 1;
    series.observations = vec![v1::Observation { metric: 0, values: Some(values.encode()) }];
    series
}

#[test]
fn guests_metrics_are_summed_over_targets_in_their_own_unit() {
    let data = run();
    let summary = Summary::new(&data);
    let [metric] = &summary.phases[2].metrics[..] else { panic!("{:?}", summary.phases[2].metrics) };
    assert_eq!((&*metric.scenario, &*metric.step, &*metric.name), ("http", "item", "TTFT, ms"));
    let values = &metric.values;
    assert_eq!(values.count, 8);
    assert!(
        (values.p50.unwrap() - 2.5).abs() < 0.01 && (values.max.unwrap() - 4.5).abs() < 0.01,
        "{values:?}"
    );
    assert!(html::render(&data, &summary).unwrap().contains("<td>TTFT, ms</td>"));
}

#[test]
fn the_summary_closes_and_names_everything() {
    let summary = Summary::new(&run());
    assert_eq!(summary.phases.len(), 7);
    assert_eq!(summary.verdict.as_deref(), Some("failed"));
    assert_eq!(
        (summary.objectives.passed, summary.objectives.failed, summary.objectives.not_evaluable),
        (13, 1, 7)
    );
    let heavy = &summary.phases[4];
    assert_eq!(
        heavy.arrivals.scheduled,
        heavy.arrivals.dropped + heavy.arrivals.waiting + heavy.arrivals.started
    );
    assert_eq!(heavy.arrivals.unaccounted, 0);
    assert!((heavy.wanted_rate - 1_000.0).abs() < 1e-9, "wanted {}", heavy.wanted_rate);
    assert_eq!(heavy.steps[0].step, "item");
    assert!(heavy.service.max.unwrap() > heavy.service.p99.unwrap());
}

#[test]
fn answers_and_bytes_are_told_of_phases_and_of_their_steps() {
    let mut data = run();
    let heavy = &mut data.series.phases[4];
    let step = &mut heavy.series[0];
    (step.bytes_sent, step.bytes_received) = (1_000_000, 5_000_000);
    step.statuses.push(v1::StatusCount { status: 503, count: 3 });
    step.errors.push(v1::ErrorCount { class: "reset".into(), count: 2 });
    let total = heavy.total.as_mut().and_then(|total| total.total.as_mut()).unwrap();
    (total.bytes_sent, total.bytes_received) = (1_500_000, 7_000_000);
    let summary = Summary::new(&data);
    let heavy = &summary.phases[4];
    assert_eq!((heavy.bytes_sent, heavy.bytes_received), (1_500_000, 7_000_000));
    let step = &heavy.steps[0];
    assert_eq!((step.bytes_sent, step.bytes_received), (1_000_000, 5_000_000));
    let named = |list: &[crate::summary::Named]| -> Vec<(String, u64)> {
        list.iter().map(|named| (named.name.clone(), named.count)).collect()
    };
    assert_eq!(named(&step.statuses), [("200".into(), 4_000), ("503".into(), 3)]);
    assert_eq!(named(&step.failures), [("reset".into(), 2)]);
    let page = html::render(&data, &summary).unwrap();
    assert!(page.contains("<td class=\"n\">1.50 MB</td><td class=\"n\">7.00 MB</td>"), "sent and received");
}

#[test]
fn the_summary_follows_its_schema_key_by_key() {
    let schema = Summary::schema();
    let value = serde_json::to_value(Summary::new(&run())).unwrap();
    for key in value.as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not in the schema");
    }
}

#[test]
fn the_page_is_self_contained_and_says_the_verdict_first() {
    let data = run();
    let page = html::render(&data, &Summary::new(&data)).unwrap();
    assert!(page.find("Failed: the target did not hold").unwrap() < page.find("What happened").unwrap());
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "the page loads {outside}");
    }
    for phase in ["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"] {
        assert!(page.contains(&format!("<b>{phase}</b>")), "{phase} has no row");
    }
}

#[test]
fn junit_fails_on_thresholds_and_verdict_only() {
    let text = junit::render(&Summary::new(&run())).unwrap();
    assert!(text.contains("failures=\"2\""), "{text}");
    assert!(text.contains("not met: expected at most 1 %"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = std::env::temp_dir().join(format!("gauntlet-report-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    write_all(&dir, &run()).unwrap();
    assert!(dir.join("report.html").metadata().unwrap().len() > 10_000);
    std::fs::remove_dir_all(&dir).unwrap();
    let error = write_all(&dir, &run()).unwrap_err().to_string();
    assert!(error.contains("plan.toml") && error.contains("--report-dir"), "{error}");
}

#[test]
fn workers_are_shown_with_their_clocks_and_their_losses_on_the_timeline() {
    let mut data = run();
    let start = data.history[0].at_unix_ns;
    let mut push = |at_ms: i64, change: &str, clock: Option<ClockReading>| {
        data.history.push(Entry {
            sequence: data.history.len() as u64 + 1,
            at_unix_ns: start + at_ms * 1_000_000,
            producer: "scheduler".into(),
            event: Event::WorkerChanged {
                worker: "0190".into(),
                change: change.into(),
                detail: "as <heard>".into(),
                clock,
                life: None,
            },
        });
    };
    push(10, "joined", Some(ClockReading { ahead_ns: -1_500_000, error_ns: 250_000 }));
    push(6_000, "lost", None);
    let summary = Summary::new(&data);
    let worker = &summary.workers[0];
    assert_eq!((worker.clock_ahead_ms, worker.clock_error_ms), (Some(-1.5), Some(0.25)));
    assert_eq!(worker.changes.iter().map(|change| change.at_ms).collect::<Vec<_>>(), [10, 6_000]);
    let page = html::render(&data, &summary).unwrap();
    assert!(page.contains("-1.500 ± 0.250 ms"), "the clock is not shown");
    // One on each chart, and none for who joined before the first phase.
    let charts = page.matches("class=\"chart\"").count();
    assert_eq!(page.matches("class=\"mark bad\"").count(), charts);
    assert_eq!(page.matches("class=\"mark\"").count(), 0);
    assert!(page.contains("title=\"load-worker 0190 lost: as &lt;heard&gt;\""), "what the mark says");
    assert!(!html::render(&run(), &Summary::new(&run())).unwrap().contains("<th>Load-worker</th>"));
}

#[test]
fn merged_intervals_are_said_where_there_were_some() {
    let mut data = run();
    let page = |data: &RunData| html::render(data, &Summary::new(data)).unwrap();
    assert!(!page(&data).contains("recorded together"));
    data.series.phases[4].merged_intervals = 12;
    assert_eq!(Summary::new(&data).phases[4].merged_intervals, 12);
    assert!(page(&data).contains("12 interval(s) were recorded together with a later one"));
}

#[test]
fn latencies_are_drawn_in_a_unit_whose_decades_can_be_told() {
    let mut data = run();
    let units = |data: &RunData| {
        let page = html::render(data, &Summary::new(data)).unwrap();
        ["ms", "µs"].map(|unit| page.contains(&format!("<h3>Latency</h3><span class=\"unit\">{unit}</span>")))
    };
    assert_eq!(units(&data), [true, false]);
    data.series.phases[4].seconds[0].latency_us[0] = 40;
    assert_eq!(units(&data), [false, true], "0.01 ms would be labelled 0");
}

#[test]
fn send_lag_is_shown_for_each_phase_and_for_all_with_its_rule() {
    let data = run();
    let summary = Summary::new(&data);
    let heavy = &summary.phases[4].send_lag;
    assert_eq!(
        (heavy.percentiles.count, heavy.percentiles.p99),
        (4_000, summary.phases[4].generator.send_lag_p99_us)
    );
    let sent: u64 = summary.phases.iter().map(|phase| phase.send_lag.percentiles.count).sum();
    assert_eq!((summary.send_lag.percentiles.count, sent), (34_440, 34_440));
    let value = serde_json::to_value(&summary).unwrap();
    assert!(value["send_lag"]["p999"].is_f64() && value["phases"][4]["send_lag"]["histogram"].is_array());
    assert!(value["phases"][0]["send_lag"]["p50"].is_null(), "nothing is sent in the idle phase");
    let page = html::render(&data, &summary).unwrap();
    assert!(page.contains("Its rule: at most 1 %; a phase that breaks it says nothing of the target."));
    assert!(page.contains("<td>all phases</td><td class=\"n\">40 µs</td>"), "the row of all phases");
    assert!(page.contains("<th class=\"n\">&gt; 1 s</th>") && page.contains("100 %</td>"), "the histogram");
}

#[test]
fn workers_are_shown_with_their_weights_their_shares_and_what_they_sent() {
    let mut data = run();
    let ids = [protocol::id::WorkerId::new(), protocol::id::WorkerId::new()];
    let mut push = |event: Event| {
        let (sequence, at_unix_ns) = (data.history.len() as u64 + 1, data.history[0].at_unix_ns);
        data.history.push(Entry { sequence, at_unix_ns, producer: "scheduler".into(), event });
    };
    for (id, weight, thread_speed) in [(ids[0], None, Some(480_000.0)), (ids[1], Some(3.0), None)] {
        push(Event::WorkerChanged {
            worker: id.to_string(),
            change: "joined".into(),
            detail: "host a".into(),
            clock: None,
            life: Some(Life { incarnation: "i".into(), load_threads: 1, weight, thread_speed }),
        });
    }
    let share = |id: protocol::id::WorkerId, weight, stripes| LoadShare {
        worker: id.to_string(),
        weight,
        stripes,
        of: 4,
    };
    push(Event::LoadDivided {
        phase: 0,
        epoch: 1,
        from_ns: 0,
        shares: vec![share(ids[0], 1.0, 1), share(ids[1], 3.0, 3)],
    });
    let progress = |id: protocol::id::WorkerId, started, lag_ns| {
        let mut lag = Hist::nanos();
        lag.record_n(lag_ns, started);
        v1::WorkerProgress {
            worker: id.to_bytes(),
            arrivals: Some(v1::ArrivalCounts { started, ..v1::ArrivalCounts::default() }),
            send_lag: Some(lag.encode()),
            ..v1::WorkerProgress::default()
        }
    };
    for phase in [3, 4] {
        data.series.phases[phase].workers =
            vec![progress(ids[0], 1_000, 10_000), progress(ids[1], 3_000, 40_000)];
    }
    let summary = Summary::new(&data);
    let seen: Vec<_> =
        summary.workers.iter().map(|w| (w.weight, w.weight_set, w.share, w.started, w.sent_share)).collect();
    assert_eq!(
        seen,
        [(Some(1.0), false, Some(0.25), 2_000, 0.25), (Some(3.0), true, Some(0.75), 6_000, 0.75)]
    );
    assert_eq!(summary.workers[1].send_lag.count, 6_000);
    assert!((summary.workers[1].send_lag.p99.unwrap() / 40.0 - 1.0).abs() < 0.001);
    let page = html::render(&data, &summary).unwrap();
    for text in [
        "3.00<div class=\"small\">set</div>",
        "25.0 %",
        "of 480\u{202f}000 rounds/s each",
        "by weight: 25.0 %",
    ] {
        assert!(page.contains(text), "{text} is not shown");
    }
}
