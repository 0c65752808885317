//! A phase as it runs, and what is looked at each second.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use plan::model::{LoadModel, OnFailure, Phase};
use protocol::event::Event;
use protocol::id::WorkerId;
use protocol::v1;
use service::traces::untraced;
use tokio::time::Instant;

use super::{Context, Run, Trouble};
use crate::decision::thresholds::Watched;
use crate::links::{LinkError, Metrics};
use crate::news::Opened;
use crate::objectives::evidence::{Evidence, Incident, Judged, Measured};
use crate::verdict::{Reason, code};

/// A phase that runs.
pub(super) struct Live {
    pub(super) index: u32,
    pub(super) phase: Phase,
    /// Its start on both clocks.
    pub(super) t0: Instant,
    pub(super) t0_unix_ns: i64,
    /// Length: as planned, and what pauses and holds added.
    pub(super) duration: Duration,
    /// Length that workers were told last; they stop by themselves at its end.
    pub(super) told: Duration,
    pub(super) paused: Option<Instant>,
    /// When the phase was held beyond its time, since when.
    pub(super) held: Option<Instant>,
    pub(super) thresholds: Vec<Watched>,
    /// Processes that ended in this phase.
    pub(super) exits: Vec<String>,
    /// The newest states of the probes.
    pub(super) probes: Option<Vec<v1::ProbeState>>,
    /// Changes so far, in the order of their numbers, for workers that come later.
    pub(super) changes: Vec<(Duration, v1::change_phase::Change)>,
    /// Since when there has been no worker.
    pub(super) deserted: Option<Instant>,
    /// Workers that could not join.
    pub(super) shunned: Vec<WorkerId>,
    /// A part of the load was wanted of nobody for a while: a worker had not heard of the phase.
    pub(super) late: bool,
}

/// What one look at `metrics` brought.
pub(super) struct Seen {
    probes: Vec<v1::ProbeState>,
    aggregates: Vec<(v1::QueryAggregate, v1::Aggregate)>,
    /// Everything about the phase, when the decision to hold needs it.
    pub(super) series: Option<v1::PhaseSeries>,
}

/// A look under way.
pub(super) type Looking = Pin<Box<dyn Future<Output = Result<Seen, LinkError>> + Send>>;

impl Live {
    /// A phase that begins at an instant of both clocks, as planned.
    pub(super) fn new(
        index: u32,
        phase: Phase,
        t0: Instant,
        t0_unix_ns: i64,
        thresholds: Vec<Watched>,
    ) -> Self {
        Self {
            index,
            duration: phase.duration,
            told: phase.duration,
            phase,
            t0,
            t0_unix_ns,
            paused: None,
            held: None,
            thresholds,
            exits: Vec::new(),
            probes: None,
            changes: Vec::new(),
            deserted: None,
            shunned: Vec::new(),
            late: false,
        }
    }

    /// Time since its start; zero before it.
    pub(super) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.t0)
    }

    /// When it ends if nothing changes.
    pub(super) fn end(&self) -> Instant {
        self.t0 + self.duration
    }

    /// Whether anything is sent in it.
    pub(super) fn is_loaded(&self) -> bool {
        !matches!(self.phase.model, LoadModel::None)
    }

    /// The instant at which it is decided whether to hold it: a little before its end, so that the load need not pause.
    pub(super) fn hold_decision(&self) -> Option<Instant> {
        match self.phase.on_objective_failure {
            OnFailure::Hold { .. } if self.held.is_none() => {
                Some(self.end() - (self.duration / 4).min(Duration::from_millis(500)))
            }
            _ => None,
        }
    }

    /// The offset at which a change takes effect that is told now.
    pub(super) fn change_offset(&self, ctx: &Context) -> Duration {
        self.elapsed() + ctx.lead
    }

    pub(super) fn measured(&self, series: v1::PhaseSeries) -> Measured {
        Measured { phase: self.phase.clone(), t0_unix_ns: self.t0_unix_ns, series }
    }
}

/// Waits for the look that is under way, if one is; for ever if none is.
pub(super) async fn finished(looking: &mut Option<Looking>) -> Result<Seen, LinkError> {
    match looking {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

async fn look(
    metrics: Metrics,
    queries: Vec<v1::QueryAggregate>,
    series_of: Option<u32>,
) -> Result<Seen, LinkError> {
    let probes = metrics.probes().await?;
    let answers = try_join_all(queries.iter().map(|query| metrics.aggregate(query))).await?;
    let series = match series_of {
        Some(phase) => Some(metrics.phase(phase).await?),
        None => None,
    };
    Ok(Seen { probes, aggregates: queries.into_iter().zip(answers).collect(), series })
}

impl Run {
    /// Begins a look at everything that is due.
    pub(super) fn begin_look(&self, live: &Live, with_series: bool) -> Looking {
        let mut queries: Vec<v1::QueryAggregate> = Vec::new();
        let (elapsed, running) = (live.elapsed(), self.running());
        let due = live.thresholds.iter().filter(|watched| watched.is_due(elapsed));
        for watched in due.chain(self.thresholds.iter().filter(|watched| watched.is_due(running))) {
            let query = watched.query(self.ctx.metrics.run());
            if !queries.contains(&query) {
                queries.push(query);
            }
        }
        // One each second would drown the rest of the trace.
        Box::pin(untraced(look(self.ctx.metrics.clone(), queries, with_series.then_some(live.index))))
    }

    /// Time since the first phase began.
    fn running(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| Instant::now().saturating_duration_since(began))
    }

    /// Takes in what a look brought; the reason when a threshold ends the run.
    pub(super) async fn take_in(
        &mut self,
        live: &mut Live,
        seen: &mut Seen,
    ) -> Result<Option<Reason>, Trouble> {
        self.note_health(&seen.probes).await?;
        live.probes = Some(std::mem::take(&mut seen.probes));
        let run = self.ctx.metrics.run().to_vec();
        let mut abort = None;
        for (phase, watched) in live
            .thresholds
            .iter_mut()
            .map(|watched| (Some(live.index), watched))
            .chain(self.thresholds.iter_mut().map(|watched| (None, watched)))
        {
            let query = watched.query(&run);
            let Some((_, aggregate)) = seen.aggregates.iter().find(|(asked, _)| *asked == query) else {
                continue;
            };
            let Some(change) = watched.observe(aggregate) else { continue };
            let ends = change.abort && !change.holds;
            if ends {
                let text = format!("threshold `{}` broke with abort: seen {}", change.text, change.seen);
                abort.get_or_insert_with(|| (change.text.clone(), Reason::new(code::FAILED, text)));
            }
            let event = change.event(phase);
            self.ctx.history.append(event).await?;
        }
        let Some((threshold, reason)) = abort else { return Ok(None) };
        let event = Event::StopRequested { by: format!("threshold {threshold}"), exit_code: reason.code };
        self.ctx.history.append(event).await?;
        Ok(Some(reason))
    }

    /// Opens and closes incidents as targets fail and pass their health checks.
    pub(super) async fn note_health(&mut self, probes: &[v1::ProbeState]) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        for probe in probes.iter().filter(|probe| probe.probe.starts_with("health") && probe.samples > 0) {
            let index = usize::try_from(probe.target).unwrap_or(usize::MAX);
            let Some(target) = ctx.plan.targets.get(index) else { continue };
            let open = self
                .incidents
                .iter_mut()
                .find(|incident| incident.target == target.name && incident.ended_unix_ns.is_none());
            let now = ctx.clock.unix_ns();
            match (open, probe.healthy) {
                (None, false) => self.incidents.push(Incident {
                    target: target.name.clone(),
                    began_unix_ns: now,
                    ended_unix_ns: None,
                }),
                (Some(incident), true) => incident.ended_unix_ns = Some(now),
                (None, true) | (Some(_), false) => continue,
            }
            let seen = if probe.error.is_empty() { probe.probe.clone() } else { probe.error.clone() };
            let event = Event::TargetHealth { target: target.name.clone(), healthy: probe.healthy, seen };
            ctx.history.append(event).await?;
        }
        Ok(())
    }

    /// Incidents that were open in a phase.
    pub(super) fn incidents_since(&self, t0_unix_ns: i64) -> Vec<Incident> {
        let in_phase = |incident: &&Incident| incident.ended_unix_ns.is_none_or(|ended| ended >= t0_unix_ns);
        self.incidents.iter().filter(in_phase).cloned().collect()
    }

    /// Judges the objectives of a phase by what is known of it now.
    pub(super) fn objectives(
        &self,
        live: &Live,
        measured: &Measured,
        thresholds: &[Judged],
    ) -> (Vec<protocol::event::Outcome>, Vec<protocol::event::Outcome>) {
        let incidents = self.incidents_since(live.t0_unix_ns);
        let in_phase = |opened: &Opened| opened.closed.is_none_or(|closed| closed.unix_ns >= live.t0_unix_ns);
        let opened: Vec<Opened> = self.ctx.news.incidents().into_iter().filter(in_phase).collect();
        let evidence = Evidence {
            plan: &self.ctx.plan,
            now: measured,
            before: &self.done,
            probes: live.probes.as_deref(),
            incidents: &incidents,
            opened: &opened,
            exits: &live.exits,
            thresholds,
        };
        (crate::objectives::judge(&evidence), crate::expectations::judge(&evidence))
    }

    /// The thresholds of a phase and of the run as they stand.
    pub(super) fn judged_thresholds(&self, live: &Live) -> Vec<Judged> {
        live.thresholds.iter().chain(&self.thresholds).map(Watched::judged).collect()
    }
}
