//! Runs begin, phases begin, runs end.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::RunId;
use protocol::v1;

use crate::Error;
use crate::note::Note;
use crate::probe::{self, Probes};
use crate::serve::done;
use crate::service_state::Service;

/// What probes have seen is stored this often.
const NOTE_EVERY: Duration = Duration::from_secs(5);

impl Service {
    /// Begins to probe the plan's targets. Watching again replaces the probes: processes may have been restarted.
    pub(crate) async fn watch(self: Arc<Self>, command: v1::WatchRun) -> Result<v1::Ack, String> {
        let run = RunId::from_bytes(&command.run)?;
        let watch = self.watch_of(run, command.clone()).await?;
        {
            let _in_step = self.in_step.lock().await;
            self.load(run).await.map_err(|error| error.to_string())?;
        }
        self.stop_probes(run).await;
        if let Some(known) = self.runs().get_mut(run) {
            known.set_watch(watch);
        }
        self.start_probes(run);
        let note = Note { watch: Some(command), ..Note::default() };
        self.notes.keep(&self.store, run, &note).await.map_err(|error| error.to_string())?;
        Ok(done())
    }

    fn start_probes(&self, run: RunId) {
        let mut runs = self.runs();
        let Some(known) = runs.get_mut(run) else { return };
        let Some(watch) = &known.watch else { return };
        probe::lock(&known.record).clear_probes();
        let probes =
            Probes::start(&watch.plan, &watch.base_dir, &watch.message, &known.record, &self.shutdown);
        known.probes = Some(probes);
    }

    async fn stop_probes(&self, run: RunId) {
        let probes = self.runs().get_mut(run).and_then(|known| known.probes.take());
        if let Some(probes) = probes {
            probes.stop().await;
        }
    }

    /// Probes the targets of runs that were watched when the service ended.
    pub(crate) async fn resume_probes(&self) {
        let watched: Vec<RunId> =
            self.runs().iter_mut().filter(|(_, known)| known.watch.is_some()).map(|(run, _)| run).collect();
        for run in watched {
            tracing::info!(%run, "probing goes on after a restart");
            self.start_probes(run);
        }
    }

    /// Ends all probes, before the service ends.
    pub(crate) async fn stop_all_probes(&self) {
        let watched: Vec<RunId> = self.runs().iter_mut().map(|(run, _)| run).collect();
        for run in watched {
            self.stop_probes(run).await;
        }
    }

    /// A phase begins.
    pub(crate) async fn mark_phase(self: Arc<Self>, command: v1::MarkPhase) -> Result<v1::Ack, String> {
        let run = RunId::from_bytes(&command.run)?;
        {
            let _in_step = self.in_step.lock().await;
            self.load(run).await.map_err(|error| error.to_string())?;
        }
        if let Some(known) = self.runs().get_mut(run) {
            known.mark(&command);
        }
        let note = Note { mark: Some(command), ..Note::default() };
        self.notes.keep(&self.store, run, &note).await.map_err(|error| error.to_string())?;
        self.fresh.notify_one();
        Ok(done())
    }

    /// Stops probing; what was seen is durable when this is answered.
    pub(crate) async fn unwatch(self: Arc<Self>, command: v1::UnwatchRun) -> Result<v1::Ack, String> {
        let run = RunId::from_bytes(&command.run)?;
        self.stop_probes(run).await;
        self.keep_probe_notes(run).await.map_err(|error| error.to_string())?;
        let note = Note { unwatched: true, ..Note::default() };
        self.notes.keep(&self.store, run, &note).await.map_err(|error| error.to_string())?;
        Ok(done())
    }

    async fn keep_probe_notes(&self, run: RunId) -> Result<(), Error> {
        let record = self.runs().get_mut(run).map(|known| Arc::clone(&known.record));
        let new = record.map(|record| probe::lock(&record).take_new()).unwrap_or_default();
        for (phase, targets) in new {
            let note = Note { targets, phase, ..Note::default() };
            self.notes.keep(&self.store, run, &note).await?;
        }
        Ok(())
    }
}

/// Stores now and then what probes have seen.
pub(crate) async fn keep_notes(service: Arc<Service>) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(NOTE_EVERY);
    loop {
        let end = tokio::select! {
            biased;
            () = service.shutdown.triggered() => true,
            _ = ticks.tick() => false,
        };
        let watched: Vec<RunId> = service
            .runs()
            .iter_mut()
            .filter(|(_, known)| known.probes.is_some())
            .map(|(run, _)| run)
            .collect();
        for run in watched {
            service.keep_probe_notes(run).await?;
        }
        if end {
            return Ok(());
        }
    }
}
