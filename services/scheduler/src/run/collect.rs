//! The end of a phase: load ends, samples come in, the phase is judged and decided.

use std::time::Duration;

use futures::future::join_all;
use plan::model::OnFailure;
use protocol::event::{Event, Outcome, OutcomeResult};
use protocol::id::WorkerId;
use protocol::v1;
use service::traces::{self, within};
use tokio::time::Instant;

use super::fleet::Member;
use super::live::Live;
use super::steer::Over;
use super::{Run, Trouble};
use crate::clock::ms;
use crate::decision::thresholds::Watched;
use crate::decision::validity;
use crate::figures::{Finding, failed};
use crate::objectives::evidence::Measured;
use crate::verdict::{Reason, code};

/// How long `metrics` may take in none of the samples that are still missing. As long as some come, however slowly, they are
/// waited for: there is an end of them.
const COLLECT_DEADLINE: Duration = Duration::from_secs(10);

/// What the workers said when they ended a phase.
struct LoadEnded {
    told: Vec<(WorkerId, v1::PhaseEnded)>,
    /// Some of those that were not lost had ended it by themselves.
    alone: bool,
}

impl Run {
    /// Ends the load of a phase on all workers; what each says it has done.
    pub(super) async fn end_load(&mut self, phase: u32) -> Vec<(WorkerId, Result<v1::PhaseEnded, String>)> {
        let grace = self.ctx.plan.load.grace;
        let ids = self.fleet.ids();
        let ends = ids.iter().map(|id| async {
            (*id, self.ctx.load.end_phase(*id, phase, grace).await.map_err(|error| error.to_string()))
        });
        let ends = join_all(ends);
        self.inbox.refusing("the phase is ending: operations in progress finish", ends).await
    }

    /// Ends the phase, collects and judges it, and decides what comes next: an error ends the run.
    pub(super) async fn finish(&mut self, mut live: Live, over: Over) -> Result<(), Trouble> {
        let (lasted, ended, faults) = self.wind_down(&mut live, &over).await?;
        let broken = self.fleet.is_broken_in(live.index) || live.late;
        let alone = ended.alone && !matches!(over, Over::Stop(_));
        let over = if alone { Over::Stop(self.ended_alone().await?) } else { over };
        let over = self.faults_ended(faults, over)?;
        let span =
            service::span!("collect", gauntlet.run.id = %self.ctx.id, gauntlet.phase.index = live.index);
        let series = match within(span.clone(), self.collect(&mut live, &ended)).await? {
            Ok(collected) => Some(collected),
            Err(reason) => {
                traces::failed(&span, &reason.text);
                self.reasons.push(reason);
                None
            }
        };
        let why_lost = "metrics is lost: the phase has no figures";
        let name = live.phase.name;
        let (objectives, expectations, validity, thresholds);
        if let Some((series, missing)) = series {
            self.judge_thresholds(&mut live).await?;
            let measured = live.measured(series);
            (objectives, expectations) = self.objectives(&live, &measured, &self.judged_thresholds(&live));
            validity = self.judge_validity(&live, &measured, &missing, broken);
            thresholds = live.thresholds.iter().map(Watched::outcome).collect::<Vec<_>>();
            self.done.push(measured);
        } else {
            objectives = crate::objectives::unjudged(name, why_lost);
            expectations = Vec::new();
            validity = validity::unjudged(why_lost);
            thresholds = live.thresholds.iter().map(Watched::outcome).collect();
        }
        let (decision, reason, next) = self.decide(&live, over, &objectives);
        self.reasons.extend(phase_reasons(&self.ctx.plan, name.name(), &thresholds, &validity));
        let event = Event::PhaseEnded {
            phase: live.index,
            name: name.name().to_owned(),
            lasted_ms: ms(lasted),
            objectives,
            expectations,
            thresholds,
            validity,
            decision: decision.to_owned(),
            reason,
        };
        self.ctx.history.append(event).await?;
        next
    }

    /// Ends faults and load of a phase. Faults end at once, whatever the load does meanwhile. How long the phase lasted, what
    /// the workers said, and what chaos and recovery did.
    async fn wind_down(
        &mut self,
        live: &mut Live,
        over: &Over,
    ) -> Result<(Duration, LoadEnded, Result<Vec<String>, Trouble>), Trouble> {
        let faults = self.bystanders.end_phase(over.reason());
        let load = async {
            if matches!(over, Over::Stop(_)) {
                self.inbox.stopping();
                self.ramp_down(live).await;
            }
            let lasted = live.elapsed();
            (lasted, self.end_phase(live).await)
        };
        let (faults, (lasted, load)) = tokio::join!(faults, load);
        Ok((lasted, load?, faults))
    }

    /// What came of the faults, and whether the run ends by it.
    fn faults_ended(&mut self, faults: Result<Vec<String>, Trouble>, over: Over) -> Result<Over, Trouble> {
        match faults {
            Ok(unrecovered) => self.note_unrecovered(unrecovered),
            Err(Trouble::Reason(reason)) if !matches!(over, Over::Stop(_)) => return Ok(Over::Stop(reason)),
            Err(Trouble::Reason(reason)) => self.reasons.push(reason),
            Err(Trouble::Reasons(reasons)) => self.reasons.extend(reasons),
            Err(other) => return Err(other),
        }
        Ok(over)
    }

    /// Notes that load-workers did not wait for a scheduler any longer; the reason for the verdict.
    pub(super) async fn ended_alone(&self) -> Result<Reason, Trouble> {
        let (by, exit_code) = ("lost service scheduler".to_owned(), code::ABORTED);
        self.ctx.history.append(Event::StopRequested { by, exit_code }).await?;
        let text = "lost service scheduler: load-workers did not hear of it for as long as `control.controller-lease` says, and ended the phase by themselves";
        Ok(Reason::new(exit_code, text))
    }

    async fn end_phase(&mut self, live: &Live) -> Result<LoadEnded, Trouble> {
        let mut ended = LoadEnded { told: Vec::new(), alone: false };
        if !live.is_loaded() {
            return Ok(ended);
        }
        let members = self.fleet.ids();
        self.call_back(live.index);
        // A scheduler that was away for too long must not end what another goes on with.
        self.ctx.history.fence().await?;
        for (id, answer) in self.end_load(live.index).await {
            match answer {
                Ok(told) => {
                    ended.alone |= told.alone && members.contains(&id);
                    ended.told.push((id, told));
                }
                Err(error) => {
                    if self.ctx.apart {
                        self.note_worker(id, "lost", error.clone()).await?;
                    }
                    self.fleet.lose(id, Some(live.index));
                    if !self.ctx.apart {
                        self.reasons.push(self.ctx.worker_lost(id, &error).await?);
                    }
                }
            }
        }
        Ok(ended)
    }

    /// Waits until `metrics` has every sample of the phase, then reads it: the series and what is missing of it; or why
    /// there is none.
    async fn collect(
        &mut self,
        live: &mut Live,
        ended: &LoadEnded,
    ) -> Result<Result<(v1::PhaseSeries, Vec<String>), Reason>, Trouble> {
        if self.metrics_lost {
            return Ok(Err(Reason::new(code::ABORTED, "lost metrics: the phase has no figures")));
        }
        let metrics = self.ctx.metrics.clone();
        let (phase, mut pause) = (live.index, Duration::from_millis(2));
        let lost: Vec<Member> =
            if live.is_loaded() { self.fleet.lost_in(phase).cloned().collect() } else { Vec::new() };
        let complete = async {
            let (mut merged, mut deadline) = (0, Instant::now() + COLLECT_DEADLINE);
            loop {
                let series = metrics.phase(phase).await?;
                let missing = missing(&series, &ended.told, &lost);
                let so_far: u64 = series.workers.iter().map(|life| life.batches).sum();
                if so_far > merged {
                    (merged, deadline) = (so_far, Instant::now() + COLLECT_DEADLINE);
                }
                if missing.is_empty() || Instant::now() >= deadline {
                    let probes = metrics.probes().await?;
                    return Ok((series, missing, probes));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
        };
        let collected = self.inbox.refusing("the phase's samples are being collected", complete).await;
        match collected {
            Ok((series, missing, probes)) => {
                self.note_health(&probes).await?;
                live.probes = Some(probes);
                for member in lost.iter().filter(|member| self.ctx.apart && !is_whole(&series, member)) {
                    self.reasons.push(unpublished(member));
                }
                if !missing.is_empty() {
                    let message = format!(
                        "phase {}: samples are missing, and none came for {} s: {}",
                        live.phase.name.name(),
                        COLLECT_DEADLINE.as_secs(),
                        missing.join("; ")
                    );
                    self.ctx.history.append(Event::Notice { message }).await?;
                }
                Ok(Ok((series, missing)))
            }
            Err(error) => Ok(Err(self.metrics_gone(&error).await?)),
        }
    }

    /// The last word of the phase's thresholds, now that all samples are in.
    async fn judge_thresholds(&mut self, live: &mut Live) -> Result<(), Trouble> {
        let elapsed = live.elapsed();
        let metrics = self.ctx.metrics.clone();
        for watched in live.thresholds.iter_mut().filter(|watched| elapsed >= watched.threshold.delay) {
            match metrics.aggregate(&watched.query(metrics.run())).await {
                Ok(aggregate) => {
                    if let Some(change) = watched.observe(&aggregate) {
                        let event = change.event(Some(live.index));
                        self.ctx.history.append(event).await?;
                    }
                }
                Err(error) => {
                    let reason = self.metrics_gone(&error).await?;
                    self.reasons.push(reason);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn judge_validity(
        &self,
        live: &Live,
        measured: &Measured,
        missing: &[String],
        broken: bool,
    ) -> Vec<Outcome> {
        if broken {
            return validity::unjudged("a load-worker was lost in this phase");
        }
        let mut outcomes = validity::judge(&self.ctx.plan.validity, measured, &self.ctx.traps_of(live.index));
        let complete = if live.is_loaded() {
            let seen = if missing.is_empty() { "all of them".to_owned() } else { missing.join("; ") };
            Finding::judged(missing.is_empty(), seen)
        } else {
            Finding::not_evaluable("nothing is sent in this phase")
        };
        outcomes.push(
            complete.named("samples complete", "every sample that the load-workers recorded was merged"),
        );
        outcomes
    }

    /// The decision, its reason, and whether the run goes on.
    fn decide(
        &self,
        live: &Live,
        over: Over,
        objectives: &[Outcome],
    ) -> (&'static str, String, Result<(), Trouble>) {
        let failing: Vec<&str> = objectives
            .iter()
            .filter(|outcome| outcome.result == OutcomeResult::Fail)
            .map(|outcome| outcome.name.as_str())
            .collect();
        if self.metrics_lost && !matches!(over, Over::Stop(_)) {
            let reason = "metrics is lost".to_owned();
            return ("abort", reason.clone(), Err(Trouble::Reason(Reason::new(code::ABORTED, reason))));
        }
        if !self.ctx.apart && self.fleet.is_empty() && !matches!(over, Over::Stop(_)) {
            let reason = "no load-worker is left".to_owned();
            return ("abort", reason.clone(), Err(Trouble::Reason(Reason::new(code::ABORTED, reason))));
        }
        match over {
            Over::Stop(reason) => ("abort", reason.text.clone(), Err(Trouble::Reason(reason))),
            Over::Skipped { by } => ("skipped", format!("skipped by {by}"), Ok(())),
            Over::Complete { .. }
                if live.phase.on_objective_failure == OnFailure::Abort && !failing.is_empty() =>
            {
                let text =
                    format!("phase {}: objective failed: {}", live.phase.name.name(), failing.join(", "));
                ("abort", text.clone(), Err(Trouble::Reason(Reason::new(code::FAILED, text))))
            }
            Over::Complete { decision, reason } => (decision, reason, Ok(())),
        }
    }

    /// The last word of the run's thresholds.
    pub(super) async fn judge_run_thresholds(&mut self) -> Vec<Outcome> {
        let metrics = self.ctx.metrics.clone();
        if !self.metrics_lost && !self.done.is_empty() {
            for watched in &mut self.thresholds {
                match metrics.aggregate(&watched.query(metrics.run())).await {
                    Ok(aggregate) => {
                        watched.observe(&aggregate);
                    }
                    Err(error) => {
                        self.metrics_lost = true;
                        self.reasons.push(Reason::new(code::ABORTED, error.to_string()));
                        break;
                    }
                }
            }
        }
        let outcomes: Vec<Outcome> = self.thresholds.iter().map(Watched::outcome).collect();
        for outcome in outcomes.iter().filter(|outcome| failed(outcome)) {
            let text = format!("threshold `{}` over the run: seen {}", outcome.name, outcome.seen);
            self.reasons.push(Reason::new(code::FAILED, text));
        }
        outcomes
    }
}

/// What a phase that ended says against the verdict `passed`.
pub(super) fn phase_reasons(
    plan: &plan::Plan,
    phase: &str,
    thresholds: &[Outcome],
    validity: &[Outcome],
) -> Vec<Reason> {
    let broken = thresholds.iter().filter(|outcome| failed(outcome)).map(|outcome| {
        let text = format!("threshold `{}` in phase {phase}: seen {}", outcome.name, outcome.seen);
        Reason::new(code::FAILED, text)
    });
    let judged = validity.iter().filter(|outcome| plan.validity.judge && failed(outcome));
    let invalid = judged.map(|outcome| {
        let Outcome { name, seen, expected, .. } = outcome;
        Reason::new(code::INVALID, format!("phase {phase}: {name}: {seen}, expected {expected}"))
    });
    broken.chain(invalid).collect()
}

/// A lost worker whose last samples did not come, as a reason for the verdict.
pub(super) fn unpublished(member: &Member) -> Reason {
    let text = format!(
        "lost service load-worker {}: what it had counted until then was not published within {} s",
        member.id,
        COLLECT_DEADLINE.as_secs()
    );
    Reason::new(code::ABORTED, text)
}

/// Whether `metrics` has all that a life of a worker had counted, the last of it from its spool.
pub(super) fn is_whole(series: &v1::PhaseSeries, member: &Member) -> bool {
    is_over(series, member.id, &member.incarnation)
}

/// Whether `metrics` has the last that a life of a worker counted in a phase.
pub(super) fn is_over(series: &v1::PhaseSeries, id: WorkerId, incarnation: &[u8]) -> bool {
    let id = id.to_bytes();
    series.workers.iter().any(|life| life.worker == id && life.incarnation == incarnation && life.last)
}

/// What `metrics` has not yet of what the workers have recorded.
fn missing(series: &v1::PhaseSeries, told: &[(WorkerId, v1::PhaseEnded)], lost: &[Member]) -> Vec<String> {
    let mut missing = series.gaps.clone();
    for member in lost.iter().filter(|member| !is_whole(series, member)) {
        missing.push(format!("load-worker {}: lost, and its spool was not published", member.id));
    }
    for (id, ended) in told {
        let bytes = id.to_bytes();
        let mut lives = series.workers.iter().filter(|progress| progress.worker == bytes);
        if lives.clone().any(|life| life.last && life.last_sequence >= ended.last_sequence) {
            continue;
        }
        let merged = lives
            .by_ref()
            .map(|life| life.last_sequence)
            .max()
            .map_or_else(|| "none".to_owned(), |merged| merged.to_string());
        missing.push(format!("load-worker {id}: batch {} recorded, {merged} merged", ended.last_sequence));
    }
    missing
}
