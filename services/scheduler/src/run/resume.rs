//! Going on with a run whose scheduler died (requirement R2.5): its workers have sent the load all the while.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use protocol::event::{Event, PhaseChange};
use protocol::id::WorkerId;
use protocol::v1;
use protocol::v1::heartbeat::State;
use service::traces::within;
use tokio::time::Instant;

use super::bystanders;
use super::collect::{is_over, is_whole, unpublished};
use super::execute::complete;
use super::live::Live;
use super::membership::{BEYOND, JOIN_LEAD};
use super::past::{Begun, Past};
use super::steer::{Over, to_proto};
use super::{Run, Trouble, during};
use crate::clock::{Clock, ns};
use crate::objectives::evidence::Measured;
use crate::verdict::Reason;
use crate::workers::Worker;

/// By how much numbers of divisions begin above the highest that a worker has heard of: a scheduler that was only away may
/// give out a few before it finds that the run is another's. Not more: closed models number their users' turns by them.
const EPOCHS_AHEAD: u32 = 16;
/// How long after its start a scheduler has heard every worker that lives: heartbeats come twice a second.
const HEARD: Duration = Duration::from_millis(1_500);

impl Run {
    /// Goes on where the past ends, through the phase that was under way; the index of the next one.
    pub(super) async fn take_up(&mut self, mut past: Past) -> Result<usize, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        ctx.traps.lock().unwrap_or_else(PoisonError::into_inner).append(&mut past.traps);
        self.incidents = std::mem::take(&mut past.incidents);
        self.reasons = std::mem::take(&mut past.reasons);
        self.fleet = std::mem::take(&mut past.fleet);
        let all_heard = tokio::time::sleep(HEARD);
        self.inbox
            .refusing("the run is being taken up by a scheduler that was started anew", all_heard)
            .await;
        self.fleet.begin_epochs(self.highest_epoch() + EPOCHS_AHEAD);
        self.note_absence(&past).await?;
        let prepared = !past.names.is_empty();
        if prepared {
            self.watching = true;
            self.names = std::mem::take(&mut past.names);
            self.steps = self
                .names
                .iter()
                .map(|names| v1::ScenarioSteps {
                    steps: names.steps.clone(),
                    checks: names.checks.clone(),
                    metrics: names.metrics.clone(),
                })
                .collect();
            self.resolve_thresholds()?;
            self.recall_thresholds(&past);
            self.open_again(&past).await?;
            self.recall_phases(&past).await?;
        }
        let begun = past.begun.take();
        // The last one ends it; all count for the verdict.
        let stop = past.stops.pop();
        self.reasons.append(&mut past.stops);
        match (begun, stop) {
            (Some(begun), stop) => {
                let span = self.phase_span(begun.index as usize);
                within(span, self.go_on_with(begun, &past, stop)).await?;
            }
            (None, Some(reason)) => return Err(Trouble::Reason(reason)),
            (None, None) if !prepared || past.timed.is_empty() => {
                // Preparing again changes nothing for whoever is prepared.
                self.fleet.dismiss();
                self.prepare().await?;
            }
            (None, None) => {}
        }
        Ok(self.done.len())
    }

    /// Chaos and recovery have gone on alone, or have been started anew as well; what they told meanwhile comes by itself.
    async fn open_again(&mut self, past: &Past) -> Result<(), Trouble> {
        for (by, keep) in &past.keeps {
            self.inbox.keep(by, *keep);
        }
        let ctx = Arc::clone(&self.ctx);
        // A plan with processes of its own is not taken up.
        let chaos = self.bystanders.open_chaos(&ctx, "");
        let doing = "the run is being taken up by a scheduler that was started anew";
        during(&mut self.inbox, &ctx, &[], doing, chaos).await?;
        let recovery = self.bystanders.open_recovery(&ctx, "");
        during(&mut self.inbox, &ctx, &[], doing, recovery).await
    }

    /// The highest number of a division that a worker of the run has heard of.
    fn highest_epoch(&self) -> u32 {
        let heard = self.ctx.workers.heard(self.ctx.plan.control.worker_timeout);
        let own = heard.iter().filter(|worker| worker.beat.run == self.ctx.load.run());
        own.map(|worker| worker.beat.epoch).max().unwrap_or_default()
    }

    /// Says for how long nobody looked at thresholds and health.
    async fn note_absence(&self, past: &Past) -> Result<(), Trouble> {
        let away = self.ctx.clock.unix_ns().saturating_sub(past.last_unix_ns).max(0);
        let message = format!(
            "no scheduler watched the run for up to {} s: sliding windows of thresholds and the targets' health were not looked at",
            crate::figures::plain(Duration::from_nanos(away.unsigned_abs()).as_secs_f64())
        );
        Ok(self.ctx.history.append(Event::Notice { message }).await?)
    }

    /// Thresholds stand as they stood.
    fn recall_thresholds(&mut self, past: &Past) {
        let of_phases = (0_u32..).zip(&mut self.phase_thresholds);
        let of_phases =
            of_phases.flat_map(|(phase, list)| list.iter_mut().map(move |one| (Some(phase), one)));
        for (phase, watched) in of_phases.chain(self.thresholds.iter_mut().map(|one| (None, one))) {
            if let Some(said) = past.thresholds.get(&(phase, watched.text.clone())) {
                watched.recall(said.holds, said.broken_by.clone());
            }
        }
    }

    /// What the phases that ended have measured.
    async fn recall_phases(&mut self, past: &Past) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        self.began = past.timed.values().next().map(|first| instant_of(ctx.clock, *first));
        for (index, phase) in (0..past.next).zip(&ctx.phases) {
            let series = ctx.metrics.phase(index).await.map_err(Trouble::Metrics)?;
            let t0_unix_ns = past.timed.get(&index).copied().unwrap_or_default();
            let lost = self.fleet.lost_in(index).filter(|member| !is_whole(&series, member));
            self.reasons.extend(lost.map(unpublished));
            self.done.push(Measured { phase: phase.clone(), t0_unix_ns, series });
        }
        Ok(())
    }

    /// Goes on with the phase that was under way.
    async fn go_on_with(&mut self, begun: Begun, past: &Past, stop: Option<Reason>) -> Result<(), Trouble> {
        let index = begun.index as usize;
        let mut live = match past.timed.get(&begun.index) {
            Some(t0_unix_ns) => self.live_again(&begun, *t0_unix_ns),
            None => match stop {
                Some(reason) => return Err(Trouble::Reason(reason)),
                None => return self.begin_again(index).await,
            },
        };
        // Its scheduler may have died before it said so.
        self.ctx.metrics.mark(begun.index, live.t0_unix_ns).await.map_err(Trouble::Metrics)?;
        let (t0_unix_ns, duration_ns) = (live.t0_unix_ns, ns(live.phase.duration));
        let beside = bystanders::Begun { index: live.index, t0_unix_ns, duration_ns };
        self.bystanders.begin_phase(beside).await?;
        let rejoined = self.rejoin(&mut live).await?;
        match (rejoined, stop, begun.skipped_by) {
            (Rejoined::NobodyBegan, Some(reason), _) => Err(Trouble::Reason(reason)),
            (Rejoined::NobodyBegan, None, _) => self.begin_again(index).await,
            (_, Some(reason), _) => self.finish(live, Over::Stop(reason)).await,
            (_, None, Some(by)) => self.finish(live, Over::Skipped { by }).await,
            (Rejoined::GivenUp, None, None) => {
                let reason = self.ended_alone().await?;
                self.finish(live, Over::Stop(reason)).await
            }
            // If they ended it because nobody was there, they say so when they are asked for what they counted.
            (Rejoined::Ended, None, None) => {
                let over = complete(&live);
                self.finish(live, over).await
            }
            (Rejoined::Running, None, None) => self.go_on(live).await,
        }
    }

    /// Begins a phase of which the history has the start, and which nobody has begun.
    async fn begin_again(&mut self, index: usize) -> Result<(), Trouble> {
        if index == 0 {
            self.began = None;
        }
        self.muster().await?;
        self.execute(index, true).await
    }

    /// The phase as it was left.
    fn live_again(&mut self, begun: &Begun, t0_unix_ns: i64) -> Live {
        let clock = self.ctx.clock;
        let index = begun.index as usize;
        let phase = self.ctx.phases[index].clone();
        let thresholds = self.phase_thresholds.get_mut(index).map(std::mem::take).unwrap_or_default();
        let mut live = Live::new(begun.index, phase, instant_of(clock, t0_unix_ns), t0_unix_ns, thresholds);
        for told in &begun.changes {
            live.changes.push((told.at, to_proto(told.change)));
            let when = instant_of(clock, told.unix_ns);
            match told.change {
                PhaseChange::Pause => live.paused = Some(when),
                // The length that it was told just before.
                PhaseChange::Resume => (live.duration, live.paused) = (live.told, None),
                PhaseChange::ExtendTo(length) => {
                    live.told = Duration::from_nanos(length);
                    if live.paused.is_none() {
                        (live.duration, live.held) = (live.told, Some(when));
                    }
                }
                PhaseChange::Rate(_) | PhaseChange::RampDown(_) | PhaseChange::Factor(_) => {}
            }
        }
        live
    }

    /// Finds the workers at the phase that was under way, tells them what they may not have heard, and divides its load
    /// among those that are there.
    async fn rejoin(&mut self, live: &mut Live) -> Result<Rejoined, Trouble> {
        if !live.is_loaded() {
            return Ok(Rejoined::Running);
        }
        let ctx = Arc::clone(&self.ctx);
        let timeout = ctx.plan.control.worker_timeout;
        let heard: Vec<Worker> = ctx
            .workers
            .heard(timeout)
            .into_iter()
            .filter(|worker| self.fleet.is_life(worker.id, &worker.beat.incarnation))
            .collect();
        let index = live.index;
        let at_it = |worker: &&Worker| {
            let state = worker.beat.state();
            let busy = matches!(state, State::Running | State::Ending | State::CutOff | State::Leaving);
            busy && worker.beat.phase == index
        };
        let series = ctx.metrics.phase(live.index).await.map_err(Trouble::Metrics)?;
        if !heard.iter().any(|worker| at_it(&worker)) && series.workers.is_empty() {
            return Ok(Rejoined::NobodyBegan);
        }
        // Who was killed has published its last, too; but not all of them were.
        if heard.is_empty() && self.fleet.all_lives(|id, life| is_over(&series, id, life)) {
            return Ok(Rejoined::GivenUp);
        }
        let ended = |worker: &Worker| match worker.beat.state() {
            State::Ending => true,
            State::Leaving => false,
            _ => is_over(&series, worker.id, &worker.beat.incarnation),
        };
        let past_end = live.paused.is_none() && Instant::now() >= live.end();
        if past_end || heard.iter().any(ended) {
            return Ok(Rejoined::Ended);
        }
        let mut ready_at = Duration::ZERO;
        let silent: Vec<WorkerId> =
            self.fleet.ids().into_iter().filter(|id| heard.iter().all(|worker| worker.id != *id)).collect();
        for id in silent {
            self.note_lost(live, id, "not heard by the scheduler that was started anew").await?;
            // It may have been heard last just before this scheduler listened.
            let listened = self.since.saturating_duration_since(live.t0);
            ready_at = ready_at.max(listened + timeout + BEYOND);
        }
        let idle: Vec<WorkerId> =
            heard.iter().filter(|worker| !at_it(worker)).map(|worker| worker.id).collect();
        for id in idle {
            self.begin_late(live, id).await?;
        }
        join_all(heard.iter().map(|worker| self.replay(live, worker.id))).await;
        let at = ready_at.max(live.elapsed() + JOIN_LEAD);
        self.divide(live, at, None).await?;
        Ok(Rejoined::Running)
    }

    /// Begins the phase on a worker that its scheduler had no time to tell.
    async fn begin_late(&mut self, live: &mut Live, id: WorkerId) -> Result<(), Trouble> {
        let start = v1::StartPhase {
            phase: live.index,
            t0_unix_ns: live.t0_unix_ns,
            duration_ns: ns(live.phase.duration),
            joins: true,
            ..v1::StartPhase::default()
        };
        match self.ctx.load.start(id, start).await {
            Ok(()) => {
                live.late = true;
                let message = format!(
                    "load-worker {id} had not heard of the phase when its scheduler died: until the load is divided anew its part is not sent"
                );
                self.ctx.history.append(Event::Notice { message }).await?;
                Ok(())
            }
            Err(error) => self.note_lost(live, id, &error.to_string()).await,
        }
    }
}

/// How workers were found.
enum Rejoined {
    /// At the phase, or there is nothing to send.
    Running,
    /// None of them had heard of it.
    NobodyBegan,
    /// Its time is over, or they have ended it, or are about to.
    Ended,
    /// They had waited for a scheduler as long as the plan says, and have given up the run.
    GivenUp,
}

/// An instant of the wall clock on tokio's; what lies before this host's start is now.
fn instant_of(clock: Clock, unix_ns: i64) -> Instant {
    let (now, ahead) = (Instant::now(), unix_ns.saturating_sub(clock.unix_ns()));
    let distance = Duration::from_nanos(ahead.unsigned_abs());
    if ahead >= 0 { now + distance } else { now.checked_sub(distance).unwrap_or(now) }
}
