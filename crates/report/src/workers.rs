//! The load-workers of a run: what each was good for, which share of the load it had, and what it sent.

use protocol::event::{Entry, Event, LoadShare};
use protocol::id::WorkerId;
use series::Hist;

use crate::phases::real;
use crate::summary::{WorkerChange, WorkerSummary, ms_between};
use crate::{RunData, figures, lag};

/// So many shares are told one by one.
const TOLD: usize = 4;

/// One summary for each load-worker that is spoken of.
pub(crate) fn summaries(data: &RunData) -> Vec<WorkerSummary> {
    let mut workers = changes(&data.history);
    for worker in &mut workers {
        let own = data.series.phases.iter().flat_map(|phase| &phase.workers).filter(|progress| {
            WorkerId::from_bytes(&progress.worker).is_ok_and(|id| id.to_string() == worker.worker)
        });
        let mut lags = Hist::nanos();
        for progress in own {
            worker.started += progress.arrivals.as_ref().map_or(0, |counts| counts.started);
            lags.absorb(lag::decoded(progress.send_lag.as_ref()));
        }
        worker.send_lag = lag::percentiles(&lags);
    }
    let all: u64 = workers.iter().map(|worker| worker.started).sum();
    for worker in &mut workers {
        worker.sent_share = real(worker.started) / real(all.max(1));
    }
    workers
}

/// What the history says.
fn changes(history: &[Entry]) -> Vec<WorkerSummary> {
    let start = history.first().map_or(0, |entry| entry.at_unix_ns);
    let mut workers: Vec<WorkerSummary> = Vec::new();
    for entry in history {
        match &entry.event {
            Event::WorkerChanged { worker, change, detail, clock, life } => {
                let known = named(&mut workers, worker);
                if let Some(clock) = clock {
                    known.clock_ahead_ms = Some(ms(clock.ahead_ns));
                    known.clock_error_ms = Some(real(clock.error_ns) / 1e6);
                }
                if let Some(life) = life {
                    known.load_threads = Some(life.load_threads);
                    known.weight_set = life.weight.is_some();
                    known.thread_speed = life.thread_speed;
                }
                known.changes.push(WorkerChange {
                    at_ms: ms_between(start, entry.at_unix_ns),
                    change: change.clone(),
                    detail: detail.clone(),
                });
            }
            Event::LoadDivided { shares, .. } => {
                for share in shares {
                    let known = named(&mut workers, &share.worker);
                    known.weight = Some(share.weight);
                    known.share = Some(part(share));
                }
            }
            _ => {}
        }
    }
    workers
}

fn named<'a>(workers: &'a mut Vec<WorkerSummary>, worker: &str) -> &'a mut WorkerSummary {
    let at = workers.iter().position(|known| known.worker == worker).unwrap_or_else(|| {
        workers.push(WorkerSummary { worker: worker.to_owned(), ..WorkerSummary::default() });
        workers.len() - 1
    });
    &mut workers[at]
}

fn part(share: &LoadShare) -> f64 {
    f64::from(share.stripes) / f64::from(share.of.max(1))
}

/// How the load is divided, in a sentence; `None` when one worker has all of it.
#[must_use]
pub fn divided(shares: &[LoadShare]) -> Option<String> {
    let ascending = |of: fn(&LoadShare) -> f64| {
        let mut values: Vec<f64> = shares.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    };
    if shares.len() < 2 {
        return None;
    }
    let workers = format!("the load is divided among {} load-workers", shares.len());
    let even = shares.windows(2).all(|pair| pair[0].stripes == pair[1].stripes);
    Some(if even {
        format!("{workers} evenly")
    } else if shares.len() <= TOLD {
        let each = shares.iter().map(|share| {
            format!("{} to {} (weight {})", figures::percent(part(share)), share.worker, share.weight)
        });
        format!("{workers} by weight: {}", each.collect::<Vec<_>>().join(", "))
    } else {
        let ((least, most), (light, heavy)) = (ascending(part), ascending(|share| share.weight));
        let (least, most) = (figures::percent(least), figures::percent(most));
        format!("{workers} by weights from {light} to {heavy}: {least} to {most} each")
    })
}

#[expect(clippy::cast_precision_loss, reason = "clocks are less than 104 days apart")]
const fn ms(ns: i64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(worker: usize, weight: f64, stripes: u32, of: u32) -> LoadShare {
        LoadShare { worker: format!("w{worker}"), weight, stripes, of }
    }

    #[test]
    fn a_division_is_told_as_shortly_as_it_is_simple() {
        assert_eq!(divided(&[share(1, 2.0, 1, 1)]), None);
        let even: Vec<_> = (0..9).map(|n| share(n, 1.0, 1, 9)).collect();
        assert_eq!(divided(&even).unwrap(), "the load is divided among 9 load-workers evenly");
        assert_eq!(
            divided(&[share(1, 1.0, 1, 4), share(2, 3.0, 3, 4)]).unwrap(),
            "the load is divided among 2 load-workers by weight: 25.0 % to w1 (weight 1), 75.0 % to w2 (weight 3)"
        );
        let mut many: Vec<_> = (0..8).map(|n| share(n, 1.0, 1, 10)).collect();
        many.push(share(8, 2.0, 2, 10));
        assert_eq!(
            divided(&many).unwrap(),
            "the load is divided among 9 load-workers by weights from 1 to 2: 10.0 % to 20.0 % each"
        );
    }
}
