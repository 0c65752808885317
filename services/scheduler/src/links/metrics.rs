//! Commands to `metrics`.

use std::time::Duration;

use protocol::v1;

use super::{Link, LinkError};

/// How long it may take to answer before it counts as lost: long enough to be started anew and read its store.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take to make final results durable.
const UNWATCH_DEADLINE: Duration = Duration::from_secs(20);

/// Commands to `metrics` about one run.
#[derive(Clone)]
pub(crate) struct Metrics {
    link: Link,
}

impl Metrics {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    /// The run's id as messages carry it.
    pub(crate) fn run(&self) -> &[u8] {
        self.link.run()
    }

    pub(crate) async fn watch(
        &self,
        plan_digest: &str,
        processes: Vec<v1::WatchedProcess>,
        scenarios: Vec<v1::ScenarioSteps>,
    ) -> Result<(), LinkError> {
        let plan_digest = plan_digest.to_owned();
        let command = v1::WatchRun { run: self.link.own_run(), plan_digest, processes, scenarios };
        self.link.ask(&command, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn unwatch(&self) -> Result<(), LinkError> {
        self.link.ask(&v1::UnwatchRun { run: self.link.own_run() }, UNWATCH_DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn mark(&self, phase: u32, t0_unix_ns: i64) -> Result<(), LinkError> {
        let command = v1::MarkPhase { run: self.link.own_run(), phase, t0_unix_ns };
        self.link.ask(&command, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn probes(&self) -> Result<Vec<v1::ProbeState>, LinkError> {
        let command = v1::QueryProbes { run: self.link.own_run() };
        Ok(self.link.ask(&command, DEADLINE).await?.probes)
    }

    pub(crate) async fn aggregate(&self, query: &v1::QueryAggregate) -> Result<v1::Aggregate, LinkError> {
        self.link.ask(query, DEADLINE).await
    }

    /// Everything that is known of one phase.
    pub(crate) async fn phase(&self, phase: u32) -> Result<v1::PhaseSeries, LinkError> {
        let command = v1::QueryRun { run: self.link.own_run(), phase: Some(phase) };
        let series = self.link.ask(&command, DEADLINE).await?;
        let found = series.phases.into_iter().find(|series| series.phase == phase);
        Ok(found.unwrap_or_else(|| v1::PhaseSeries { phase, ..v1::PhaseSeries::default() }))
    }
}
