//! Questions.

use std::sync::Arc;

use protocol::id::RunId;
use protocol::v1;

use crate::note::{self, Kept};
use crate::probe::{self, Now};
use crate::service_state::{Known, Service};
use crate::state::{Answer, Filter, row_of};

impl Service {
    /// Merges a stretch. Windows end with the newest second of which all workers have told.
    pub(crate) async fn query_aggregate(
        self: Arc<Self>,
        query: v1::QueryAggregate,
    ) -> Result<v1::Aggregate, String> {
        let run = RunId::from_bytes(&query.run)?;
        let filter = Filter { scenario: query.scenario, step: query.step, target: query.target };
        let question = (query.phase, query.window_ns, filter);
        self.ensure(run).await?;
        // Each round reads one phase from the store, so there are no more than phases.
        for _ in 0..=256 {
            let (phase, from_row) = {
                let mut runs = self.runs();
                let known = runs.get_mut(run).ok_or_else(|| gone(run))?;
                if let Some(answer) = known.answers().get(&question) {
                    return Ok(answer.clone());
                }
                match known.run.aggregate(query.phase, query.window_ns, &filter) {
                    Answer::Ready(stretch) => {
                        let share = share(known, &filter);
                        let answer = stretch.into_proto(&query.run, &filter, share);
                        known.answers().insert(question, answer.clone());
                        return Ok(answer);
                    }
                    Answer::FromStore { phase, from_row } => (phase, from_row),
                }
            };
            let _in_step = self.in_step.lock().await;
            let samples = self.batches(run, phase, |row| row >= from_row).await?;
            if let Some(known) = self.runs().get_mut(run) {
                known.run.restore(phase, samples, None);
            }
        }
        Err(format!("run {run}: the window cannot be read from the store"))
    }

    /// Everything that is known of a run or of one phase.
    pub(crate) async fn query_run(self: Arc<Self>, query: v1::QueryRun) -> Result<v1::RunSeries, String> {
        let run = RunId::from_bytes(&query.run)?;
        self.ensure(run).await?;
        self.refresh(run).await?;
        let mut runs = self.runs();
        let known = runs.get_mut(run).ok_or_else(|| gone(run))?;
        let mut phases = Vec::new();
        for index in known.run.phases() {
            if query.phase.is_some_and(|wanted| wanted != index) {
                continue;
            }
            let Some(mut phase) = known.run.series(index, &query.run) else { continue };
            if let Some(bounds) = known.run.bounds(index) {
                phase.targets = probe::lock(&known.record).samples(index, bounds);
            }
            phases.push(phase);
        }
        Ok(v1::RunSeries { phases })
    }

    /// The state of each probe.
    pub(crate) async fn query_probes(
        self: Arc<Self>,
        query: v1::QueryProbes,
    ) -> Result<v1::ProbeStates, String> {
        let run = RunId::from_bytes(&query.run)?;
        let mut runs = self.runs();
        let known =
            runs.get_mut(run).ok_or_else(|| format!("run {run} is not watched: send WatchRun first"))?;
        let probes = probe::lock(&known.record).states(Now::read());
        Ok(v1::ProbeStates { probes })
    }

    async fn ensure(&self, run: RunId) -> Result<(), String> {
        let _in_step = self.in_step.lock().await;
        self.load(run).await.map_err(|error| error.to_string())
    }

    /// Makes the seconds anew whose parts came after their windows had passed.
    async fn refresh(&self, run: RunId) -> Result<(), String> {
        let phases = self.runs().get_mut(run).map(|known| known.run.phases()).unwrap_or_default();
        for phase in phases {
            let _in_step = self.in_step.lock().await;
            let stale = self.runs().get_mut(run).map(|known| known.run.take_stale(phase)).unwrap_or_default();
            if stale.is_empty() {
                continue;
            }
            let samples = self.batches(run, phase, |row| stale.contains(&row)).await?;
            if let Some(known) = self.runs().get_mut(run) {
                known.run.restore(phase, samples, Some(&stale));
            }
        }
        Ok(())
    }

    async fn batches(
        &self,
        run: RunId,
        phase: u32,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Vec<(store::RecordKey, v1::SampleBatch)>, String> {
        let stored = self.store.samples(run, Some(phase)).await.map_err(|error| error.to_string())?;
        let batches = stored.into_iter().filter_map(|(key, blob)| match note::read(&key, &blob) {
            Ok(Kept::Batch(batch)) if wanted(row_of(&batch)) => Some((key, *batch)),
            // What cannot be read is in the list of gaps.
            _ => None,
        });
        Ok(batches.collect())
    }
}

/// Share of the arrivals that a filter takes, where the plan tells: that of a scenario.
fn share(known: &Known, filter: &Filter) -> Option<f64> {
    let plan = &known.watch.as_ref()?.plan;
    let scenario = filter.scenario.filter(|_| filter.step.is_none() && filter.target.is_none())?;
    let weight = plan.scenarios.get(usize::try_from(scenario).ok()?)?.weight;
    Some(weight / plan.scenarios.iter().map(|scenario| scenario.weight).sum::<f64>())
}

fn gone(run: RunId) -> String {
    format!("run {run} was put aside for newer ones while it was asked for: ask again")
}
