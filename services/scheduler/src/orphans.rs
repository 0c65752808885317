//! Runs that an earlier scheduler left open (requirement R2.5): each is closed, none is orphaned.
//!
//! A scheduler holds a lease on its run and renews it. A run that is open in the store and whose lease can be had belongs to
//! nobody any more.

use std::time::Duration;

use bus::Bus;
use protocol::event::{Event, Verdict};
use protocol::id::RunId;
use store::{RunRow, RunState, Store, StoreError};

use crate::clock::{Clock, ns};
use crate::history::History;
use crate::verdict::code;

/// How long a lease lasts unless renewed.
const LEASE: Duration = Duration::from_secs(15);

/// How often leases are renewed and orphans looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);

/// What is needed to hold and to close runs.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) instance: String,
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

    /// Closes the runs that are open in the store and belong to nobody; `own` is this scheduler's present run.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn close_orphans(&self, own: Option<RunId>) -> Result<(), StoreError> {
        for row in self.store.runs().await? {
            if !matches!(row.state, RunState::Ended { .. })
                && Some(row.id) != own
                && self.hold(row.id).await?
            {
                self.close(&row).await?;
                self.let_go(row.id).await?;
            }
        }
        Ok(())
    }

    async fn close(&self, row: &RunRow) -> Result<(), StoreError> {
        let entries = self.store.history(row.id, 0).await?;
        // Its scheduler died between the last entry and the state that goes with it.
        if let Some(Event::RunEnded { exit_code, .. }) = entries.last().map(|entry| &entry.event) {
            return self.store.set_run_state(row.id, RunState::Ended { exit_code: *exit_code }).await;
        }
        let last = entries.last().map_or(0, |entry| entry.sequence);
        let history = History::new(row.id, self.store.clone(), self.bus.clone(), self.clock, last);
        let exit_code = code::ABORTED;
        let reason =
            "lost service scheduler: it ended in the middle of the run and was started anew".to_owned();
        tracing::warn!(run = %row.id, "a run of an earlier scheduler is closed as aborted");
        history.append(Event::StopRequested { by: "lost service scheduler".to_owned(), exit_code }).await?;
        let ended = Event::RunEnded {
            verdict: Verdict::Aborted,
            exit_code,
            reasons: vec![reason],
            thresholds: Vec::new(),
        };
        history.append_with_state(ended, RunState::Ended { exit_code }).await
    }
}

fn lease(run: RunId) -> String {
    format!("run:{run}")
}
