//! Runs that an earlier scheduler left open (requirement R2.5): one is taken up and goes on, any other is closed.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use plan::model::SchedulerRestart;
use protocol::event::{Entry, Event};
use protocol::v1;
use store::{RunRow, RunState, StoreError};

use crate::history::History;
use crate::news::News;
use crate::run::Past;
use crate::service_loop::{Service, VERSION};
use crate::table::Bundle;

impl Service {
    /// Takes up the run that is open in the store and belongs to nobody, if nothing stands against it; closes every other.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn take_over(self: &Arc<Self>) -> Result<(), StoreError> {
        for row in self.store.runs().await? {
            let open = !matches!(row.state, RunState::Ended { .. }) && Some(row.id) != self.own().await;
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).contains(&row.id);
            if !open || left || !self.keeper.hold(row.id).await? {
                continue;
            }
            let entries = self.store.history(row.id, 0).await?;
            match self.take_up(&row, &entries).await {
                Ok(()) => {}
                Err(TakeUp::Store(error)) => return Err(error),
                Err(TakeUp::Obstacle(why)) => {
                    self.keeper.close(&row, &entries, &why).await?;
                    self.keeper.let_go(row.id).await?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with a run.
    async fn take_up(self: &Arc<Self>, row: &RunRow, entries: &[Entry]) -> Result<(), TakeUp> {
        // Held to the end: nobody takes the place meanwhile.
        let mut active = self.active.lock().await;
        if active.is_some() {
            return Err(TakeUp::Obstacle("this scheduler has another run".to_owned()));
        }
        let (past, bundle) = self.read_past(row, entries).await.map_err(TakeUp::Obstacle)?;
        let last = entries.last().map_or(0, |entry| entry.sequence);
        let news = News::recall(entries);
        let history = History::new(row.id, self.store.clone(), self.bus.clone(), self.clock, last);
        // With this entry the run is this scheduler's: whoever else has it finds a history that he did not write.
        let resumed = Event::RunResumed { scheduler: self.keeper.instance.clone() };
        history.append(resumed).await.map_err(TakeUp::Store)?;
        tracing::warn!(run = %row.id, "a run of an earlier scheduler goes on");
        self.seat(&mut active, row.id, bundle, history, Some((past, news)));
        Ok(())
    }

    /// How far a run has come, and its bundle; or why it cannot go on.
    async fn read_past(&self, row: &RunRow, entries: &[Entry]) -> Result<(Past, Bundle), String> {
        if !self.apart {
            return Err("its load-workers ended with it".to_owned());
        }
        let Some(Event::RunCreated { plan_digest, version, files, .. }) =
            entries.first().map(|entry| &entry.event)
        else {
            return Err("it had not begun".to_owned());
        };
        if entries.iter().any(|entry| matches!(entry.event, Event::RunEnded { .. })) {
            return Err("it has ended".to_owned());
        }
        if version != VERSION {
            return Err(format!("version {version} began it, and this is {VERSION}"));
        }
        let files =
            files.iter().map(|file| v1::BundleFile { name: file.name.clone(), digest: file.digest.clone() });
        let command = v1::CreateRun {
            run: row.id.to_bytes(),
            plan_digest: plan_digest.clone(),
            files: files.collect(),
            base_dir: row.base_dir.clone(),
        };
        let plan = self.read_bundle(&command).await.map_err(|problems| problems.join("; "))?;
        if plan.control.scheduler_restart == SchedulerRestart::Close {
            return Err("`control.scheduler-restart` says so".to_owned());
        }
        if !plan.processes.is_empty() {
            return Err("the plan's processes ended with it".to_owned());
        }
        let past = Past::read(entries, &plan);
        let v1::CreateRun { plan_digest, files, base_dir, .. } = command;
        Ok((past, Bundle { plan, plan_digest, files, base_dir: PathBuf::from(base_dir) }))
    }
}

/// Why a run is not taken up.
enum TakeUp {
    /// It cannot go on, and is closed.
    Obstacle(String),
    /// The store failed.
    Store(StoreError),
}
