//! Live aggregates: one for each second of a watched run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::id::RunId;
use protocol::v1;

use crate::Error;
use crate::probe::Now;
use crate::service_state::{Known, Service};
use crate::state::{Filter, Phase, SECOND_NS};

/// Something is said at least this often.
const AT_LEAST: Duration = Duration::from_secs(1);
/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(100);

/// Broadcasts the newest second of each watched run as soon as all workers have told of it, the first one as soon as any
/// has, and where nobody tells anything (idle phases) an empty one each second.
pub(crate) async fn run(service: Arc<Service>) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = service.shutdown.triggered() => return Ok(()),
            () = service.fresh.notified() => {}
            _ = ticks.tick() => {}
        }
        let due: Vec<v1::Aggregate> = {
            let mut runs = service.runs();
            let watched = runs.iter_mut().filter(|(_, known)| known.probes.is_some());
            watched.filter_map(|(run, known)| due(run, known)).collect()
        };
        for aggregate in due {
            service.bus.broadcast(&aggregate).await?;
        }
    }
}

fn due(run: RunId, known: &mut Known) -> Option<v1::Aggregate> {
    let (index, phase) = known.run.current()?;
    let row = phase.newest_row();
    let now_sent = row.map(|row| (index, row, phase.complete_row() == Some(row)));
    // Never back: a worker that joins late makes older seconds incomplete again.
    let news = now_sent > known.live.sent;
    let overdue = known.live.at.is_none_or(|at| at.elapsed() >= AT_LEAST);
    if !news && !overdue {
        return None;
    }
    let all = Filter::default();
    let aggregate = match row {
        Some(row) => phase.stretch(row..=row, &all).into_proto(&run.to_bytes(), &all, None),
        None => nothing(run, index, phase)?,
    };
    known.live.sent = now_sent.or(known.live.sent);
    known.live.at = Some(Instant::now());
    Some(aggregate)
}

/// The last second of a phase of which nobody tells anything; `None` before it begins.
fn nothing(run: RunId, index: u32, phase: &Phase) -> Option<v1::Aggregate> {
    let elapsed = u64::try_from(Now::read().unix_ns - phase.t0_unix_ns?).ok()?;
    Some(v1::Aggregate {
        run: run.to_bytes(),
        phase: index,
        from_offset_ns: elapsed.saturating_sub(SECOND_NS),
        to_offset_ns: elapsed,
        arrivals: Some(v1::ArrivalCounts::default()),
        total: Some(v1::Series::default()),
        ..Default::default()
    })
}
