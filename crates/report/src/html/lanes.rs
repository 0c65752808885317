//! Faults and incidents as bars beneath the phases' names, over the same seconds as the charts.

use serde::Serialize;

use super::timeline::Span;
use crate::faults::{Fate, FaultSummary, IncidentSummary};
use crate::figures::length;
use crate::summary::Summary;

/// So many faults or incidents at once have rows of their own; more share the last.
const MOST_ROWS: usize = 8;
/// Narrowest bars that have a number, and a name, per cent of the plot.
const FOR_NUMBER: f64 = 1.3;
const FOR_NAME: f64 = 9.0;

/// Rows of bars under a heading.
#[derive(Serialize)]
pub(super) struct Lanes {
    heading: &'static str,
    rows: Vec<Vec<Bar>>,
}

/// A bar or a mark, in per cent of the plot.
#[derive(Serialize)]
pub(super) struct Bar {
    left: f64,
    width: f64,
    /// Of the style sheet: a kind of fault, a part of an incident, a mark.
    class: String,
    text: String,
    title: String,
}

/// A fault's shading behind each chart.
#[derive(Serialize)]
pub(super) struct Shade {
    left: f64,
    width: f64,
    kind: String,
    title: String,
}

/// What is shaded behind the charts.
pub(super) fn shades(summary: &Summary, span: Span) -> Vec<Shade> {
    let seen = |fault: &FaultSummary| {
        let (from, to) = fault.window(summary.lasted_ms)?;
        let (left, width) = span.stretch(from, to)?;
        Some(Shade { left, width, kind: fault.kind.clone(), title: described(fault) })
    };
    summary.faults.iter().filter(|fault| fault.ran()).filter_map(seen).collect()
}

/// Faults, then incidents; empty where there is neither.
pub(super) fn lanes(summary: &Summary, span: Span) -> Vec<Lanes> {
    let end = summary.lasted_ms;
    let faults =
        (1_usize..).zip(&summary.faults).filter(|(_, fault)| fault.ran()).filter_map(|(number, fault)| {
            let (from, to) = fault.window(end)?;
            Some((from, to, vec![fault_bar(number, fault, span.stretch(from, to)?)]))
        });
    let incidents = summary.incidents.iter().filter_map(|incident| {
        let from = incident.opened_ms.saturating_sub(incident.detected_after_ms.unwrap_or(0));
        let to = incident.closed_ms.unwrap_or(end);
        Some((from, to, incident_bars(incident, end, span)?))
    });
    [("Faults", rows(faults)), ("Incidents", rows(incidents))]
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(heading, rows)| Lanes { heading, rows })
        .collect()
}

/// Each into the first row in which nothing is in its way.
fn rows(all: impl Iterator<Item = (u64, u64, Vec<Bar>)>) -> Vec<Vec<Bar>> {
    let mut rows: Vec<(u64, Vec<Bar>)> = Vec::new();
    for (from, to, bars) in all {
        let free = rows.iter().position(|(until, _)| *until <= from);
        let row = match free {
            Some(row) => row,
            None if rows.len() < MOST_ROWS => {
                rows.push((0, Vec::new()));
                rows.len() - 1
            }
            None => rows.len() - 1,
        };
        rows[row].0 = rows[row].0.max(to);
        rows[row].1.extend(bars);
    }
    rows.into_iter().map(|(_, bars)| bars).collect()
}

fn fault_bar(number: usize, fault: &FaultSummary, (left, width): (f64, f64)) -> Bar {
    let text = if width >= FOR_NAME {
        format!("{number} {}", fault.fault)
    } else if width >= FOR_NUMBER {
        number.to_string()
    } else {
        String::new()
    };
    let lasting = if fault.fate == Fate::Ended { "" } else { " lasting" };
    let class = format!("fault {}{lasting}", fault.kind);
    Bar { left, width, class, text, title: format!("{number} {}", described(fault)) }
}

fn described(fault: &FaultSummary) -> String {
    let end = match (fault.fate, fault.held_ms) {
        (Fate::Ended, Some(held)) => format!("there for {}", length(held)),
        (Fate::Unrecovered, _) => "could not be undone".to_owned(),
        _ => "the history has no end of it".to_owned(),
    };
    format!("{}: {}; {end}", fault.fault, fault.does)
}

/// Unnoticed, ill, healthy but not confirmed yet; and the marks of detection and recovery.
fn incident_bars(incident: &IncidentSummary, run_end_ms: u64, span: Span) -> Option<Vec<Bar>> {
    let opened = incident.opened_ms;
    let caused = opened.saturating_sub(incident.detected_after_ms.unwrap_or(0));
    let healthy = incident.recovered_after_ms.map(|after| opened + after);
    let closed = incident.closed_ms.unwrap_or(run_end_ms);
    span.stretch(caused, closed)?;
    let name = format!("incident {}: {} of {}", incident.incident, incident.issue, incident.target);
    let mut bars = Vec::new();
    let mut part = |class: &str, from: u64, to: u64, title: String| {
        if let Some((left, width)) = span.stretch(from, to) {
            bars.push(Bar { left, width, class: class.to_owned(), text: String::new(), title });
        }
    };
    if let Some(after) = incident.detected_after_ms.filter(|after| *after > 0) {
        part("unseen", caused, opened, format!("{name}: unnoticed for {}", length(after)));
    }
    let title = healthy.map_or_else(
        || format!("{name}: still open at the end"),
        |healthy| format!("{name}: ill for {}", length(healthy - opened)),
    );
    part(if healthy.is_some() { "ill" } else { "ill lasting" }, opened, healthy.unwrap_or(closed), title);
    if let (Some(healthy), Some(after)) = (healthy, incident.validated_after_ms) {
        part("well", healthy, closed, format!("{name}: healthy, confirmed {} later", length(after)));
    }
    let mut mark = |class: &str, text: &str, at: u64, title: String| {
        if let Some((left, _)) = span.stretch(at, at) {
            bars.push(Bar { left, width: 0.0, class: format!("sign {class}"), text: text.to_owned(), title });
        }
    };
    mark("found", "▼", opened, format!("{name}: found here: {}", incident.seen));
    if let Some(healthy) = healthy {
        mark("healthy", "✓", healthy, format!("{name}: healthy from here on ({})", incident.how));
    }
    Some(bars)
}
