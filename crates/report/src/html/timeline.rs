//! The one timeline: charts over the same seconds, phases shaded behind them.

use protocol::v1;
use serde::Serialize;

use crate::RunData;
use crate::charts::{Chart, Line, svg};
use crate::figures;
use crate::phases::{real, whole_seconds};
use crate::run_dir::WriteError;
use crate::summary::{PhaseSummary, Summary};

const BLUE: &str = "#3b82f6";
const GREEN: &str = "#10b981";
const ORANGE: &str = "#f59e0b";
const RED: &str = "#ef4444";
const VIOLET: &str = "#8b5cf6";
const GREY: &str = "#8a93a0";

/// What the page draws.
#[derive(Serialize)]
pub(super) struct Timeline {
    bands: Vec<Band>,
    marks: Vec<Mark>,
    charts: Vec<Drawn>,
    /// For the crosshair: seconds, and the figures of each chart's lines as text.
    data: String,
}

/// A phase's shading, in per cent of the plot.
#[derive(Serialize)]
struct Band {
    name: String,
    left: f64,
    width: f64,
    /// Every other one is shaded more, so that edges show.
    odd: bool,
}

/// A load-worker came or went while a phase ran.
#[derive(Serialize)]
struct Mark {
    /// In per cent of the plot.
    left: f64,
    bad: bool,
    text: String,
}

#[derive(Serialize)]
struct Drawn {
    title: &'static str,
    unit: &'static str,
    svg: String,
    legend: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    name: &'static str,
    color: &'static str,
    dashed: bool,
}

#[derive(Serialize)]
struct Crosshair {
    end: f64,
    x: Vec<f64>,
    phases: Vec<String>,
    charts: Vec<Vec<Readout>>,
}

#[derive(Serialize)]
struct Readout {
    name: &'static str,
    color: &'static str,
    values: Vec<String>,
}

/// A second of some phase, or the gap after one.
struct Point<'a> {
    at: f64,
    phase: &'a PhaseSummary,
    second: Option<&'a v1::Second>,
}

/// Draws all charts.
pub(super) fn build(data: &RunData, summary: &Summary) -> Result<Timeline, WriteError> {
    let points = points(data, summary);
    let end = (real(summary.lasted_ms) / 1e3).max(points.last().map_or(1.0, |point| point.at)).max(1.0);
    let x: Vec<f64> = points.iter().map(|point| point.at).collect();
    let mut drawn = Vec::new();
    let mut readouts = Vec::new();
    for chart in charts(data, summary, &points) {
        drawn.push(Drawn {
            title: chart.title,
            unit: chart.unit,
            svg: svg(&chart, &x, end)?,
            legend: chart
                .lines
                .iter()
                .map(|line| Key { name: line.name, color: line.color, dashed: line.dashed })
                .collect(),
        });
        let write = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), |v| written(&chart, v));
        readouts.push(
            chart
                .lines
                .iter()
                .map(|line| Readout {
                    name: line.name,
                    color: line.color,
                    values: line.values.iter().map(write).collect(),
                })
                .collect(),
        );
    }
    let phases = points.iter().map(|point| point.phase.name.clone()).collect();
    let data = serde_json::to_string(&Crosshair { end, x, phases, charts: readouts })
        .map_err(|error| WriteError::Render(error.to_string()))?;
    Ok(Timeline {
        bands: bands(summary, end),
        marks: marks(summary, end),
        charts: drawn,
        data: data.replace("</", "<\\/"),
    })
}

fn written(chart: &Chart, value: f64) -> String {
    match chart.unit {
        "ms" => figures::micros(value * 1e3),
        "%" => figures::percent(value / 100.0),
        _ => figures::rate(value),
    }
}

fn bands(summary: &Summary, end: f64) -> Vec<Band> {
    summary
        .phases
        .iter()
        .map(|phase| Band {
            name: phase.name.clone(),
            left: real(phase.start_ms) / 10.0 / end,
            width: real(phase.lasted_ms.max(1)) / 10.0 / end,
            odd: phase.index % 2 == 1,
        })
        .collect()
}

fn marks(summary: &Summary, end: f64) -> Vec<Mark> {
    let begin = summary.phases.first().map_or(u64::MAX, |phase| phase.start_ms);
    let changes = summary.workers.iter().flat_map(|worker| worker.changes.iter().map(move |c| (worker, c)));
    changes
        .filter(|(_, change)| change.at_ms >= begin)
        .map(|(worker, change)| Mark {
            left: real(change.at_ms) / 10.0 / end,
            bad: change.change == "lost",
            text: format!("load-worker {} {}: {}", worker.worker, change.change, change.detail),
        })
        .collect()
}

/// Up to so many seconds each is drawn as the stretch that it is; beyond, as a point in its middle.
const STRETCHES: usize = 600;

fn points<'a>(data: &'a RunData, summary: &'a Summary) -> Vec<Point<'a>> {
    let all: usize = data.series.phases.iter().map(|phase| phase.seconds.len()).sum();
    let mut points = Vec::new();
    for phase in &summary.phases {
        let start = real(phase.start_ms) / 1e3;
        for second in whole_seconds(data, phase) {
            let (from, length) = (start + real(second.offset_ns) / 1e9, real(second.length_ns) / 1e9);
            let shares: &[f64] = if all <= STRETCHES { &[0.0, 0.999] } else { &[0.5] };
            for share in shares {
                points.push(Point { at: from + length * share, phase, second: Some(second) });
            }
        }
        if let Some(last) = points.last() {
            points.push(Point { at: last.at + 1e-4, phase, second: None });
        }
    }
    points.sort_by(|a, b| a.at.total_cmp(&b.at));
    points
}

fn line(
    name: &'static str,
    color: &'static str,
    points: &[Point<'_>],
    value: impl Fn(&v1::Second) -> Option<f64>,
) -> Line {
    let values = points.iter().map(|point| point.second.and_then(&value)).collect();
    Line { name, color, values, dashed: false, filled: false }
}

/// A count over a second's length.
fn per_second(count: u64, second: &v1::Second) -> Option<f64> {
    (second.length_ns > 0).then(|| real(count) * 1e9 / real(second.length_ns))
}

/// A percentile by its place in `Second`'s lists, in milliseconds; no values, no point.
fn millis(values: &[u64], place: usize) -> Option<f64> {
    values.get(place).filter(|value| **value > 0).map(|value| real(*value) / 1e3)
}

fn charts(data: &RunData, summary: &Summary, points: &[Point<'_>]) -> Vec<Chart> {
    let started = |s: &v1::Second| per_second(s.arrivals.as_ref().map_or(0, |a| a.started), s);
    let dropped = |s: &v1::Second| per_second(s.arrivals.as_ref().map_or(0, |a| a.dropped), s);
    let mut charts = vec![
        Chart {
            title: "Load",
            unit: "requests / s",
            height: 210.0,
            logarithmic: false,
            top: None,
            lines: vec![
                Line { dashed: true, ..line("wanted", GREY, points, |s| Some(s.wanted_rate)) },
                Line { filled: true, ..line("sent", BLUE, points, started) },
                line("answered without error", GREEN, points, |s| per_second(s.good, s)),
            ],
        },
        Chart {
            title: "Latency",
            unit: "ms",
            height: 240.0,
            logarithmic: true,
            top: None,
            lines: vec![
                line("median, from when due", BLUE, points, |s| millis(&s.latency_us, 0)),
                line("p99, from when due", VIOLET, points, |s| millis(&s.latency_us, 3)),
                Line {
                    dashed: false,
                    ..line("p99, from actual send", ORANGE, points, |s| millis(&s.service_us, 3))
                },
            ],
        },
        Chart {
            title: "Errors",
            unit: "per second",
            height: 140.0,
            logarithmic: false,
            top: None,
            lines: vec![
                Line { filled: true, ..line("errors", RED, points, |s| per_second(s.errors, s)) },
                line("dropped", ORANGE, points, dropped),
            ],
        },
    ];
    if let Some(chart) = resources(data, summary, points) {
        charts.push(chart);
    }
    charts
}

/// CPU and memory of the targets, the highest of all instances at each point.
fn resources(data: &RunData, summary: &Summary, points: &[Point<'_>]) -> Option<Chart> {
    let run_start = data.history.first()?.at_unix_ns;
    let readings = |name: &str| -> Vec<(f64, f64)> {
        let mut all: Vec<(f64, f64)> = data
            .series
            .phases
            .iter()
            .flat_map(|phase| &phase.targets)
            .flat_map(|target| &target.metrics)
            .filter(|metric| metric.name == name)
            .flat_map(|metric| &metric.points)
            .map(|point| (seconds_since(run_start, point.at_unix_ns), point.value * 100.0))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    };
    let at_points = |readings: &[(f64, f64)]| -> Vec<Option<f64>> {
        points
            .iter()
            .map(|point| {
                point.second?;
                readings
                    .iter()
                    .filter(|(at, _)| (at - point.at).abs() <= 1.0)
                    .map(|(_, value)| *value)
                    .max_by(f64::total_cmp)
            })
            .collect()
    };
    let (cpu, memory) = (readings("cpu"), readings("memory"));
    if summary.phases.is_empty() || (cpu.is_empty() && memory.is_empty()) {
        return None;
    }
    let drawn = |name, color, readings: &[(f64, f64)]| Line {
        name,
        color,
        values: at_points(readings),
        dashed: false,
        filled: false,
    };
    Some(Chart {
        title: "Target's resources",
        unit: "%",
        height: 150.0,
        logarithmic: false,
        top: Some(100.0),
        lines: vec![drawn("CPU", BLUE, &cpu), drawn("memory", GREEN, &memory)],
    })
}

#[expect(clippy::cast_precision_loss, reason = "offsets within a run are far below 2^53 ns")]
fn seconds_since(start_ns: i64, at_ns: i64) -> f64 {
    (at_ns - start_ns) as f64 / 1e9
}
