//! The load-workers of a run, from the history.

use protocol::event::{Entry, Event};

use crate::summary::{WorkerChange, WorkerSummary, ms_between};

/// One summary for each load-worker that is spoken of.
pub(crate) fn summaries(history: &[Entry]) -> Vec<WorkerSummary> {
    let start = history.first().map_or(0, |entry| entry.at_unix_ns);
    let mut workers: Vec<WorkerSummary> = Vec::new();
    for entry in history {
        let Event::WorkerChanged { worker, change, detail, clock, .. } = &entry.event else { continue };
        let at = workers.iter().position(|known| known.worker == *worker).unwrap_or_else(|| {
            workers.push(WorkerSummary { worker: worker.clone(), ..WorkerSummary::default() });
            workers.len() - 1
        });
        if let Some(clock) = clock {
            workers[at].clock_ahead_ms = Some(ms(clock.ahead_ns));
            workers[at].clock_error_ms = Some(crate::phases::real(clock.error_ns) / 1e6);
        }
        workers[at].changes.push(WorkerChange {
            at_ms: ms_between(start, entry.at_unix_ns),
            change: change.clone(),
            detail: detail.clone(),
        });
    }
    workers
}

#[expect(clippy::cast_precision_loss, reason = "clocks are less than 104 days apart")]
const fn ms(ns: i64) -> f64 {
    ns as f64 / 1e6
}
