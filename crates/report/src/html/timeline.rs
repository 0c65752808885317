//! The one timeline: charts over the same seconds, phases and faults shaded behind them; and a close-up of the stretch
//! in which there were faults.

use protocol::v1;
use serde::Serialize;

use super::lanes::{Lanes, Shade, lanes, shades};
use crate::RunData;
use crate::charts::{Chart, FOOT, Line, svg};
use crate::faults::FaultSummary;
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
    shades: Vec<Shade>,
    lanes: Vec<Lanes>,
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
    /// Height of what is beneath the plot, per cent of the drawing's.
    foot: f32,
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
    from: f64,
    end: f64,
    x: Vec<f64>,
    phases: Vec<String>,
    charts: Vec<Vec<Readout>>,
    faults: Vec<There>,
}

/// A fault that was there, for what the crosshair stands in.
#[derive(Serialize)]
struct There {
    from: f64,
    to: f64,
    name: String,
    kind: String,
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

/// What a timeline shows, seconds from the run's start.
#[derive(Clone, Copy)]
pub(super) struct Span {
    from: f64,
    to: f64,
}

impl Span {
    /// Where a stretch is, and how wide, in per cent of the plot; none when it is outside.
    pub(super) fn stretch(self, from_ms: u64, to_ms: u64) -> Option<(f64, f64)> {
        let (from, to) = (self.place(from_ms), self.place(to_ms));
        (to >= 0.0 && from <= 100.0).then(|| {
            let left = from.max(0.0);
            (left, to.min(100.0) - left)
        })
    }

    fn place(self, ms: u64) -> f64 {
        (real(ms) / 1e3 - self.from) / (self.to - self.from) * 100.0
    }
}

/// Draws all charts over the whole run.
pub(super) fn build(data: &RunData, summary: &Summary) -> Result<Timeline, WriteError> {
    let points = points(data, summary);
    let to = (real(summary.lasted_ms) / 1e3).max(points.last().map_or(1.0, |point| point.at)).max(1.0);
    let charts = charts(data, summary, &points);
    draw(summary, &points, &charts, Span { from: 0.0, to })
}

/// Up to so much of the run is worth a close-up.
const WORTH: f64 = 0.6;
/// What is shown on either side of faults and incidents, seconds: as much as is measured there.
const MARGIN: f64 = 10.0;

/// The stretch with faults and incidents alone; none without, or where it would show most of the run again.
pub(super) fn close_up(data: &RunData, summary: &Summary) -> Result<Option<Timeline>, WriteError> {
    let end = summary.lasted_ms;
    let faults = summary.faults.iter().filter(|fault| fault.ran()).filter_map(|fault| fault.window(end));
    let incidents =
        summary.incidents.iter().map(|incident| (incident.opened_ms, incident.closed_ms.unwrap_or(end)));
    let all = faults.chain(incidents).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let Some((from, to)) = all else { return Ok(None) };
    let whole = real(end) / 1e3;
    let span = Span {
        from: (real(from) / 1e3 - MARGIN).max(0.0),
        to: (real(to) / 1e3 + MARGIN).min(whole).max(real(from) / 1e3 + 1.0),
    };
    if span.to - span.from > WORTH * whole {
        return Ok(None);
    }
    let mut points = points(data, summary);
    points.retain(|point| point.at >= span.from && point.at <= span.to);
    if points.is_empty() {
        return Ok(None);
    }
    let mut charts = charts(data, summary, &points);
    charts.truncate(CLOSE_UP_CHARTS);
    draw(summary, &points, &charts, span).map(Some)
}

/// Load and latency: what a fault does to load shows there.
const CLOSE_UP_CHARTS: usize = 2;

fn draw(
    summary: &Summary,
    points: &[Point<'_>],
    charts: &[Chart],
    span: Span,
) -> Result<Timeline, WriteError> {
    let x: Vec<f64> = points.iter().map(|point| point.at).collect();
    let mut drawn = Vec::new();
    let mut readouts = Vec::new();
    for chart in charts {
        drawn.push(Drawn {
            title: chart.title,
            unit: chart.unit,
            svg: svg(chart, &x, span.from, span.to)?,
            foot: FOOT / chart.height * 100.0,
            legend: chart
                .lines
                .iter()
                .map(|line| Key { name: line.name, color: line.color, dashed: line.dashed })
                .collect(),
        });
        let write = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), |v| written(chart, v));
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
    let there = |(number, fault): (usize, &FaultSummary)| {
        let (from, to) = fault.window(summary.lasted_ms).filter(|_| fault.ran())?;
        let name = format!("{number} {}", fault.fault);
        Some(There { from: real(from) / 1e3, to: real(to) / 1e3, name, kind: fault.kind.clone() })
    };
    let faults = (1..).zip(&summary.faults).filter_map(there).collect();
    let data = Crosshair { from: span.from, end: span.to, x, phases, charts: readouts, faults };
    let data = serde_json::to_string(&data).map_err(|error| WriteError::Render(error.to_string()))?;
    Ok(Timeline {
        bands: bands(summary, span),
        marks: marks(summary, span),
        shades: shades(summary, span),
        lanes: lanes(summary, span),
        charts: drawn,
        data: data.replace("</", "<\\/"),
    })
}

fn written(chart: &Chart, value: f64) -> String {
    match chart.unit {
        "µs" => figures::micros(value),
        "ms" => figures::micros(value * 1e3),
        "%" => figures::percent(value / 100.0),
        _ => figures::rate(value),
    }
}

fn bands(summary: &Summary, span: Span) -> Vec<Band> {
    let band = |phase: &PhaseSummary| {
        let (left, width) = span.stretch(phase.start_ms, phase.start_ms + phase.lasted_ms.max(1))?;
        Some(Band { name: phase.name.clone(), left, width, odd: phase.index % 2 == 1 })
    };
    summary.phases.iter().filter_map(band).collect()
}

fn marks(summary: &Summary, span: Span) -> Vec<Mark> {
    let begin = summary.phases.first().map_or(u64::MAX, |phase| phase.start_ms);
    let changes = summary.workers.iter().flat_map(|worker| worker.changes.iter().map(move |c| (worker, c)));
    changes
        .filter(|(_, change)| change.at_ms >= begin)
        .filter_map(|(worker, change)| {
            Some(Mark {
                left: span.stretch(change.at_ms, change.at_ms)?.0,
                bad: change.change == "lost",
                text: format!("load-worker {} {}: {}", worker.worker, change.change, change.detail),
            })
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

/// The unit of the chart of latencies, and how many microseconds it has. An axis is labelled with one decimal at most: of a
/// logarithmic one in milliseconds, all below 0.1 would read 0.
fn latency_unit(points: &[Point<'_>]) -> (&'static str, f64) {
    let shown = points.iter().filter_map(|point| point.second);
    let mut micros = shown.flat_map(|second| second.latency_us.iter().chain(&second.service_us));
    if micros.any(|us| (1..100).contains(us)) { ("µs", 1.0) } else { ("ms", 1e3) }
}

fn charts(data: &RunData, summary: &Summary, points: &[Point<'_>]) -> Vec<Chart> {
    let started = |s: &v1::Second| per_second(s.arrivals.as_ref().map_or(0, |a| a.started), s);
    let dropped = |s: &v1::Second| per_second(s.arrivals.as_ref().map_or(0, |a| a.dropped), s);
    let (unit, micros) = latency_unit(points);
    // A percentile by its place in the lists of a second; no values, no point.
    let latency = |values: &[u64], place: usize| {
        values.get(place).filter(|value| **value > 0).map(|value| real(*value) / micros)
    };
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
            unit,
            height: 240.0,
            logarithmic: true,
            top: None,
            lines: vec![
                line("median, from when due", BLUE, points, |s| latency(&s.latency_us, 0)),
                line("p99, from when due", VIOLET, points, |s| latency(&s.latency_us, 3)),
                Line {
                    dashed: false,
                    ..line("p99, from actual send", ORANGE, points, |s| latency(&s.service_us, 3))
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
