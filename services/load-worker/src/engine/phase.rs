//! Phases: beginning, changing, ending.

use super::catch_up::CatchUp;
use super::clock::nanos;
use super::scenario::BoundFeed;
use super::thread::{LoadThread, Timer};
use crate::schedule::Timeline;
use crate::spec::{Assignment, Change, EngineEvent, PhaseSpec};
use plan::model::LoadModel;

/// How often the wanted numbers of users and transports are looked at, nanoseconds.
const FOLLOW: u64 = 10_000_000;

/// A phase in progress.
pub(super) struct Phase {
    pub(super) spec: Box<PhaseSpec>,
    pub(super) timeline: Timeline,
    catch_up: CatchUp,
    /// On the thread's clock.
    pub(super) t0: u64,
    /// Operations in progress at most, at the last look.
    pub(super) users: u32,
    /// In closed models: each user's state.
    pub(super) closed: Option<Vec<ClosedUser>>,
    /// Pause after each turn beside the guest's, nanoseconds.
    pub(super) think: u64,
    /// No arrival comes any more; what waits goes on waiting, unless it drains.
    pub(super) stopped: bool,
    /// What waits may begin although it is stopped, within the grace.
    drains: bool,
    /// When what is in progress is cancelled; only after `stopped`.
    grace_ends: u64,
    /// The grace is over: nothing is sent any more.
    pub(super) cut: bool,
    /// When to look at the wanted numbers again.
    follow_at: u64,
    /// Transports wanted at the last look.
    connections: u32,
    /// The latest end of the lease that this phase was cut off by, or that was known before it; on the lease's own clock.
    lapsed: u64,
    /// Of the latest assignment in this phase; 0 = that which it began with.
    epoch: u32,
}

/// A user of a closed model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClosedUser {
    /// Its next turn, from 0.
    turn: u64,
    /// It has a turn, waits for one, or thinks.
    busy: bool,
}

impl Phase {
    /// Nanoseconds since t0; 0 before it.
    pub(super) const fn offset(&self, now: u64) -> u64 {
        now.saturating_sub(self.t0)
    }

    /// Whether what waits may begin.
    pub(super) const fn begins_waiting(&self) -> bool {
        !self.stopped || self.drains
    }

    /// Up to which time of the schedule arrivals are to be taken; `None` = none comes for now.
    pub(super) fn takes_until(&mut self, now: u64) -> Option<u64> {
        if self.stopped {
            return None;
        }
        let oldest = self.timeline.peek()?;
        Some(self.catch_up.until(self.t0.saturating_add(oldest.intended_ns), now))
    }

    /// When the next arrival is to be taken.
    pub(super) fn next_taken_at(&mut self) -> Option<u64> {
        if self.stopped {
            return None;
        }
        let next = self.timeline.peek()?;
        Some(self.catch_up.due(self.t0.saturating_add(next.intended_ns)))
    }
}

impl LoadThread {
    /// Begins a phase: guests first, then transports, so that both are there at t0.
    pub(super) fn start_phase(&mut self, spec: Box<PhaseSpec>) {
        if self.phase.is_some() {
            let old = self.phase.as_ref().map_or(0, |phase| phase.spec.phase);
            self.fatal(format!("phase {} was begun while phase {old} is in progress", spec.phase));
            return;
        }
        let now = self.clock.now();
        if let Err(message) = self.prepare_guests(&spec) {
            self.fatal(message);
            return;
        }
        let t0 = self.clock.at(spec.t0);
        let timeline = Timeline::new(&spec, self.spec.seed);
        let think = if let LoadModel::Closed { think, .. } = &spec.model { nanos(*think) } else { 0 };
        let closed = matches!(spec.model, LoadModel::Closed { .. })
            .then(|| vec![ClosedUser::default(); spec.capacity as usize]);
        let connections = if matches!(spec.model, LoadModel::None) { 0 } else { timeline.connections_at(0) };
        let (number, users) = (spec.phase, spec.users);
        self.recorder.begin_phase(number, 0);
        self.active = 0;
        self.waiting = 0;
        self.unbegun = 0;
        self.phase = Some(Phase {
            spec,
            timeline,
            catch_up: CatchUp::default(),
            t0,
            users,
            closed,
            think,
            stopped: false,
            drains: false,
            grace_ends: 0,
            cut: false,
            follow_at: now,
            connections,
            lapsed: self.spec.lease.term().lapsed,
            epoch: 0,
        });
        for target in &mut self.targets {
            target.begin_phase();
        }
        self.choose_ways(number);
        self.hold(connections);
        (self.events)(EngineEvent::Started { thread: self.spec.index, phase: number });
    }

    /// Makes instances where the configuration or the number of users asks for it; keeps the others with their state.
    fn prepare_guests(&mut self, spec: &PhaseSpec) -> Result<(), String> {
        for (index, scenario_spec) in self.spec.scenarios.iter().enumerate() {
            let (Some(scenario), Some(phase)) = (self.scenarios.get_mut(index), spec.scenarios.get(index))
            else {
                return Err(format!(
                    "phase {} has no configuration for scenario {}",
                    spec.phase, scenario_spec.name
                ));
            };
            let keep = scenario.guest.is_some()
                && !scenario.spoiled
                && scenario.config == phase.config
                && spec.capacity <= scenario.capacity;
            if !keep && spec.capacity > 0 {
                let fail = |message: String| format!("scenario {}: {message}", scenario_spec.name);
                let make = || {
                    scenario_spec
                        .guest
                        .instantiate(&phase.config, self.spec.seed, spec.capacity)
                        .map_err(fail)
                };
                let mut guest = make()?;
                // A first call touches memory that no other has: better now than at the first arrivals. A guest that
                // breaks on having nothing to do breaks on arrivals, too, and is told of then.
                if guest.step(0, &[], &[], &[]).is_err() {
                    guest = make()?;
                }
                let feeds =
                    guest.setup().feeds.iter().map(|feed| BoundFeed::bind(feed, &scenario_spec.feeds));
                scenario.feeds = feeds.collect::<Result<_, _>>().map_err(fail)?;
                scenario.adopt(guest, &phase.config, spec.capacity);
            }
            scenario.reset_users(spec.capacity);
        }
        Ok(())
    }

    /// Applies a change; those of another phase are ignored.
    pub(super) fn change_phase(&mut self, phase: u32, at_offset_ns: u64, change: Change) {
        if let Some(current) = self.phase.as_mut().filter(|current| current.spec.phase == phase) {
            current.timeline.change(at_offset_ns, change);
            current.follow_at = 0;
        }
    }

    /// Changes which numbers are this thread's own; another phase's is ignored.
    pub(super) fn reassign(&mut self, phase: u32, at_offset_ns: u64, assignment: &Assignment) {
        if let Some(current) = self.phase.as_mut().filter(|current| current.spec.phase == phase) {
            current.timeline.reassign(at_offset_ns, assignment);
            current.epoch = assignment.epoch;
            current.follow_at = 0;
        }
    }

    /// Gives up what is due after the end of the lease: others may have it. Looked at before any arrival is taken.
    pub(super) fn obey_lease(&mut self, now: u64) {
        let term = self.spec.lease.term();
        let base = self.lease_base;
        let Some(phase) = self.phase.as_mut().filter(|phase| !phase.stopped) else { return };
        // Ends come in order: one that this phase knows is not obeyed twice, and none before it.
        let ended = if term.lapsed > phase.lapsed {
            term.lapsed
        } else if now > base.saturating_add(term.until) && term.until > phase.lapsed {
            term.until
        } else {
            return;
        };
        phase.lapsed = ended;
        let offset_ns = phase.offset(base.saturating_add(ended));
        let epoch = phase.epoch;
        phase.timeline.reassign(offset_ns, &Assignment::nothing(epoch));
        let phase = phase.spec.phase;
        (self.events)(EngineEvent::CutOff { thread: self.spec.index, phase, epoch, offset_ns });
    }

    /// Follows the timeline's numbers of users and transports. Returns when to look again.
    pub(super) fn follow(&mut self, now: u64) -> Option<u64> {
        let phase = self.phase.as_mut()?;
        if phase.stopped {
            return None;
        }
        if now < phase.t0 {
            return Some(phase.t0);
        }
        if now < phase.follow_at {
            return Some(phase.follow_at);
        }
        phase.follow_at = now + FOLLOW;
        let offset = phase.offset(now);
        let connections = phase.timeline.connections_at(offset);
        let loaded = !matches!(phase.spec.model, LoadModel::None);
        let changed = loaded && connections != phase.connections;
        phase.connections = connections;
        let idle: Vec<u32> = match &phase.closed {
            Some(users) => {
                let idle = |user: &u32| users.get(*user as usize).is_some_and(|user| !user.busy);
                phase.timeline.active_members(offset).filter(idle).collect()
            }
            None => Vec::new(),
        };
        phase.users = phase.timeline.limit_at(offset);
        if changed {
            self.hold(connections);
        }
        for user in idle {
            self.closed_turn(user, now);
        }
        Some(now + FOLLOW)
    }

    /// In a closed model a user whose turn is over takes the next one, unless there are to be fewer users now.
    pub(super) fn closed_user_free(&mut self, user: u32, now: u64) {
        let Some(phase) = self.phase.as_mut() else { return };
        let Some(state) = phase.closed.as_mut().and_then(|closed| closed.get_mut(user as usize)) else {
            return;
        };
        state.busy = false;
        let offset = now.saturating_sub(phase.t0);
        if phase.timeline.is_active_member(user, offset) {
            self.closed_turn(user, now);
        }
    }

    fn closed_turn(&mut self, user: u32, now: u64) {
        let Some(phase) = self.phase.as_mut().filter(|phase| !phase.stopped && now >= phase.t0) else {
            return;
        };
        let Some(state) = phase.closed.as_mut().and_then(|closed| closed.get_mut(user as usize)) else {
            return;
        };
        if state.busy {
            return;
        }
        let Some(arrival) = phase.timeline.turn(user, state.turn, now - phase.t0) else { return };
        state.turn += 1;
        state.busy = true;
        self.recorder.scheduled(1);
        self.arrive(arrival, now, Some(user), now);
    }

    /// Stops arrivals. What is in progress may finish; what waits stays counted as waiting, unless the phase drains.
    pub(super) fn stop_phase(&mut self, phase: u32, grace_ns: u64, drains: bool, now: u64) {
        if self.phase.as_ref().is_none_or(|current| current.spec.phase != phase) {
            return;
        }
        // Up to this moment the schedule counts. What is overdue has no later time to be caught up in.
        self.obey_lease(now);
        self.take_until(now, now);
        if let Some(current) = &mut self.phase
            && !current.stopped
        {
            current.stopped = true;
            current.drains = drains;
            current.grace_ends = now.saturating_add(grace_ns);
            self.timers.at(current.grace_ends, Timer::Grace);
        }
    }

    /// Ends a stopped phase as soon as nothing is in progress, or the grace is over.
    pub(super) fn end_phase_if_over(&mut self, now: u64) {
        let Some(phase) = self.phase.as_mut().filter(|phase| phase.stopped) else { return };
        if self.active > 0 || (phase.drains && self.waiting > 0) {
            if now < phase.grace_ends {
                return;
            }
            phase.cut = true;
            self.cancel_all(now);
        }
        let Some(phase) = self.phase.as_ref() else { return };
        let (number, offset) = (phase.spec.phase, phase.offset(now));
        self.gauges();
        let arrivals = self.recorder.totals();
        self.recorder.end_phase(offset);
        for scenario in &mut self.scenarios {
            scenario.waiting.clear();
            scenario.begun.clear();
            for user in &mut scenario.users {
                // Nobody thinks beyond the phase.
                user.generation = user.generation.wrapping_add(1);
            }
        }
        self.waiting = 0;
        self.phase = None;
        (self.events)(EngineEvent::PhaseEnded { thread: self.spec.index, phase: number, arrivals });
    }

    /// Gives up everything in progress. Guests hear of it once; users they leave in a turn are taken from them.
    fn cancel_all(&mut self, now: u64) {
        for index in 0..self.scenarios.len() {
            let scenario = u32::try_from(index).unwrap_or(u32::MAX);
            let users = u32::try_from(self.scenarios[index].users.len()).unwrap_or(u32::MAX);
            for user in 0..users {
                let Some(state) = self.user(scenario, user).filter(|user| user.active && !user.untold) else {
                    continue;
                };
                let mut at = state.requests;
                if at.is_none() {
                    self.tell_cancelled(scenario, user);
                }
                while let Some(key) = at {
                    at = self.requests.get(key).and_then(|request| request.next);
                    self.abandon(key, now);
                    self.end_request(key, super::request::Outcome::Cancelled, now);
                }
            }
        }
        self.call_guests();
        for index in 0..self.scenarios.len() {
            let scenario = u32::try_from(index).unwrap_or(u32::MAX);
            for user in 0..u32::try_from(self.scenarios[index].users.len()).unwrap_or(u32::MAX) {
                if self.user(scenario, user).is_some_and(|user| user.active) {
                    self.scenarios[index].spoiled = true;
                    self.cancel_turn(scenario, user, now);
                }
            }
        }
    }
}
