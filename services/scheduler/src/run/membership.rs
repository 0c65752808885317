//! Load-workers that are lost, come back and join while a run is under way (requirement R4.6).
//!
//! A worker that falls silent has stopped by itself when its lease ends; from then on, and not before, its arrivals are
//! given to others. One that comes back, or a new one, gets its part from an offset that lies ahead for everybody.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::event::Event;
use protocol::id::WorkerId;
use protocol::v1;
use protocol::v1::heartbeat::State;
use tokio::time::Instant;

use super::fleet::{Division, Member};
use super::live::Live;
use super::steer::Over;
use super::{Run, Trouble, silence};
use crate::clock::ns;
use crate::figures::{count, plain};
use crate::links::LinkError;
use crate::verdict::{Reason, code};
use crate::workers::Worker;

/// By how much a new division lies ahead: it has to reach every worker before.
const LEAD: Duration = Duration::from_millis(250);
/// The same where somebody gives up what another gets: should he hear too late, both would send it.
pub(super) const JOIN_LEAD: Duration = Duration::from_secs(1);
/// How long after the last heartbeat that was heard a lease may have been renewed: one more heartbeat, and its way.
pub(super) const BEYOND: Duration = Duration::from_millis(750);
/// How long a run waits for a worker when none is left.
const RETURN: Duration = Duration::from_secs(10);
/// How often a division is tried before the next look.
const ROUNDS: usize = 4;
/// A heartbeat that was sent before a worker was prepared may arrive so much later.
const STALE: Duration = Duration::from_secs(1);

/// A worker that is being prepared while a phase runs.
pub(super) type Joining = Pin<Box<dyn Future<Output = Joined> + Send>>;

/// What came of it.
pub(super) struct Joined {
    worker: Worker,
    reply: Result<v1::PrepareRunReply, LinkError>,
}

/// Waits for the worker that is being prepared, if one is; for ever if none is.
pub(super) async fn joined(joining: &mut Option<Joining>) -> Joined {
    match joining {
        Some(joining) => joining.await,
        None => std::future::pending().await,
    }
}

impl Run {
    /// Waits for a worker of the fleet to fall silent.
    pub(super) fn watch_workers(&self) -> Pin<Box<dyn Future<Output = (WorkerId, Duration)> + Send>> {
        let (workers, ids) = (self.ctx.workers.clone(), self.fleet.ids());
        let timeout = self.ctx.plan.control.worker_timeout;
        Box::pin(async move { workers.lost(&ids, timeout).await })
    }

    /// A worker fell silent in a phase: the others take over, or the phase waits for one, or it ends.
    pub(super) async fn lose(
        &mut self,
        live: &mut Live,
        id: WorkerId,
        lasted: Duration,
    ) -> Result<Option<Over>, Trouble> {
        let why = silence(lasted);
        if !self.ctx.apart {
            self.fleet.lose(id, Some(live.index));
            return Ok(Some(Over::Stop(self.ctx.worker_lost(id, &why).await?)));
        }
        let heard = live.elapsed().saturating_sub(lasted);
        let stopped = heard + self.ctx.plan.control.worker_timeout + BEYOND;
        self.note_lost(live, id, &why).await?;
        // It may be alive and only unheard: then it is told to stop, and need not be waited for.
        let at = stopped.max(live.elapsed() + LEAD);
        let stop = self.idles(live, id, at);
        // The others do not wait for its answer.
        let (_, divided) = tokio::join!(stop, self.divide(live, at, None));
        divided?;
        Ok(None)
    }

    /// Gives a worker outside the fleet nothing to send from `at` on. `true` = it heard that: a heartbeat may have been on
    /// its way for long, and proves nothing.
    fn idles(&mut self, live: &Live, id: WorkerId, at: Duration) -> impl Future<Output = bool> + use<> {
        let (ctx, index, loaded) = (Arc::clone(&self.ctx), live.index, live.is_loaded());
        let epoch = self.fleet.next_epoch();
        async move {
            let nothing = v1::Segment { stripe_count: 1, stripes: Vec::new() };
            let told = !loaded || ctx.load.assign(id, index, ns(at), nothing, epoch).await.is_ok();
            tracing::debug!(worker = %id, told, "a worker outside the fleet was given nothing");
            told
        }
    }

    pub(super) async fn note_lost(
        &mut self,
        live: &mut Live,
        id: WorkerId,
        why: &str,
    ) -> Result<(), Trouble> {
        let Some(member) = self.fleet.lose(id, Some(live.index)) else { return Ok(()) };
        let left = match self.fleet.len() {
            0 => "none is left; the phase waits for one to come back".to_owned(),
            left => format!("{} left", count(left, "load-worker")),
        };
        let detail =
            format!("{why}; {}, {left}", count(member.strength.load_threads as usize, "load thread"));
        self.note_worker(id, "lost", detail).await?;
        if self.fleet.is_empty() {
            live.deserted.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    pub(super) async fn note_worker(
        &self,
        id: WorkerId,
        change: &str,
        detail: String,
    ) -> Result<(), Trouble> {
        let (worker, change) = (id.to_string(), change.to_owned());
        let life = self.fleet.life(id);
        let event = Event::WorkerChanged { worker, change, detail, clock: None, life };
        Ok(self.ctx.history.append(event).await?)
    }

    /// Gives every worker its part of the running phase, from `at` on. `last`: who gets something that others must have
    /// given up before.
    pub(super) async fn divide(
        &mut self,
        live: &mut Live,
        at: Duration,
        last: Option<WorkerId>,
    ) -> Result<(), Trouble> {
        let mut at = at;
        for _ in 0..ROUNDS {
            if !live.is_loaded() || self.fleet.is_empty() {
                return Ok(());
            }
            let Division { epoch, parts, shares } = self.fleet.divide();
            let (late, early): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(id, _)| Some(*id) == last);
            let mut failed = self.assign(live, at, epoch, early).await;
            if failed.is_empty() {
                failed = self.assign(live, at, epoch, late).await;
            }
            if failed.is_empty() {
                live.deserted = None;
                let message = format!(
                    "the load is divided anew among {} from {} s of the phase on",
                    count(self.fleet.len(), "load-worker"),
                    plain(at.as_secs_f64())
                );
                self.fleet.is_news(&shares);
                let divided = Event::LoadDivided { phase: live.index, epoch, from_ns: ns(at), shares };
                self.ctx.history.append_all(vec![Event::Notice { message }, divided]).await?;
                return Ok(());
            }
            let mut ahead = 2 * LEAD;
            for (id, error) in failed {
                if matches!(error, LinkError::Lost { .. }) {
                    self.note_lost(live, id, &error.to_string()).await?;
                    // Who did not answer may send what it has until its lease ends.
                    ahead = self.ctx.plan.control.worker_timeout + BEYOND;
                } else {
                    tracing::warn!(worker = %id, %error, "a division came too late and is made anew");
                }
            }
            at = live.elapsed() + ahead;
        }
        let message =
            "the load could not be divided anew among the load-workers; it is tried again".to_owned();
        self.ctx.history.append(Event::Notice { message }).await?;
        Ok(())
    }

    /// Divides the load of a phase that is about to begin: the division's number, and each worker's arrivals.
    pub(super) async fn divided(
        &mut self,
        phase: u32,
    ) -> Result<(u32, Vec<(WorkerId, v1::Segment)>), Trouble> {
        let Division { epoch, parts, shares } = self.fleet.divide();
        if self.ctx.apart && self.fleet.is_news(&shares) {
            self.ctx.history.append(Event::LoadDivided { phase, epoch, from_ns: 0, shares }).await?;
        }
        Ok((epoch, parts))
    }

    async fn assign(
        &self,
        live: &Live,
        at: Duration,
        epoch: u32,
        parts: Vec<(WorkerId, v1::Segment)>,
    ) -> Vec<(WorkerId, LinkError)> {
        let told = parts.into_iter().map(|(id, segment)| async move {
            (id, self.ctx.load.assign(id, live.index, ns(at), segment, epoch).await)
        });
        join_all(told).await.into_iter().filter_map(|(id, told)| Some((id, told.err()?))).collect()
    }

    /// Whether some worker of the fleet is another life than the one that was prepared.
    pub(super) fn is_restarted(&self) -> bool {
        let heard = self.ctx.workers.heard(self.ctx.plan.control.worker_timeout);
        let run = self.ctx.load.run();
        heard
            .iter()
            .any(|worker| worker.beat.state() != State::Leaving && self.fleet.restarted(worker, run, STALE))
    }

    /// Looks at what heartbeats say of workers that were cut off or restarted; `true` = the fleet is another.
    pub(super) async fn look_at_workers(&mut self, live: &mut Live) -> Result<bool, Trouble> {
        let run = self.ctx.load.run().to_vec();
        let mut changed = false;
        for worker in self.ctx.workers.heard(self.ctx.plan.control.worker_timeout) {
            let beat = &worker.beat;
            let present = self.fleet.contains(worker.id);
            let cut_off = beat.state() == State::CutOff && beat.run == run;
            if beat.state() == State::Leaving {
                changed |= present && self.part_with(live, &worker).await?;
            } else if present && self.fleet.restarted(&worker, &run, STALE) {
                self.note_lost(live, worker.id, "it was started anew").await?;
                self.divide(live, live.elapsed() + LEAD, None).await?;
                changed = true;
            } else if present && cut_off && beat.epoch == self.fleet.division() {
                self.note_worker(worker.id, "cut off", "it sent nothing for a while".to_owned()).await?;
                self.divide(live, live.elapsed() + LEAD, None).await?;
                changed = true;
            } else if !present
                && beat.run == run
                && let Some(member) = self.fleet.lost_life(worker.id, &beat.incarnation).cloned()
                && self.idles(live, worker.id, live.elapsed() + LEAD).await
            {
                self.fleet.admit(Member { admitted: Instant::now(), ..member });
                self.note_worker(worker.id, "back", "it was cut off from the bus".to_owned()).await?;
                self.replay(live, worker.id).await;
                self.divide(live, live.elapsed() + JOIN_LEAD, Some(worker.id)).await?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// A worker is about to end: others get its part from where it gives it up. `false` = it did not answer, and is lost
    /// when it falls silent.
    async fn part_with(&mut self, live: &mut Live, worker: &Worker) -> Result<bool, Trouble> {
        let (id, at) = (worker.id, live.elapsed() + JOIN_LEAD);
        if !self.idles(live, id, at).await || self.fleet.leave(id, live.index).is_none() {
            return Ok(false);
        }
        let left = count(self.fleet.len(), "load-worker");
        self.note_worker(id, "left", format!("it was told to end; {left} left")).await?;
        if self.fleet.is_empty() {
            live.deserted.get_or_insert_with(Instant::now);
        }
        self.divide(live, at, None).await?;
        Ok(true)
    }

    /// A lost worker that is heard again when the phase ends is asked for what it counted as everybody else.
    pub(super) fn call_back(&mut self, phase: u32) {
        for worker in self.ctx.workers.alive(self.ctx.plan.control.worker_timeout) {
            let same =
                |member: &&Member| member.id == worker.id && member.incarnation == worker.beat.incarnation;
            let found = self.fleet.lost_in(phase).find(same).cloned();
            if let Some(member) = found {
                self.fleet.admit(member);
            }
        }
    }

    /// Tells a worker all changes of the phase; those that it has taken change nothing.
    pub(super) async fn replay(&self, live: &Live, id: WorkerId) {
        if let Err(error) = self.catch_up(live, id).await {
            tracing::warn!(worker = %id, %error, "a worker did not take an earlier change of the phase");
        }
    }

    /// Begins to prepare a worker that is there and has no part in the run yet, if there is one.
    pub(super) fn begin_join(&self, live: &Live) -> Option<Joining> {
        let ctx = Arc::clone(&self.ctx);
        let alive = ctx.workers.alive(ctx.plan.control.worker_timeout);
        let worker = alive.into_iter().find(|worker| {
            !self.fleet.contains(worker.id)
                && !live.shunned.contains(&worker.id)
                && worker.beat.state() == State::Idle
        })?;
        let detours = self.bystanders.detours();
        Some(Box::pin(async move {
            let segment = v1::Segment { stripe_count: 2, stripes: vec![0] };
            let reply = ctx.load.prepare(worker.id, ctx.bundle(&detours), segment, false).await;
            Joined { worker, reply }
        }))
    }

    /// Takes a prepared worker into the running phase.
    pub(super) async fn admit(&mut self, live: &mut Live, joined: Joined) -> Result<(), Trouble> {
        let Joined { worker, reply } = joined;
        let id = worker.id;
        let reply = match reply {
            Ok(reply) if reply.problems.is_empty() && reply.scenarios == self.steps => reply,
            other => {
                let why = match other {
                    Err(error) => error.to_string(),
                    Ok(reply) if reply.problems.is_empty() => {
                        "it reads other steps from the same guests".to_owned()
                    }
                    Ok(reply) => {
                        let texts = reply.problems.iter().map(|problem| problem.message.as_str());
                        texts.collect::<Vec<_>>().join("; ")
                    }
                };
                live.shunned.push(id);
                let message = format!("load-worker {id} cannot join the run: {why}");
                self.ctx.history.append(Event::Notice { message }).await?;
                return Ok(());
            }
        };
        self.ctx.history.append(worker.joined(&reply)).await?;
        self.fleet.admit(Member::new(&worker, &reply));
        if live.is_loaded() {
            let own =
                self.fleet.divide().parts.into_iter().find(|(of, _)| *of == id).map(|(_, segment)| segment);
            let start = v1::StartPhase {
                phase: live.index,
                t0_unix_ns: live.t0_unix_ns,
                duration_ns: ns(live.phase.duration),
                segment: own,
                joins: true,
                ..v1::StartPhase::default()
            };
            if let Err(error) = self.ctx.load.start(id, start).await {
                return self.note_lost(live, id, &error.to_string()).await;
            }
            self.replay(live, id).await;
        }
        self.divide(live, live.elapsed() + JOIN_LEAD, Some(id)).await
    }

    /// Why the phase ends, when nobody has been there to send its load for too long.
    pub(super) async fn deserted(&self, live: &Live) -> Result<Option<Over>, Trouble> {
        let Some(since) = live.deserted.filter(|since| since.elapsed() > RETURN) else { return Ok(None) };
        let text = format!(
            "lost service load-worker: the last one was lost and none came back within {} s",
            plain(since.elapsed().as_secs_f64())
        );
        let event =
            Event::StopRequested { by: "lost service load-worker".to_owned(), exit_code: code::ABORTED };
        self.ctx.history.append(event).await?;
        Ok(Some(Over::Stop(Reason::new(code::ABORTED, text))))
    }

    /// Between phases: drops who is gone, takes in who is there, and waits for somebody if nobody is.
    pub(super) async fn muster(&mut self) -> Result<(), Trouble> {
        if !self.ctx.apart {
            return Ok(());
        }
        let ctx = Arc::clone(&self.ctx);
        let timeout = ctx.plan.control.worker_timeout;
        let until = Instant::now() + RETURN;
        loop {
            let alive = ctx.workers.alive(timeout);
            for id in self.fleet.ids() {
                let worker = alive.iter().find(|worker| worker.id == id);
                let why = match worker {
                    None => "no heartbeat",
                    Some(worker) if self.fleet.restarted(worker, ctx.load.run(), STALE) => {
                        "it was started anew"
                    }
                    Some(_) => continue,
                };
                self.fleet.lose(id, None);
                self.note_worker(id, "lost", format!("{why}, between phases")).await?;
            }
            let new: Vec<Worker> =
                alive.into_iter().filter(|worker| !self.fleet.contains(worker.id)).collect();
            if !new.is_empty() {
                self.prepare_workers(&new, false).await?;
            }
            if !self.fleet.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                let text = format!(
                    "lost service load-worker: none was there within {} s before the phase",
                    plain(RETURN.as_secs_f64())
                );
                return Err(Trouble::Reason(Reason::new(code::ABORTED, text)));
            }
            let wait = async {
                tokio::time::sleep(LEAD).await;
                Ok(())
            };
            super::during(&mut self.inbox, &ctx, &[], "waiting for a load-worker", wait).await?;
        }
    }
}
