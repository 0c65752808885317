//! The histograms of the send lag, as a table in which the eye finds the late ones.

use serde::Serialize;

use crate::figures;
use crate::phases::real;
use crate::summary::{LagStep, SendLag, Summary};

/// What the page shows.
#[derive(Serialize)]
pub(super) struct Lags<'a> {
    /// Upper ends of the steps, as text.
    heads: Vec<String>,
    rows: Vec<Row<'a>>,
    /// There is a row of all phases beside theirs.
    several: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Cell {
    share: String,
    count: String,
    /// How strong its colour is, 0 to 1: few that were late must be seen beside very many that were not.
    strength: f64,
}

/// One row for each phase in which something was sent, and one for all where they are several.
pub(super) fn lags(summary: &Summary) -> Lags<'_> {
    let sent = |lag: &SendLag| !lag.histogram.is_empty();
    let mut rows: Vec<Row<'_>> = summary
        .phases
        .iter()
        .filter(|phase| sent(&phase.send_lag))
        .map(|phase| row(&phase.name, &phase.send_lag))
        .collect();
    let several = rows.len() > 1;
    if several {
        rows.push(row("all phases", &summary.send_lag));
    }
    let steps = &summary.send_lag.histogram;
    let mut last = String::new();
    let head = |step: &LagStep| match step.up_to_us {
        Some(us) => {
            last = figures::round_micros(us);
            format!("≤ {last}")
        }
        None => format!("> {last}"),
    };
    Lags { heads: steps.iter().map(head).collect(), rows, several }
}

fn row<'a>(name: &'a str, lag: &SendLag) -> Row<'a> {
    let all = real(lag.percentiles.count).max(1.0);
    let cell = |step: &LagStep| {
        let share = real(step.count) / all;
        Cell {
            share: if step.count == 0 { "·".to_owned() } else { figures::percent(share) },
            count: figures::count(step.count),
            strength: share.sqrt() * 0.75,
        }
    };
    Row { name, cells: lag.histogram.iter().map(cell).collect() }
}
