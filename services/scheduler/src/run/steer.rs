//! Changing a phase while it runs: by hand, by the decision engine, and to its graceful end.

use std::time::Duration;

use futures::future::join_all;
use plan::model::LoadModel;
use protocol::event::Event;
use protocol::v1::change_phase::Change;
use store::StoreError;
use tokio::time::Instant;

use super::Run;
use super::live::{Live, extend_to};
use crate::clock::{ms, ns};
use crate::control::{Action, Request};
use crate::figures::plain;
use crate::links::LinkError;
use crate::verdict::Reason;

/// While a phase is paused its workers must not run into its end: they are told a later one before this much is left.
const PAUSE_MARGIN: Duration = Duration::from_secs(5);

/// How a phase came to its end.
pub(super) enum Over {
    /// It ran its time, or was held: decision and reason.
    Complete {
        /// `continue` or `hold`.
        decision: &'static str,
        /// Why it ends now.
        reason: String,
    },
    /// Somebody skipped the rest of it.
    Skipped {
        /// Who.
        by: String,
    },
    /// The run ends; the load ramps down first.
    Stop(Reason),
}

impl Run {
    /// Does what a request asks, and answers it; the end of the phase when that was asked for.
    pub(super) async fn steer(
        &mut self,
        live: &mut Live,
        request: Request,
    ) -> Result<Option<Over>, StoreError> {
        if request.action == Action::Stop {
            let reason = self.ctx.stop_requested(&request.by).await?;
            request.answer(Ok(()));
            return Ok(Some(Over::Stop(reason)));
        }
        if let Err(why) = refusal(live, request.action) {
            request.answer(Err(why));
            return Ok(None);
        }
        let at = live.change_offset(&self.ctx);
        let done = match request.action {
            Action::Pause => self.tell(live, at, Change::Pause(true)).await,
            Action::Resume => self.resume(live, at).await,
            Action::Rate(rate) => self.tell(live, at, Change::Rate(rate)).await,
            Action::Skip | Action::Stop => Ok(()),
        };
        if let Err(why) = done {
            request.answer(Err(why));
            return Ok(None);
        }
        let change = match request.action {
            Action::Pause => {
                live.paused = Some(Instant::now());
                "pause".to_owned()
            }
            Action::Resume => "resume".to_owned(),
            Action::Skip | Action::Stop => "skip".to_owned(),
            Action::Rate(rate) => format!("rate {}", plain(rate)),
        };
        self.note_change(live, at, change, &request.by).await?;
        let over = (request.action == Action::Skip).then(|| Over::Skipped { by: request.by.clone() });
        request.answer(Ok(()));
        Ok(over)
    }

    /// The time of the pause is added to the phase.
    async fn resume(&mut self, live: &mut Live, at: Duration) -> Result<(), String> {
        let Some(since) = live.paused else { return Ok(()) };
        let duration = live.duration + (live.t0 + at).saturating_duration_since(since);
        self.tell(live, at, extend_to(duration)).await?;
        self.tell(live, at, Change::Resume(true)).await?;
        live.duration = duration;
        live.told = duration;
        live.paused = None;
        Ok(())
    }

    /// Keeps the workers from ending a paused phase by themselves.
    ///
    /// # Errors
    /// When a worker did not take it.
    pub(super) async fn prolong_pause(&mut self, live: &mut Live) -> Result<(), String> {
        if live.paused.is_some() && live.elapsed() + PAUSE_MARGIN > live.told {
            let at = live.change_offset(&self.ctx);
            let length = at + 2 * PAUSE_MARGIN;
            self.tell(live, at, extend_to(length)).await?;
            live.told = length;
        }
        Ok(())
    }

    /// Keeps the phase going beyond its time.
    ///
    /// # Errors
    /// When a worker did not take it.
    pub(super) async fn hold(&mut self, live: &mut Live, longest: Duration) -> Result<(), String> {
        let duration = live.duration + longest;
        let at = live.change_offset(&self.ctx);
        self.tell(live, at, extend_to(duration)).await?;
        live.duration = duration;
        live.told = duration;
        live.held = Some(Instant::now());
        Ok(())
    }

    /// Ramps the load to zero; refuses requests meanwhile.
    pub(super) async fn ramp_down(&mut self, live: &mut Live) {
        let length = self.ctx.plan.control.ramp_down;
        if !live.is_loaded() || live.paused.is_some() || length.is_zero() || self.fleet.is_empty() {
            return;
        }
        let at = live.change_offset(&self.ctx);
        if let Err(error) = self.tell(live, at, Change::RampDownNs(ns(length))).await {
            tracing::warn!(run = %self.ctx.id, error, "the load cannot be ramped down and is ended at once");
            return;
        }
        let over = tokio::time::sleep_until(live.t0 + at + length);
        self.inbox.refusing("the run is being stopped", over).await;
    }

    /// Tells a change to all workers. Over a network one that does not answer is no failure: it is about to be found lost,
    /// and whoever comes in its place is told all changes.
    async fn tell(&self, live: &mut Live, at: Duration, change: Change) -> Result<(), String> {
        if !live.is_loaded() {
            return Ok(());
        }
        live.changes.push((at, change));
        let index = live.index;
        let told =
            self.fleet.ids().into_iter().map(|worker| self.ctx.load.change(worker, index, ns(at), change));
        let failed: Vec<String> = join_all(told)
            .await
            .into_iter()
            .filter_map(Result::err)
            .filter(|error| !(self.ctx.apart && matches!(error, LinkError::Lost { .. })))
            .map(|error| error.to_string())
            .collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    pub(super) async fn note_change(
        &self,
        live: &Live,
        at: Duration,
        change: String,
        by: &str,
    ) -> Result<(), StoreError> {
        let event = Event::LoadChanged { phase: live.index, at_ms: ms(at), change, by: by.to_owned() };
        self.ctx.history.append(event).await
    }
}

/// Why a request makes no sense now.
fn refusal(live: &Live, action: Action) -> Result<(), String> {
    let phase = live.phase.name.name();
    let nothing_sent = || Err(format!("phase {phase} sends nothing"));
    match action {
        Action::Pause if !live.is_loaded() => nothing_sent(),
        Action::Pause if live.paused.is_some() => Err("the run is paused already".to_owned()),
        Action::Resume if live.paused.is_none() => Err("the run is not paused".to_owned()),
        Action::Rate(_) if !live.is_loaded() => nothing_sent(),
        Action::Rate(_) if matches!(live.phase.model, LoadModel::Closed { .. }) => Err(format!(
            "phase {phase} has a closed model: its rate follows from its users and their answers"
        )),
        Action::Rate(_) if live.paused.is_some() => Err("the run is paused: resume it first".to_owned()),
        Action::Pause | Action::Resume | Action::Rate(_) | Action::Skip | Action::Stop => Ok(()),
    }
}
