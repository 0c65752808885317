//! The execution of one phase: begin, wait for its end while looking at it each second, wind down.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use plan::model::{LoadModel, OnFailure};
use protocol::event::{Event, OutcomeResult};
use protocol::v1;
use store::StoreError;
use tokio::time::{Instant, MissedTickBehavior};

use super::bystanders::{Begun, looked};
use super::live::{Live, Looking, Seen, finished};
use super::membership::{Joining, joined};
use super::prepare::worker_reason;
use super::steer::Over;
use super::{Asked, Run, Trouble, during};
use crate::clock::{ms, ns, signed_ns};
use crate::control::Signal;
use crate::links::LinkError;
use crate::verdict::{Reason, code};

/// How often workers are looked at that were started anew: their heartbeats end the silence by which they would be found lost,
/// and nobody else sends their part meanwhile.
const GLANCE: Duration = Duration::from_millis(100);
/// Thresholds are looked at once a second, more often only where samples come more often.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

impl Run {
    /// Runs one phase from its start to its decision. `announced`: the history has its start already.
    pub(super) async fn execute(&mut self, index: usize, announced: bool) -> Result<(), Trouble> {
        let live = self.begin(index, announced).await?;
        self.go_on(live).await
    }

    /// Runs a phase that has begun to its decision.
    pub(super) async fn go_on(&mut self, mut live: Live) -> Result<(), Trouble> {
        let over = match self.watch(&mut live).await {
            Ok(over) => over,
            Err(Trouble::Reason(reason)) => Over::Stop(reason),
            Err(Trouble::Reasons(mut reasons)) if !reasons.is_empty() => {
                let first = reasons.remove(0);
                self.reasons.extend(reasons);
                Over::Stop(first)
            }
            Err(other) => return Err(other),
        };
        self.finish(live, over).await
    }

    async fn begin(&mut self, index: usize, announced: bool) -> Result<Live, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let phase = ctx.phases[index].clone();
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let (rate, users) = wanted(&phase.model);
        let started = Event::PhaseStarted {
            phase: number,
            name: phase.name.name().to_owned(),
            duration_ms: ms(phase.duration),
            rate,
            connections: phase.connections,
            users,
        };
        if !announced {
            ctx.history.append(started).await?;
        }
        let (t0, t0_unix_ns) = self.time(number).await?;
        let loaded = !matches!(phase.model, LoadModel::None);
        let (epoch, parts) = if loaded { self.divided(number).await? } else { (0, Vec::new()) };
        let begun = Begun { index: number, t0_unix_ns, duration_ns: ns(phase.duration) };
        let told = self.bystanders.begin_phase(begun);
        let orders = async {
            let starts = parts.into_iter().map(|(id, segment)| {
                let start = v1::StartPhase {
                    phase: number,
                    t0_unix_ns,
                    duration_ns: ns(phase.duration),
                    segment: Some(segment),
                    epoch,
                    ..v1::StartPhase::default()
                };
                let started = ctx.load.start(id, start);
                async move { (id, started.await) }
            });
            let marked = ctx.metrics.mark(number, t0_unix_ns);
            let (marked, told, started) = futures::join!(marked, told, join_all(starts));
            marked.map_err(Trouble::Metrics)?;
            told?;
            let mut lost = Vec::new();
            for (id, started) in started {
                match started {
                    Ok(()) => {}
                    Err(error @ LinkError::Lost { .. }) if ctx.apart => lost.push((id, error)),
                    Err(error) => return Err(Trouble::Reason(worker_reason(&error))),
                }
            }
            Ok(lost)
        };
        let asked = Asked::Waits("the phase is being started");
        let vital = self.indispensable();
        let lost = match during(&mut self.inbox, &ctx, &vital, asked, orders).await {
            Ok(lost) => lost,
            Err(trouble) => {
                self.inbox.refuse_put_off("the phase does not begin");
                // Whoever has started already must not go on.
                let faults = self.bystanders.end_phase("the phase does not begin".to_owned());
                let load = async {
                    if loaded {
                        self.end_load(number).await;
                    }
                };
                let (_, ()) = futures::join!(faults, load);
                return Err(trouble);
            }
        };
        self.began.get_or_insert(t0);
        let thresholds = self.phase_thresholds.get_mut(index).map(std::mem::take).unwrap_or_default();
        let mut live = Live::new(number, phase, t0, t0_unix_ns, thresholds);
        for (id, error) in lost {
            tracing::warn!(worker = %id, %error, "a worker did not begin the phase");
            self.lose(&mut live, id, ctx.plan.control.worker_timeout).await?;
        }
        self.shed_from_the_start(&mut live).await?;
        Ok(live)
    }

    /// When a phase begins, on both clocks. Where workers are apart, the history has it before they do, and time enough is
    /// left then for them to hear of it: a store that was slow must not make them begin late.
    async fn time(&self, phase: u32) -> Result<(Instant, i64), StoreError> {
        let ctx = &self.ctx;
        loop {
            let t0 = Instant::now() + ctx.lead;
            let t0_unix_ns = ctx.clock.unix_ns().saturating_add(signed_ns(ctx.lead));
            if !ctx.apart {
                return Ok((t0, t0_unix_ns));
            }
            ctx.history.append(Event::PhaseTimed { phase, t0_unix_ns }).await?;
            if Instant::now() + ctx.lead / 2 < t0 {
                return Ok((t0, t0_unix_ns));
            }
        }
    }

    /// Waits for the phase's end, whatever brings it.
    async fn watch(&mut self, live: &mut Live) -> Result<Over, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let period = ctx.plan.load.interval.clamp(SHORTEST_LOOK, LONGEST_LOOK);
        let mut ticks = tokio::time::interval_at(live.t0 + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut glances = tokio::time::interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lost = self.watch_workers();
        let mut joining: Option<Joining> = None;
        let mut looking: Option<Looking> = None;
        let mut beside = self.bystanders.look();
        // A look that the decision to hold waits for: the end waits for it, too.
        let mut deciding = false;
        while let Some(request) = self.inbox.next_put_off() {
            if let Some(over) = self.steer(live, request).await? {
                return Ok(over);
            }
        }
        loop {
            let paused = live.paused.is_some();
            let decide_at = live.hold_decision().filter(|_| !paused && !deciding);
            tokio::select! {
                biased;
                signal = self.inbox.next() => match signal {
                    Signal::Stop(by) => return Ok(Over::Stop(ctx.stop_requested(&by).await?)),
                    Signal::Request(request) => {
                        if let Some(over) = self.steer(live, request).await? {
                            return Ok(over);
                        }
                    }
                },
                (id, lasted) = &mut lost => {
                    if let Some(over) = self.lose(live, id, lasted).await? {
                        return Ok(over);
                    }
                    lost = self.watch_workers();
                }
                joined = joined(&mut joining) => {
                    joining = None;
                    self.admit(live, joined).await?;
                    lost = self.watch_workers();
                }
                seen = finished(&mut looking) => {
                    looking = None;
                    let decided = std::mem::take(&mut deciding);
                    let seen = match seen {
                        Ok(seen) => seen,
                        Err(error) => return Ok(Over::Stop(self.metrics_gone(&error).await?)),
                    };
                    if let Some(over) = self.weigh(live, seen, decided).await? {
                        return Ok(over);
                    }
                }
                known = looked(&mut beside) => {
                    known?;
                    beside = self.bystanders.look();
                }
                () = at(decide_at) => {
                    looking = Some(self.begin_look(live, true));
                    deciding = true;
                }
                () = tokio::time::sleep_until(live.end()), if !paused && !deciding => {
                    return Ok(complete(live));
                }
                _ = glances.tick(), if ctx.apart => {
                    if self.is_restarted() && self.look_at_workers(live).await? {
                        lost = self.watch_workers();
                    }
                }
                _ = ticks.tick() => {
                    live.exits.extend(self.processes.look(&ctx.history).await?);
                    if ctx.apart {
                        if self.look_at_workers(live).await? {
                            lost = self.watch_workers();
                        }
                        if joining.is_none() {
                            joining = self.begin_join(live);
                        }
                        if let Some(over) = self.deserted(live).await? {
                            return Ok(over);
                        }
                    }
                    if let Err(error) = self.prolong_pause(live).await? {
                        let reason = Reason::new(code::ABORTED, error);
                        return Ok(Over::Stop(reason));
                    }
                    if looking.is_none() {
                        looking = Some(self.begin_look(live, live.held.is_some()));
                    }
                }
            }
        }
    }

    /// What a look means: a threshold that ends the run, a phase to be held, or one that was held long enough.
    async fn weigh(
        &mut self,
        live: &mut Live,
        mut seen: Seen,
        deciding: bool,
    ) -> Result<Option<Over>, Trouble> {
        if let Some(reason) = self.take_in(live, &mut seen).await? {
            return Ok(Some(Over::Stop(reason)));
        }
        let Some(series) = seen.series else { return Ok(None) };
        let measured = live.measured(series);
        let (objectives, _) = self.objectives(live, &measured, &self.judged_thresholds(live));
        let failing: Vec<&str> = objectives
            .iter()
            .filter(|one| one.result == OutcomeResult::Fail)
            .map(|one| one.name.as_str())
            .collect();
        match (live.held, live.phase.on_objective_failure) {
            (Some(since), _) if failing.is_empty() => {
                let held = crate::figures::plain(since.elapsed().as_secs_f64());
                Ok(Some(Over::Complete {
                    decision: "hold",
                    reason: format!("held {held} s until its objectives passed"),
                }))
            }
            (None, OnFailure::Hold { max }) if deciding && !failing.is_empty() => {
                let at = live.change_offset(&self.ctx);
                if let Err(error) = self.hold(live, max).await? {
                    return Ok(Some(Over::Stop(Reason::new(code::ABORTED, error))));
                }
                self.note_change(live, at, format!("hold: {}", failing.join(", ")), "decision").await?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Notes that `metrics` is lost; the reason for the verdict.
    pub(super) async fn metrics_gone(&mut self, error: &LinkError) -> Result<Reason, StoreError> {
        let exit_code = match error {
            LinkError::Lost { .. } => code::ABORTED,
            LinkError::Refused { .. } => code::BUG,
        };
        if std::mem::replace(&mut self.metrics_lost, true) {
            return Ok(Reason::new(exit_code, error.to_string()));
        }
        let by = "lost service metrics".to_owned();
        self.ctx.history.append(Event::StopRequested { by, exit_code }).await?;
        Ok(Reason::new(exit_code, error.to_string()))
    }
}

/// The end of a phase that ran its time, or was held as long as it may be.
pub(super) fn complete(live: &Live) -> Over {
    match live.held {
        None => Over::Complete { decision: "continue", reason: "it ran its time".to_owned() },
        Some(since) => {
            let held = crate::figures::plain(since.elapsed().as_secs_f64());
            let reason = format!("held {held} s, the longest it may be, and its objectives still fail");
            Over::Complete { decision: "hold", reason }
        }
    }
}

/// The rate at a phase's end, and the users of a closed model.
fn wanted(model: &LoadModel) -> (Option<f64>, Option<u32>) {
    match model {
        LoadModel::None => (Some(0.0), None),
        LoadModel::Open { rate, .. } => (Some(*rate), None),
        LoadModel::Walk { ceiling, .. } => (Some(*ceiling), None),
        LoadModel::Closed { users, .. } => (None, Some(*users)),
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
