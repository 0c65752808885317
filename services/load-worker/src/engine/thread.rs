//! The load thread: its state, and the loop that is its life.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::clock::{Clock, WakeTimer};
use super::connect_pace::ConnectPace;
use super::phase::Phase;
use super::request::{Operation, Request};
use super::scenario::{Scenario, User};
use super::sending::Outbox;
use super::slots::{Key, Slots};
use super::streams::Turns;
use super::timers::Timers;
use super::transport::{Target, Transport};
use crate::io::http1::KnownHead;
use crate::io::tls::own_sessions;
use crate::record::Recorder;
use crate::spec::{EngineCommand, EngineEvent, ThreadSpec};

/// Tokens of the poller.
pub(super) const WAKER: Token = Token(0);
const TIMER: Token = Token(1);
pub(super) const FIRST_TRANSPORT: usize = 2;

/// The loop turns at least this often, so that a flip of the samples is made soon: nanoseconds.
const TURN: u64 = 10_000_000;

/// A wait shorter than this is spun: waking up would take as long.
const SPIN: u64 = 50_000;

/// Events taken from the poller at once: so many answers an arrival may stand behind, at a few microseconds each.
pub(super) const EVENTS: usize = 128;

/// Bytes read from a socket at once.
const SCRATCH: usize = 64 * 1024;

/// What is to happen at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A request's delay is over.
    Send(Key),
    /// A request has had its time.
    Deadline(Key),
    /// An answer should have begun.
    Response(Key),
    /// A peer should have been reached.
    Connect(Key),
    /// A handshake should be over.
    Handshake(Key),
    /// A user asked to be woken.
    Wake { scenario: u32, user: u32, wake: u32 },
    /// A user has finished thinking.
    Free { scenario: u32, user: u32, generation: u32 },
    /// A guest may be made again.
    Restart,
    /// An ejection is over.
    Uneject { target: u32, endpoint: u32 },
    /// The phase's grace is over.
    Grace,
}

/// See the module.
pub(super) struct LoadThread {
    pub(super) spec: ThreadSpec,
    pub(super) clock: Clock,
    /// Where the lease's clock begins, on this thread's.
    pub(super) lease_base: u64,
    pub(super) poll: Poll,
    wake_timer: WakeTimer,
    commands: Receiver<EngineCommand>,
    pub(super) events: Box<dyn FnMut(EngineEvent) + Send>,
    pub(super) recorder: Recorder,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) targets: Vec<Target>,
    pub(super) transports: Slots<Transport>,
    /// Those whose sockets hold more than was read.
    pub(super) unread: Vec<Key>,
    pub(super) requests: Slots<Request>,
    pub(super) operations: Slots<Operation>,
    pub(super) timers: Timers<Timer>,
    pub(super) phase: Option<Phase>,
    /// Users that have a turn.
    pub(super) active: u32,
    /// Turns in which no operation has begun yet.
    pub(super) unbegun: u64,
    /// Calls of guests.
    pub(super) calls: u64,
    /// Arrivals in the scenarios' queues.
    pub(super) waiting: u64,
    pub(super) open_transports: u32,
    pub(super) connect_pace: ConnectPace,
    /// Some target has its outliers ejected.
    pub(super) ejects: bool,
    /// Places became empty: waiting requests are to be looked at.
    pub(super) unserved: bool,
    /// Streams left in their sockets until their guests were called.
    pub(super) paused: VecDeque<Key>,
    /// Guests have so much to be told that they are called before another socket is read.
    pub(super) crowded: bool,
    pub(super) scratch: Vec<u8>,
    pub(super) wire: Vec<u8>,
    pub(super) known_head: KnownHead,
    /// Requests that are written together, where the host can.
    pub(super) outbox: Option<Outbox>,
    pub(super) turns: Turns,
    exit: bool,
}

impl LoadThread {
    pub(super) fn new(
        mut spec: ThreadSpec,
        poll: Poll,
        clock: Clock,
        recorder: Recorder,
        commands: Receiver<EngineCommand>,
        events: Box<dyn FnMut(EngineEvent) + Send>,
    ) -> io::Result<Self> {
        let wake_timer = WakeTimer::new(poll.registry(), TIMER)?;
        let outbox = if spec.io_uring { Outbox::new() } else { None };
        let endpoints = spec.targets.iter_mut().flat_map(|target| &mut target.endpoints);
        endpoints.filter_map(|endpoint| endpoint.tls.as_mut()).for_each(own_sessions);
        Ok(Self {
            lease_base: clock.at(spec.lease.base()),
            scenarios: spec.scenarios.iter().map(|_| Scenario::new()).collect(),
            targets: spec.targets.iter().map(|target| Target::new(target, spec.index)).collect(),
            connect_pace: ConnectPace::new(spec.connect_rate),
            ejects: spec.targets.iter().any(|target| target.outlier_detection.is_some()),
            spec,
            clock,
            poll,
            wake_timer,
            commands,
            events,
            recorder,
            transports: Slots::new(),
            unread: Vec::new(),
            requests: Slots::new(),
            operations: Slots::new(),
            timers: Timers::new(),
            phase: None,
            active: 0,
            unbegun: 0,
            calls: 0,
            waiting: 0,
            open_transports: 0,
            unserved: false,
            paused: VecDeque::new(),
            crowded: false,
            scratch: vec![0; SCRATCH],
            wire: Vec::new(),
            known_head: KnownHead::default(),
            outbox,
            turns: Turns::default(),
            exit: false,
        })
    }

    /// Runs until told to exit. Each turn: commands, timers, arrivals, guests, and then sockets.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut turn_began = self.clock.now();
        while let Some(until) = self.work() {
            let poll_begins = self.clock.now();
            if let Err(error) = self.wait(&mut events, until) {
                self.fatal(format!("the poller failed: {error}"));
                return;
            }
            let poll_ended = self.clock.now();
            self.hear(&events);
            let waited = poll_ended.saturating_sub(poll_begins);
            let total = poll_ended.saturating_sub(turn_began);
            self.recorder.busy(total.saturating_sub(waited), total);
            turn_began = poll_ended;
        }
    }

    /// The part of a turn that comes before sockets are waited for: until when to wait at most. `None` = exit.
    pub(super) fn work(&mut self) -> Option<u64> {
        self.obey_commands();
        if self.exit {
            return None;
        }
        let now = self.clock.now();
        self.run_timers(now);
        self.obey_lease(now);
        let follow_at = self.follow(now);
        self.expire_waiting(now);
        self.take_due(now);
        if self.unserved {
            self.serve_queues(now);
        }
        self.start_waiting(now);
        self.call_guests();
        self.read_on(now);
        let now = self.clock.now();
        let refill_at = self.refill(now);
        self.end_phase_if_over(now);
        self.drive_streams();
        self.gauges();
        let offset = self.phase.as_ref().map_or(0, |phase| phase.offset(now));
        self.recorder.flip_if_asked(offset);
        let until = if self.unread.is_empty() { self.next_due(now, [follow_at, refill_at]) } else { now };
        self.flush_sends();
        Some(until)
    }

    /// The part of a turn that comes after it: what the sockets say.
    pub(super) fn hear(&mut self, events: &Events) {
        self.read_unread();
        for event in events {
            if event.token().0 >= FIRST_TRANSPORT {
                self.transport_event(event);
                if std::mem::take(&mut self.crowded) {
                    self.call_guests();
                }
            }
        }
        self.flush_sends();
    }

    fn obey_commands(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(EngineCommand::StartPhase(spec)) => self.start_phase(spec),
                Ok(EngineCommand::Change { phase, at_offset_ns, change }) => {
                    self.change_phase(phase, at_offset_ns, change);
                }
                Ok(EngineCommand::Reassign { phase, at_offset_ns, assignment }) => {
                    self.reassign(phase, at_offset_ns, &assignment);
                }
                Ok(EngineCommand::EndPhase { phase, grace, drains }) => {
                    let now = self.clock.now();
                    self.stop_phase(phase, super::clock::nanos(grace), drains, now);
                }
                // Whoever could tell it to go on is gone.
                Ok(EngineCommand::Exit) | Err(TryRecvError::Disconnected) => {
                    self.exit = true;
                    return;
                }
                Ok(EngineCommand::Health { target, endpoint, healthy }) => {
                    self.set_health(target, endpoint, healthy);
                }
                // The wake-up itself has done it.
                Ok(EngineCommand::Flip) => {}
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn run_timers(&mut self, now: u64) {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Send(key) => {
                    if self.requests.get(key).is_some_and(|r| r.stage == super::request::Stage::Delayed) {
                        self.dispatch(key, now, false);
                    }
                }
                Timer::Deadline(key) => self.deadline(key, now),
                Timer::Response(key) => self.response_deadline(key, now),
                Timer::Connect(key) => self.connect_deadline(key, now),
                Timer::Handshake(key) => self.handshake_deadline(key, now),
                Timer::Wake { scenario, user, wake } => self.wake(scenario, user, wake),
                Timer::Free { scenario, user, generation } => {
                    if self.user(scenario, user).is_some_and(|user| user.generation == generation) {
                        self.free_user(scenario, user, now);
                        self.start_waiting(now);
                    }
                }
                Timer::Uneject { target, endpoint } => self.uneject(target, endpoint),
                Timer::Restart => {
                    self.restart_guests(now);
                    self.start_waiting(now);
                }
                // Looked at in every turn.
                Timer::Grace => {}
            }
        }
    }

    /// When something is to be done, whatever the sockets say.
    fn next_due(&mut self, now: u64, others: [Option<u64>; 2]) -> u64 {
        let (requests, transports, scenarios) = (&self.requests, &self.transports, &self.scenarios);
        let user = |scenario: u32, user: u32| scenarios.get(scenario as usize)?.users.get(user as usize);
        let timer = self.timers.next(|timer| match timer {
            Timer::Send(key) | Timer::Deadline(key) | Timer::Response(key) => requests.get(key).is_none(),
            Timer::Connect(key) | Timer::Handshake(key) => transports.get(key).is_none_or(Transport::is_made),
            Timer::Wake { scenario, user: who, wake } => {
                user(scenario, who).is_none_or(|user| user.wake.is_none_or(|(_, number)| number != wake))
            }
            Timer::Free { scenario, user: who, generation } => {
                user(scenario, who).is_none_or(|user| user.generation != generation)
            }
            Timer::Restart | Timer::Uneject { .. } | Timer::Grace => false,
        });
        let arrival = self.phase.as_mut().and_then(Phase::next_taken_at);
        let expiry = self.next_expiry().filter(|_| self.phase.as_ref().is_some_and(Phase::begins_waiting));
        let busy = (self.guests_due() || self.unserved || !self.paused.is_empty() || !self.turns.is_empty())
            .then_some(now);
        let next = [timer, arrival, expiry, busy].into_iter().chain(others).flatten().min();
        next.unwrap_or(u64::MAX).min(now.saturating_add(TURN))
    }

    /// Waits for sockets, a command or `until`, whichever is first.
    fn wait(&mut self, events: &mut Events, until: u64) -> io::Result<()> {
        let now = self.clock.now();
        let wait = until.saturating_sub(now);
        if wait < SPIN {
            loop {
                poll(&mut self.poll, events, Duration::ZERO)?;
                if !events.is_empty() || self.clock.now() >= until {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        self.wake_timer.arm(now, until)?;
        // The timer comes first; the timeout is for the case that it does not.
        poll(&mut self.poll, events, Duration::from_nanos(2 * TURN))
    }

    /// Writes what is a state rather than a count. What waits at a phase's end stays what was written last.
    pub(super) fn gauges(&mut self) {
        self.recorder.connections(self.open_transports);
        if self.phase.is_none() {
            return;
        }
        self.recorder.waiting(self.waiting + self.unbegun);
        self.recorder.in_flight(self.operations.len() as u64);
        self.recorder.users_active(self.active);
    }

    /// Operations in progress on this thread at most.
    pub(super) fn active_limit(&self) -> u32 {
        self.phase.as_ref().map_or(0, |phase| phase.users)
    }

    pub(super) fn user(&self, scenario: u32, user: u32) -> Option<&User> {
        self.scenarios.get(scenario as usize)?.users.get(user as usize)
    }

    pub(super) fn user_mut(&mut self, scenario: u32, user: u32) -> Option<&mut User> {
        self.scenarios.get_mut(scenario as usize)?.users.get_mut(user as usize)
    }

    /// Where turns without a request are counted: the scenario's first series.
    pub(super) fn first_series(&self, scenario: u32) -> Option<u32> {
        self.phase.as_ref()?.spec.scenarios.get(scenario as usize)?.series(0, 0)
    }

    /// This thread cannot go on.
    pub(super) fn fatal(&mut self, message: String) {
        (self.events)(EngineEvent::Fatal { thread: self.spec.index, message });
        self.exit = true;
    }
}

fn poll(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}
