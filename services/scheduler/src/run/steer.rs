//! Changing a phase while it runs: by hand, by the decision engine, and to its graceful end.

use std::time::Duration;

use futures::future::join_all;
use plan::model::LoadModel;
use protocol::event::{Event, PhaseChange};
use protocol::id::WorkerId;
use protocol::v1::change_phase::Change;
use store::StoreError;
use tokio::time::Instant;

use super::Run;
use super::live::Live;
use crate::clock::{ms, ns};
use crate::control::{Action, Request};
use crate::figures::plain;
use crate::links::LinkError;
use crate::verdict::Reason;

/// While a phase is paused its workers must not run into its end: they are told a later one before this much is left.
const PAUSE_MARGIN: Duration = Duration::from_secs(5);

/// What a worker says that has not taken an earlier change.
const CAME_BEFORE: &str = "came before change";

/// Whether the workers took a change, or what they said against it.
pub(super) type Taken = Result<(), String>;

/// A change as the command carries it.
pub(super) const fn to_proto(change: PhaseChange) -> Change {
    match change {
        PhaseChange::Rate(rate) => Change::Rate(rate),
        PhaseChange::Pause => Change::Pause(true),
        PhaseChange::Resume => Change::Resume(true),
        PhaseChange::ExtendTo(ns) => Change::ExtendToNs(ns),
        PhaseChange::RampDown(ns) => Change::RampDownNs(ns),
        PhaseChange::Factor(factor) => Change::Factor(factor),
    }
}

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

impl Over {
    /// Why faults end now, in words; empty = the phase ran its time.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Complete { .. } => String::new(),
            Self::Skipped { by } => format!("skipped by {by}"),
            Self::Stop(reason) => reason.text.strip_prefix("stopped by ").unwrap_or(&reason.text).to_owned(),
        }
    }
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
            Action::Pause => self.tell(live, at, PhaseChange::Pause).await?,
            Action::Resume => self.resume(live, at).await?,
            Action::Rate(rate) => self.tell(live, at, PhaseChange::Rate(rate)).await?,
            Action::Shed(keep) => {
                self.inbox.keep(&request.by, keep);
                let shed = self.shed(live, at, &request.by).await?;
                request.answer(shed);
                return Ok(None);
            }
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
            Action::Skip | Action::Stop | Action::Shed(_) => "skip".to_owned(),
            Action::Rate(rate) => format!("rate {}", plain(rate)),
        };
        self.note_change(live, at, change, &request.by).await?;
        let over = (request.action == Action::Skip).then(|| Over::Skipped { by: request.by.clone() });
        request.answer(Ok(()));
        Ok(over)
    }

    /// The time of the pause is added to the phase.
    async fn resume(&mut self, live: &mut Live, at: Duration) -> Result<Taken, StoreError> {
        let Some(since) = live.paused else { return Ok(Ok(())) };
        let duration = live.duration + (live.t0 + at).saturating_duration_since(since);
        let told = self.tell(live, at, PhaseChange::ExtendTo(ns(duration))).await?;
        if told.is_err() {
            return Ok(told);
        }
        let told = self.tell(live, at, PhaseChange::Resume).await?;
        if told.is_err() {
            return Ok(told);
        }
        live.duration = duration;
        live.told = duration;
        live.paused = None;
        Ok(Ok(()))
    }

    /// Keeps the workers from ending a paused phase by themselves.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn prolong_pause(&mut self, live: &mut Live) -> Result<Taken, StoreError> {
        if live.paused.is_some() && live.elapsed() + PAUSE_MARGIN > live.told {
            let at = live.change_offset(&self.ctx);
            let length = at + 2 * PAUSE_MARGIN;
            let told = self.tell(live, at, PhaseChange::ExtendTo(ns(length))).await?;
            if told.is_err() {
                return Ok(told);
            }
            live.told = length;
        }
        Ok(Ok(()))
    }

    /// Keeps the phase going beyond its time.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn hold(&mut self, live: &mut Live, longest: Duration) -> Result<Taken, StoreError> {
        let duration = live.duration + longest;
        let at = live.change_offset(&self.ctx);
        let told = self.tell(live, at, PhaseChange::ExtendTo(ns(duration))).await?;
        if told.is_ok() {
            live.duration = duration;
            live.told = duration;
            live.held = Some(Instant::now());
        }
        Ok(told)
    }

    /// Ramps the load to zero; refuses requests meanwhile. A ramp that an earlier scheduler began goes on.
    pub(super) async fn ramp_down(&mut self, live: &mut Live) {
        let length = self.ctx.plan.control.ramp_down;
        if !live.is_loaded() || live.paused.is_some() || length.is_zero() || self.fleet.is_empty() {
            return;
        }
        let begun = live.changes.iter().find(|(_, change)| matches!(change, Change::RampDownNs(_)));
        let at = match begun {
            Some((at, _)) => *at,
            None => {
                let at = live.change_offset(&self.ctx);
                let told = self.tell(live, at, PhaseChange::RampDown(ns(length))).await;
                let why = told.map_err(|error| error.to_string()).and_then(|taken| taken);
                if let Err(error) = why {
                    tracing::warn!(run = %self.ctx.id, error, "the load cannot be ramped down and is ended at once");
                    return;
                }
                at
            }
        };
        let over = tokio::time::sleep_until(live.t0 + at + length);
        self.inbox.refusing("the run is being stopped", over).await;
    }

    /// Tells a change to all workers. Over a network it is in the history before, so that a scheduler that is started anew
    /// knows of it, and one that does not answer is no failure: it is about to be found lost, and whoever comes in its place
    /// is told all changes.
    pub(super) async fn tell(
        &self,
        live: &mut Live,
        at: Duration,
        change: PhaseChange,
    ) -> Result<Taken, StoreError> {
        if !live.is_loaded() {
            return Ok(Ok(()));
        }
        live.changes.push((at, to_proto(change)));
        let number = u32::try_from(live.changes.len()).unwrap_or(u32::MAX);
        let phase = live.index;
        if self.ctx.apart {
            self.ctx.history.append(Event::ChangeTold { phase, number, at_ns: ns(at), change }).await?;
        }
        let live = &*live;
        let told = self.fleet.ids().into_iter().map(|id| async move {
            match self.ctx.load.change(id, phase, number, (at, to_proto(change))).await {
                // It may have missed one before.
                Err(LinkError::Refused { why, .. }) if why.contains(CAME_BEFORE) => {
                    self.catch_up(live, id).await
                }
                other => other,
            }
        });
        let failed: Vec<String> = join_all(told)
            .await
            .into_iter()
            .filter_map(Result::err)
            .filter(|error| !(self.ctx.apart && matches!(error, LinkError::Lost { .. })))
            .map(|error| error.to_string())
            .collect();
        Ok(if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) })
    }

    /// Tells a worker all changes of the phase in their order; those that it has taken change nothing.
    pub(super) async fn catch_up(&self, live: &Live, id: WorkerId) -> Result<(), LinkError> {
        for (number, change) in (1..).zip(&live.changes) {
            self.ctx.load.change(id, live.index, number, *change).await?;
        }
        Ok(())
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
        Action::Pause | Action::Resume | Action::Rate(_) | Action::Shed(_) | Action::Skip | Action::Stop => {
            Ok(())
        }
    }
}
