//! Leases on runs, and the end of those that cannot go on (requirement R2.5): each is closed, none is orphaned.
//!
//! A scheduler holds a lease on its run and renews it. A run that is open in the store and whose lease can be had belongs to
//! nobody any more.

use std::time::Duration;

use bus::Bus;
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::v1::heartbeat::State;
use store::{RunRow, RunState, Store, StoreError};

use crate::clock::{Clock, ns};
use crate::history::History;
use crate::links::{Chaos, Link, LinkError, Load, Metrics, Recovery};
use crate::news::{News, Teller};
use crate::verdict::{Reason, code, settle};
use crate::workers::Workers;

/// How long a lease lasts unless renewed.
const LEASE: Duration = Duration::from_secs(15);

/// How long after a scheduler's start every worker that lives has been heard: heartbeats come twice a second.
const HEARD: Duration = Duration::from_millis(1_500);
/// How old a heartbeat may be of a worker that counts as there.
const ALIVE: Duration = Duration::from_secs(2);
/// How long operations of a run without a scheduler may go on.
const GRACE: Duration = Duration::from_secs(5);
/// How long the samples of such a run may take to reach `metrics`, and how often it is asked.
const COLLECT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// How often leases are renewed and orphans looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);

/// What is needed to hold and to close runs.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) instance: String,
    pub(crate) workers: Workers,
    /// Workers are not in this process, and go on when it dies.
    pub(crate) apart: bool,
}

impl Keeper {
    /// Takes or renews the lease on a run; `false` = another scheduler has it.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn hold(&self, run: RunId) -> Result<bool, StoreError> {
        self.store.acquire_lease(&lease(run), &self.instance, ns(LEASE), self.clock.unix_ns()).await
    }

    /// Gives up the lease on a run.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn let_go(&self, run: RunId) -> Result<(), StoreError> {
        self.store.release_lease(&lease(run), &self.instance).await
    }

    /// Ends a run on the workers that are still at it, and waits until `metrics` has what they counted.
    async fn wind_up(&self, run: RunId) {
        tokio::time::sleep(HEARD).await;
        let phase = self.end_on_workers(run).await;
        let metrics = Metrics::new(Link::new(self.bus.clone(), run));
        if let Some(phase) = phase {
            let until = tokio::time::Instant::now() + COLLECT;
            while tokio::time::Instant::now() < until {
                match metrics.phase(phase).await {
                    Ok(series) if series.gaps.is_empty() => break,
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        }
        if let Err(error) = metrics.unwatch().await {
            tracing::warn!(%run, %error, "the run is closed without metrics");
        }
    }

    /// Has chaos and recovery leave the run, if they have part in it.
    async fn end_faults(&self, run: RunId, entries: &[Entry]) {
        let told = |teller: Teller| entries.iter().any(|entry| entry.producer == teller.name());
        let link = Link::new(self.bus.clone(), run);
        let recovery = async {
            if told(Teller::Recovery) {
                Recovery::new(link.clone()).close().await?;
            }
            Ok(())
        };
        let chaos = async {
            if told(Teller::Chaos) {
                Chaos::new(link.clone()).close().await?;
            }
            Ok::<(), LinkError>(())
        };
        let (recovery, chaos) = futures::join!(recovery, chaos);
        for error in [recovery.err(), chaos.err()].into_iter().flatten() {
            tracing::warn!(%run, %error, "the run is closed without it; faults end with their leases");
        }
    }

    /// Ends the phase and the run on every worker that says it is at it; which phase that was.
    async fn end_on_workers(&self, run: RunId) -> Option<u32> {
        let load = Load::new(Link::new(self.bus.clone(), run));
        let alive = self.workers.alive(ALIVE);
        let busy = alive.into_iter().filter(|worker| worker.beat.run == load.run());
        let ends = busy.map(|worker| {
            let load = load.clone();
            async move {
                let phase = worker.beat.phase;
                let ended = match worker.beat.state() {
                    State::Running | State::Ending | State::CutOff => {
                        load.end_phase(worker.id, phase, GRACE).await.map(|_| ())
                    }
                    // One that leaves ends its part by itself.
                    State::Unspecified | State::Idle | State::Ready | State::Leaving => Ok(()),
                };
                if let Err(error) = ended.and(load.end_run(worker.id).await) {
                    tracing::warn!(%run, %error, "a worker did not end a run that is over; it does so by itself");
                }
                phase
            }
        });
        futures::future::join_all(ends).await.into_iter().max()
    }

    /// Ends runs that are over on workers that are still at them: they were cut off when it ended.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn end_strays(&self, own: Option<RunId>) -> Result<(), StoreError> {
        if !self.apart {
            return Ok(());
        }
        let mut strays: Vec<RunId> = self
            .workers
            .alive(ALIVE)
            .iter()
            .filter_map(|worker| RunId::from_bytes(&worker.beat.run).ok())
            .filter(|run| Some(*run) != own)
            .collect();
        strays.sort_unstable();
        strays.dedup();
        for run in strays {
            let over = self.store.run(run).await?;
            if over.is_none_or(|row| matches!(row.state, RunState::Ended { .. })) {
                self.end_on_workers(run).await;
            }
        }
        Ok(())
    }

    /// Closes a run that belongs to nobody and cannot go on, because `why`.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn close(&self, row: &RunRow, entries: &[Entry], why: &str) -> Result<(), StoreError> {
        // Its scheduler died between the last entry and the state that goes with it.
        if let Some(Event::RunEnded { exit_code, .. }) = entries.last().map(|entry| &entry.event) {
            return self.store.set_run_state(row.id, RunState::Ended { exit_code: *exit_code }).await;
        }
        let news = News::recall(entries);
        if self.apart {
            self.end_faults(row.id, entries).await;
            self.wind_up(row.id).await;
        }
        let last = entries.last().map_or(0, |entry| entry.sequence);
        let history = History::new(row.id, self.store.clone(), self.bus.clone(), self.clock, last);
        let text = format!(
            "lost service scheduler: it ended in the middle of the run and was started anew; the run does not go on: {why}"
        );
        tracing::warn!(run = %row.id, why, "a run of an earlier scheduler is closed as aborted");
        let by = "lost service scheduler".to_owned();
        history.append(Event::StopRequested { by, exit_code: code::ABORTED }).await?;
        let mut reasons = vec![Reason::new(code::ABORTED, text)];
        reasons.extend(news.unrecovered().iter().map(Reason::unrecovered));
        let (verdict, exit_code, reasons) = settle(reasons);
        let ended = Event::RunEnded { verdict, exit_code, reasons, thresholds: Vec::new() };
        history.append_with_state(ended, RunState::Ended { exit_code }).await
    }
}

fn lease(run: RunId) -> String {
    format!("run:{run}")
}
