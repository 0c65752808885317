//! A prepared run: its load threads, the phase that is running, and the way of its samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, Replier, SchedulerClock};
use plan::Plan;
use plan::model::{LoadModel, Phase};
use protocol::v1;
use tokio::sync::mpsc;

use super::Error;
use super::health::{HealthChecks, Turned};
use super::phases::{PhaseParts, Shape};
use super::publisher::Publisher;
use super::running::{Running, add, running};
use crate::engine::ThreadHandle;
use crate::record::{Interval, Owner, RunSpool};
use crate::schedule::{Share, Timeline};
use crate::spec::{Change, EngineCommand, EngineEvent, PhaseSpec};

/// How often a flip that was asked for is looked after.
const FLIP_POLL: Duration = Duration::from_millis(1);
/// How long after a refusal the log is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long load threads may take to end.
const JOIN: Duration = Duration::from_secs(10);
/// How long the last samples of an ended run are tried; then they stay in their spool.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What stays the same for the whole run.
pub(super) struct Setting {
    pub(super) plan: Arc<Plan>,
    pub(super) phases: Arc<[Phase]>,
    pub(super) segment: v1::Segment,
    pub(super) weights: Vec<f64>,
    pub(super) parts: Vec<PhaseParts>,
    /// Per scenario.
    pub(super) guests: Vec<GuestName>,
    pub(super) reply: v1::PrepareRunReply,
}

/// A guest as faults name it.
pub(super) struct GuestName {
    pub(super) guest: String,
    pub(super) digest: String,
}

/// What a run hears of.
#[derive(Debug)]
pub(super) enum Heard {
    /// A load thread's event.
    Thread(EngineEvent),
    /// An endpoint that is healthy now, or is not any more.
    Health(Turned),
}

/// A run on this worker.
pub(super) struct Active {
    pub(super) setting: Setting,
    clock: SchedulerClock,
    spool: RunSpool,
    pub(super) publisher: Publisher,
    pub(super) threads: Vec<ThreadHandle>,
    pub(super) health: HealthChecks,
    events: mpsc::Receiver<EngineEvent>,
    faults_lost: Arc<AtomicU64>,
    pub(super) phase: Option<Running>,
    /// The latest division of the run's load that was heard of.
    pub(super) epoch: u32,
    /// Ask the log again only then.
    retry_at: Option<Instant>,
    /// A flip was asked for and not yet made by all.
    asked: bool,
    /// The sequence whose batches are with the publisher, and whether it is the phase's last.
    sending: Option<(u64, bool)>,
}

impl Active {
    pub(super) fn new(
        setting: Setting,
        clock: SchedulerClock,
        spool: RunSpool,
        threads: Vec<ThreadHandle>,
        health: HealthChecks,
        events: mpsc::Receiver<EngineEvent>,
        faults_lost: Arc<AtomicU64>,
    ) -> Self {
        let publisher = Publisher::new(spool.owner());
        Self {
            setting,
            clock,
            spool,
            publisher,
            threads,
            health,
            events,
            faults_lost,
            phase: None,
            epoch: 0,
            retry_at: None,
            asked: false,
            sending: None,
        }
    }

    pub(super) const fn owner(&self) -> Owner {
        self.spool.owner()
    }

    /// What `PrepareRun` is answered.
    pub(super) const fn reply(&self) -> &v1::PrepareRunReply {
        &self.setting.reply
    }

    /// State and phase as heartbeats tell them.
    pub(super) fn state(&self) -> (v1::heartbeat::State, u32) {
        use v1::heartbeat::State;
        match &self.phase {
            Some(phase) if phase.cut_off && !phase.over => (State::CutOff, phase.index),
            Some(phase) if !phase.over => {
                (if phase.ending { State::Ending } else { State::Running }, phase.index)
            }
            Some(phase) => (State::Ready, phase.index),
            None => (State::Ready, 0),
        }
    }

    /// Begins a phase; `false` = it had begun: the same command again changes nothing.
    pub(super) fn start(&mut self, command: &v1::StartPhase) -> Result<bool, String> {
        let index = command.phase;
        if let Some(phase) = &self.phase {
            if phase.index == index {
                return Ok(false);
            }
            if !phase.over {
                return Err(format!("phase {index} cannot begin: phase {} has not ended", phase.index));
            }
        }
        let Some(phase) = self.setting.phases.get(index as usize) else {
            let have = self.setting.phases.len();
            return Err(format!("phase {index} does not exist: the plan has {have}"));
        };
        if let Some(segment) = &command.segment {
            self.setting.segment = segment.clone();
        }
        self.epoch = self.epoch.max(command.epoch);
        let t0 = self.clock.monotonic(command.t0_unix_ns);
        let duration = Duration::from_nanos(command.duration_ns);
        let shape = Shape {
            segment: &self.setting.segment,
            threads: self.threads.len() as u32,
            weights: &self.setting.weights,
            scenarios: &self.setting.parts,
        };
        let own = |spec: PhaseSpec| {
            if command.joins { PhaseSpec { share: Share::none(), ..spec } } else { spec }
        };
        let whole = own(shape.whole(index, phase, t0, duration));
        let wanted = Timeline::new(&whole, self.setting.plan.seed);
        let specs: Vec<PhaseSpec> = shape.specs(index, phase, t0, duration).into_iter().map(own).collect();
        let capacity = specs.iter().map(|spec| spec.capacity).collect();
        self.health.phase(index);
        for (thread, spec) in self.threads.iter().zip(specs) {
            thread.send(EngineCommand::StartPhase(Box::new(spec)));
        }
        self.phase = Some(Running {
            index,
            t0,
            ending: false,
            alone: false,
            over: false,
            wanted,
            ticks: 0,
            merged: 1,
            ended: std::collections::BTreeSet::new(),
            assigned: 0,
            nothing_from_ns: None,
            cut_off: false,
            capacity,
            said: v1::ArrivalCounts::default(),
            totals: v1::ArrivalCounts::default(),
            last_sequence: 0,
            changes: 0,
            waiting: Vec::new(),
        });
        Ok(true)
    }

    /// Changes the running phase. A numbered change is taken once, and after those before it.
    pub(super) fn change(&mut self, command: &v1::ChangePhase) -> Result<(), String> {
        use v1::change_phase::Change as Asked;
        let phase = running(&mut self.phase, command.phase)?;
        let v1::ChangePhase { number, .. } = *command;
        if (1..=phase.changes).contains(&number) {
            return Ok(());
        }
        if number > phase.changes + 1 {
            let next = phase.changes + 1;
            return Err(format!("change {number} of phase {} came before change {next}", phase.index));
        }
        phase.changes = phase.changes.max(number);
        let change = match command.change {
            Some(Asked::Rate(rate)) => Change::Rate(rate),
            Some(Asked::Pause(_)) => Change::Pause,
            Some(Asked::Resume(_)) => Change::Resume,
            Some(Asked::ExtendToNs(ns)) => Change::ExtendTo(ns),
            Some(Asked::RampDownNs(ns)) => Change::RampDown(ns),
            Some(Asked::Factor(factor)) => Change::Factor(factor),
            None => {
                return Err(
                    "the change is empty: expected a rate, pause, resume, extension, ramp-down or factor"
                        .to_owned(),
                );
            }
        };
        if let Change::Rate(users) = change
            && let Some(Phase { model: LoadModel::Closed { .. }, max_users, .. }) =
                self.setting.phases.get(command.phase as usize)
            && users > f64::from(*max_users)
        {
            return Err(format!(
                "{users} users are more than the phase has: set its `max-users` higher than {max_users}"
            ));
        }
        let at_offset_ns = command.at_offset_ns;
        phase.wanted.change(at_offset_ns, change);
        for thread in &self.threads {
            thread.send(EngineCommand::Change { phase: command.phase, at_offset_ns, change });
        }
        Ok(())
    }

    /// Ends the phase; answered by [`Self::turn`] when its last batch is durable, at once when it is over already.
    pub(super) fn end(&mut self, command: &v1::EndPhase, replier: Replier<v1::EndPhase>) {
        let phase = match &mut self.phase {
            Some(phase) if phase.index == command.phase => phase,
            _ => return replier.reply(Err(format!("phase {} is not running", command.phase))),
        };
        if phase.over {
            return replier.reply(Ok(phase.summary()));
        }
        phase.waiting.push(replier);
        if !std::mem::replace(&mut phase.ending, true) {
            let grace = Duration::from_nanos(command.grace_ns);
            for thread in &self.threads {
                thread.send(EngineCommand::EndPhase { phase: command.phase, grace, drains: false });
            }
        }
    }

    /// What is heard next; `None`: all load threads have ended.
    pub(super) async fn heard(&mut self) -> Option<Heard> {
        tokio::select! {
            event = self.events.recv() => event.map(Heard::Thread),
            turned = self.health.next() => Some(Heard::Health(turned)),
        }
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// A load thread cannot go on.
    pub(super) fn hear(&mut self, heard: Heard) -> Result<(), Error> {
        let event = match heard {
            Heard::Thread(event) => event,
            Heard::Health(turned) => {
                self.note_health(turned);
                return Ok(());
            }
        };
        match event {
            EngineEvent::Started { thread, phase } => tracing::debug!(thread, phase, "phase begun"),
            EngineEvent::PhaseEnded { thread, phase, arrivals } => {
                if let Some(running) = self.phase.as_mut().filter(|p| p.index == phase)
                    && running.ended.insert(thread)
                {
                    add(&mut running.said, &arrivals);
                }
            }
            EngineEvent::CutOff { phase, epoch, offset_ns, .. } => self.cut_off(phase, epoch, offset_ns),
            EngineEvent::GuestFault {
                phase,
                scenario,
                kind,
                message,
                offset_ns,
                operations_cancelled,
                ..
            } => {
                let Owner { run, worker, .. } = self.spool.owner();
                let named = self.setting.guests.get(scenario as usize);
                self.publisher.queue_fault(v1::GuestFault {
                    run: run.to_bytes(),
                    worker: worker.to_bytes(),
                    phase,
                    scenario,
                    guest: named.map(|n| n.guest.clone()).unwrap_or_default(),
                    digest: named.map(|n| n.digest.clone()).unwrap_or_default(),
                    kind,
                    message,
                    offset_ns,
                    operations_cancelled,
                });
            }
            EngineEvent::Ejection { thread, target, endpoint, ejected } => {
                self.note_ejection(thread, target, endpoint, ejected);
            }
            EngineEvent::Fatal { thread, message } => return Err(Error::LoadThread { thread, message }),
        }
        Ok(())
    }

    /// When [`Self::turn`] has something to do next; `None` = only after something else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        if let Some(at) = self.retry_at {
            return Some(at);
        }
        let now = Instant::now();
        if !self.publisher.is_empty() {
            return Some(now);
        }
        let phase = self.phase.as_ref().filter(|p| !p.over)?;
        if self.asked {
            return Some(now + FLIP_POLL);
        }
        if phase.ended.len() == self.threads.len() {
            return Some(now);
        }
        Some(phase.t0 + self.setting.plan.load.interval * (phase.ticks + 1))
    }

    /// Moves the samples on: asks for flips at interval ends, publishes what was counted, and answers `EndPhase` when
    /// the last of it is durable.
    ///
    /// # Errors
    /// A load thread has ended without a word.
    pub(super) async fn turn(&mut self, bus: &Bus) -> Result<(), Error> {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.retry_at = None;
        if !self.send(bus).await {
            return Ok(());
        }
        let Some(phase) = self.phase.as_mut().filter(|p| !p.over) else { return Ok(()) };
        if self.asked && self.spool.flipped() {
            self.asked = false;
            if let Some(interval) = self.spool.read() {
                self.take(interval);
                self.send(bus).await;
                return Ok(());
            }
        }
        let all_ended = phase.ended.len() == self.threads.len();
        if !all_ended && let Some(thread) = self.spool.closed_thread() {
            let message = "it panicked; the log has its message".to_owned();
            return Err(Error::LoadThread { thread, message });
        }
        let ticks = phase.ticks_at(now, self.setting.plan.load.interval);
        if !self.asked && (all_ended || ticks > phase.ticks) && self.spool.ask_flip() {
            // Intervals that went by while the log was full were counted into the same halves.
            phase.merged = ticks.saturating_sub(phase.ticks).max(1);
            phase.ticks = ticks.max(phase.ticks);
            self.asked = true;
            for thread in &self.threads {
                thread.wake();
            }
        }
        Ok(())
    }

    /// Makes an interval into batches.
    fn take(&mut self, interval: Interval) {
        let Owner { run, worker, .. } = self.spool.owner();
        let mut head =
            v1::SampleBatch { run: run.to_bytes(), worker: worker.to_bytes(), ..v1::SampleBatch::default() };
        if let Some(phase) = &mut self.phase {
            let (start, end) = (interval.start_ns(), interval.end_ns());
            let wanted = phase.wanted.take_due(end);
            let seconds = end.saturating_sub(start) as f64 / 1e9;
            head.wanted_rate = if seconds > 0.0 { wanted as f64 / seconds } else { 0.0 };
            head.merged_intervals = phase.merged;
            phase.last_sequence = interval.sequence;
            let before = phase.totals;
            add(&mut phase.totals, &interval.arrivals);
            // Gauges are not added up: the interval's end has the present ones.
            phase.totals.waiting = interval.arrivals.waiting;
            phase.totals.in_flight = interval.arrivals.in_flight;
            tracing::trace!(?before, now = ?phase.totals, "interval");
        }
        let sequence = interval.sequence;
        self.sending = Some((sequence, interval.last));
        self.publisher.queue(sequence, interval.into_batches(self.spool.layout(), &head));
    }

    /// Sends what waits; frees the halves whose batches are durable. `false` = the log refuses for now.
    async fn send(&mut self, bus: &Bus) -> bool {
        if !self.publisher.send(bus).await {
            self.retry_at = Some(Instant::now() + RETRY);
            return false;
        }
        if let Some((sequence, last)) = self.sending.take() {
            self.spool.clear(sequence);
            if last && let Some(phase) = &mut self.phase {
                phase.close();
            }
        }
        true
    }

    /// Ends the run: threads end, what they counted is published, the spool goes. What the log does not take stays in the
    /// spool for the next life of this worker.
    pub(super) async fn finish(mut self, bus: &Bus) {
        self.health.finish().await;
        let threads = std::mem::take(&mut self.threads);
        join(threads).await;
        let lost = self.faults_lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "guest faults or ejections came faster than they could be recorded");
        }
        while let Ok(event) = self.events.try_recv() {
            if let Err(error) = self.hear(Heard::Thread(event)) {
                tracing::error!(%error, "found at the end of the run");
            }
        }
        let until = Instant::now() + LAST_WORDS;
        let mut asked = false;
        loop {
            if self.send(bus).await {
                match self.spool.read() {
                    Some(interval) if interval.belongs_to_no_phase() => self.spool.clear(interval.sequence),
                    Some(interval) => self.take(interval),
                    // The threads are gone, and with this their open halves are quiet.
                    None if !std::mem::replace(&mut asked, true) => _ = self.spool.ask_flip(),
                    None => break,
                }
            } else if Instant::now() < until {
                tokio::time::sleep(RETRY).await;
            } else {
                let spool = self.spool.path().display();
                tracing::error!(%spool, "the last samples were not recorded; they are published from their spool when this worker starts again");
                return;
            }
        }
        if let Err(error) = self.spool.remove() {
            tracing::warn!(%error, spool = %self.spool.path().display(), "the spool cannot be removed");
        }
    }
}

/// Drops threads and spool of a run that does not come about.
pub(super) async fn discard(threads: Vec<ThreadHandle>, spool: &RunSpool) {
    join(threads).await;
    if let Err(error) = spool.remove() {
        tracing::warn!(%error, spool = %spool.path().display(), "the spool cannot be removed");
    }
}

async fn join(threads: Vec<ThreadHandle>) {
    let joining = tokio::task::spawn_blocking(move || threads.into_iter().for_each(ThreadHandle::join));
    if tokio::time::timeout(JOIN, joining).await.is_err() {
        tracing::error!(after = ?JOIN, "load threads did not end in time and are left behind");
    }
}
