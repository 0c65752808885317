//! The one run that is under way: how it gets its place, and how it leaves it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use plan::Plan;
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, traces};
use store::{RunState, StoreError};

use crate::control::{self, Outbox};
use crate::history::History;
use crate::links::{Chaos, Link, Load, Metrics, Recovery};
use crate::news::News;
use crate::run::bystanders::{needs_chaos, needs_recovery};
use crate::run::{Context, Past, Run, Traps};
use crate::service_loop::Service;

/// The run under way, as requests reach it.
pub(crate) struct Active {
    pub(crate) id: RunId,
    pub(crate) outbox: Outbox,
    pub(crate) history: History,
    pub(crate) traps: Traps,
    /// What chaos and recovery told.
    pub(crate) news: News,
    /// The way to chaos, where it has part in the run.
    pub(crate) chaos: Option<Chaos>,
    /// The same of recovery.
    pub(crate) recovery: Option<Recovery>,
    longest_end: Duration,
}

/// What a run is made of.
pub(crate) struct Bundle {
    pub(crate) plan: Plan,
    pub(crate) plan_digest: String,
    pub(crate) files: Vec<v1::BundleFile>,
    pub(crate) base_dir: PathBuf,
}

impl Service {
    /// The run under way.
    pub(crate) async fn own(&self) -> Option<RunId> {
        self.active.lock().await.as_ref().map(|active| active.id)
    }

    /// Starts a run, from its beginning or from where its past ends.
    pub(crate) fn seat(
        self: &Arc<Self>,
        active: &mut Option<Active>,
        id: RunId,
        bundle: Bundle,
        history: History,
        past: Option<(Past, News)>,
    ) {
        let (outbox, inbox) = control::channel(self.shutdown.clone());
        let traps = Traps::default();
        let longest_end = Run::longest_end(&bundle.plan);
        let link = Link::new(self.bus.clone(), id);
        let (chaos, recovery) = (Chaos::new(link.clone()), Recovery::new(link.clone()));
        let beside = (
            needs_chaos(&bundle.plan).then(|| chaos.clone()),
            needs_recovery(&bundle.plan).then(|| recovery.clone()),
        );
        let (past, news) = past.map_or_else(|| (None, News::default()), |(past, news)| (Some(past), news));
        let context = Context {
            id,
            phases: bundle.plan.scaled(),
            plan: bundle.plan,
            plan_digest: bundle.plan_digest,
            files: bundle.files,
            base_dir: bundle.base_dir,
            run_dir: self.run_dir.clone(),
            lead: self.lead,
            apart: self.apart,
            least_workers: self.least_workers,
            clock: self.clock,
            store: self.store.clone(),
            history: history.clone(),
            metrics: Metrics::new(link.clone()),
            load: Load::new(link),
            chaos,
            recovery,
            workers: self.workers.clone(),
            traps: Arc::clone(&traps),
            news: news.clone(),
        };
        let (chaos, recovery) = beside;
        *active = Some(Active { id, outbox, history, traps, news, chaos, recovery, longest_end });
        let (service, run) = (Arc::clone(self), Run::new(context, inbox));
        // Of the trace of whoever created it, else the first of one.
        let span = service::span!("run", gauntlet.run.id = %id, gauntlet.run.resumed = past.is_some());
        let drive = async move { service.drive(id, run, past).await };
        self.tasks.spawn("run", OnError::ShutDown, traces::within(span, drive));
    }

    /// Waits for a run whose end is announced to leave the table; one that goes on does not.
    pub(crate) async fn table_free(
        &self,
    ) -> Result<tokio::sync::MutexGuard<'_, Option<Active>>, Vec<String>> {
        loop {
            let active = self.active.lock().await;
            let Some(other) = active.as_ref().map(|active| active.id) else { return Ok(active) };
            drop(active);
            let row = self.store.run(other).await.map_err(|error| vec![error.to_string()])?;
            if !row.is_some_and(|row| matches!(row.state, RunState::Ended { .. })) {
                return Err(vec![format!("run {other} is under way: stop it or wait for its end")]);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Drives a run to its end and takes it off the table, also when it panics.
    async fn drive(self: Arc<Self>, id: RunId, run: Run, past: Option<Past>) -> Result<(), String> {
        let cleared = Cleared(Arc::clone(&self));
        let ended = run.drive(past).await;
        if let Err(error @ StoreError::HistoryGap { .. }) = &ended {
            // The run is the other's now, and so is its lease.
            self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            tracing::error!(run = %id, %error, "another scheduler goes on with the run, and this one leaves it alone");
            return Ok(());
        }
        let released = self.keeper.let_go(id).await;
        drop(cleared);
        if let Err(error) = ended.and(released) {
            let text = error.to_string();
            self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            return Err(text);
        }
        Ok(())
    }

    /// Waits for the run under way to end by itself, as it does after the shutdown.
    pub(crate) async fn wait_for_run(&self) {
        let Some(longest) = self.active.lock().await.as_ref().map(|active| active.longest_end) else {
            return;
        };
        let ended = async {
            while self.active.lock().await.is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(longest, ended).await.is_err() {
            tracing::error!(
                ?longest,
                "the run did not end in time and is left to be closed by the next scheduler"
            );
        }
    }
}

/// Takes the run off the table when dropped.
struct Cleared(Arc<Service>);

impl Drop for Cleared {
    fn drop(&mut self) {
        let service = Arc::clone(&self.0);
        // Usually free; a request that holds it is at most storing a row.
        if let Ok(mut active) = service.active.try_lock() {
            *active = None;
        } else {
            let service = Arc::clone(&self.0);
            self.0.tasks.spawn("clear run", OnError::Log, async move {
                *service.active.lock().await = None;
                Ok::<(), String>(())
            });
        }
    }
}
