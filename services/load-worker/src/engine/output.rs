//! The call into a guest, and what follows from what it says.

use sandbox::{Fault, FaultKind, abi};

use super::clock::nanos;
use super::request::{Outcome, Sees, Stage};
use super::scenario::Begun;
use super::slots::Key;
use super::thread::{LoadThread, Timer};
use crate::spec::EngineEvent;

/// Instances of a scenario are made no faster than this after a fault: ten a second.
const RESTART_PAUSE: u64 = 100_000_000;

/// Bits of an arrival's number that stand for k; above them stands the phase.
const ARRIVAL_BITS: u32 = 40;

impl LoadThread {
    /// Tells every guest what there is to tell, until there is nothing more: what a guest says may end requests at
    /// once, which it hears of in the next round. Bounded, so that sockets are looked at in between.
    pub(super) fn call_guests(&mut self) {
        for _ in 0..8 {
            let mut told = false;
            for index in 0..self.scenarios.len() {
                told |= self.call_guest(index);
            }
            if !told {
                return;
            }
        }
    }

    /// Whether a guest has something to be told.
    pub(super) fn guests_due(&self) -> bool {
        self.phase.is_some()
            && self.scenarios.iter().any(|scenario| {
                scenario.guest.is_some() && !(scenario.begun.is_empty() && scenario.done.is_empty())
            })
    }

    /// One call. `false` = there was nothing to tell.
    fn call_guest(&mut self, index: usize) -> bool {
        let scenario_index = u32::try_from(index).unwrap_or(u32::MAX);
        let now = self.clock.now();
        let Some((now_us, phase)) =
            self.phase.as_ref().map(|phase| (phase.offset(now) / 1_000, phase.spec.phase))
        else {
            return false;
        };
        let Some(scenario) = self.scenarios.get_mut(index) else { return false };
        if scenario.begun.is_empty() && scenario.done.is_empty() {
            return false;
        }
        let Some(mut guest) = scenario.guest.take() else { return false };
        self.calls += 1;
        let batch = scenario.begun.len().min(self.spec.batch.max(1) as usize);
        let mut starts = std::mem::take(&mut scenario.starts);
        let seed = self.spec.seed;
        for Begun { user, k, .. } in scenario.begun.iter().take(batch).copied() {
            let begin = scenario.arena.len();
            for feed in &scenario.feeds {
                feed.append(seed, phase, k, &mut scenario.arena);
            }
            let len = scenario.arena.len() - begin;
            starts.push(abi::Start {
                user,
                arrival: u64::from(phase) << ARRIVAL_BITS | k,
                rows: abi::Slice {
                    off: u32::try_from(begin).unwrap_or(u32::MAX),
                    len: u32::try_from(len).unwrap_or(u32::MAX),
                },
            });
        }
        let begin = self.clock.now();
        let said = guest.step(now_us, &starts, &scenario.done, &scenario.arena);
        let end = self.clock.now();
        self.recorder.guest_call(end - begin);
        scenario.done.clear();
        scenario.arena.clear();
        scenario.calls += 1;
        let target = self.spec.scenarios.get(index).and_then(|spec| spec.targets.first()).copied();
        for Begun { user, reserved, .. } in scenario.begun.drain(..batch) {
            if let Some(user) = scenario.users.get_mut(user as usize) {
                user.untold = false;
                user.told = scenario.calls;
            }
            if reserved && let Some(target) = target.and_then(|target| self.targets.get_mut(target as usize))
            {
                target.pool.release();
            }
        }
        let mut ended = std::mem::take(&mut scenario.ended);
        let fault = match said {
            Ok(output) => {
                scenario.guest = Some(guest);
                self.obey(scenario_index, &output, &ended, end).err()
            }
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            self.fault(scenario_index, &fault);
        }
        starts.clear();
        ended.clear();
        if let Some(scenario) = self.scenarios.get_mut(index) {
            scenario.starts = starts;
            // What ended meanwhile is told with the next call.
            ended.append(&mut scenario.ended);
            scenario.ended = ended;
        }
        self.start_waiting(end);
        true
    }

    /// Does what a guest said. Verdicts come before the ends of requests are counted, so that a broken check makes
    /// an operation bad; a verdict that comes in a later call is counted as a check only.
    fn obey(&mut self, scenario: u32, output: &abi::Output, ended: &[Key], now: u64) -> Result<(), Fault> {
        for verdict in &output.verdicts {
            self.verdict(scenario, verdict);
        }
        for key in ended {
            self.settle(*key, now);
        }
        for command in &output.commands {
            self.command(scenario, command, now)?;
        }
        for request in &output.requests {
            self.accept(scenario, request, &output.arena, now)?;
        }
        for finish in &output.finished {
            let Some(user) = self.user_mut(scenario, finish.user).filter(|user| user.active && !user.untold)
            else {
                return Err(bad_output(format!("it finished user {}, who has no turn", finish.user)));
            };
            user.finish = Some(u64::from(finish.think_us) * 1_000);
            self.finish_if_idle(scenario, finish.user, now);
        }
        self.serve_queues(now);
        Ok(())
    }

    fn verdict(&mut self, scenario: u32, verdict: &abi::Verdict) {
        let key = self.request_of(scenario, verdict.user, verdict.seq);
        let request = key.and_then(|key| self.requests.get_mut(key));
        let series = match request {
            Some(request) => {
                request.good &= verdict.pass;
                Some(request.series)
            }
            None => self.first_series(scenario),
        };
        let checks = self.phase.as_ref().and_then(|phase| phase.spec.scenarios.get(scenario as usize));
        let check = checks.and_then(|spec| spec.checks.get(verdict.check as usize)).copied();
        if let (Some(series), Some(check)) = (series, check) {
            self.recorder.check(series, check, verdict.pass);
        }
    }

    fn command(&mut self, scenario: u32, command: &abi::Command, now: u64) -> Result<(), Fault> {
        match command {
            abi::Command::Cancel(request) => {
                if let Some(key) = self.request_of(scenario, request.user, request.seq)
                    && self.requests.get(key).is_some_and(|request| request.stage != Stage::Ended)
                {
                    self.abandon(key, now);
                    self.end_request(key, Outcome::Cancelled, now);
                }
            }
            abi::Command::WakeAt(wake) => {
                let Some(user) = self.user_mut(scenario, wake.user).filter(|user| user.active) else {
                    return Err(bad_output(format!("it wants to wake user {}, who has no turn", wake.user)));
                };
                user.wakes = user.wakes.wrapping_add(1);
                user.wake = Some((wake.seq, user.wakes));
                let timer = Timer::Wake { scenario, user: wake.user, wake: user.wakes };
                self.timers.after(now, u64::from(wake.after_us) * 1_000, timer);
            }
            abi::Command::Observe(observation) => {
                let spec = self.phase.as_ref().and_then(|phase| phase.spec.scenarios.get(scenario as usize));
                if let Some(spec) = spec
                    && let Some(series) = spec.series(observation.step, 0)
                    && let Some(metric) = spec.metrics.get(observation.metric as usize)
                {
                    self.recorder.observe(series, *metric, observation.value);
                }
            }
            abi::Command::EndOperation(end) => self.end_operation(scenario, end, now),
            abi::Command::CloseConnection(user) => self.close_own(scenario, *user, now),
        }
        Ok(())
    }

    /// The guest ends an operation of several requests. One that is unknown has ended already.
    fn end_operation(&mut self, scenario: u32, end: &abi::OperationEnd, now: u64) {
        let key = self.operation_of(scenario, end.user, end.operation);
        let Some(key) = key.filter(|_| end.operation != 0) else { return };
        let Some(operation) = self.operations.get_mut(key) else { return };
        // The last byte was the end if the guest says so as soon as it hears of it. Else its decision is: a request may still
        // be under way, or what was awaited came on another request's stream.
        if operation.live > 0 || operation.last == 0 || operation.settled_in != self.calls {
            operation.last = now;
        }
        let failure = operation.failure.unwrap_or(protocol::failure::FailureClass::Guest);
        self.close_operation(key, if end.ok { Outcome::Answered } else { Outcome::Failed(failure) });
    }

    /// Takes a request from the guest and sends it, if its time has come and a connection is free.
    fn accept(&mut self, scenario: u32, asked: &abi::Request, arena: &[u8], now: u64) -> Result<(), Fault> {
        let Some(phase) = self.phase.as_ref() else { return Ok(()) };
        if phase.cut {
            // The phase is over: nothing more is sent.
            return Ok(());
        }
        let spec = phase.spec.scenarios.get(scenario as usize);
        let series = spec.and_then(|spec| spec.series(asked.step, asked.endpoint));
        let targets = self.spec.scenarios.get(scenario as usize);
        let target = targets.and_then(|spec| spec.targets.get(asked.endpoint as usize)).copied();
        let (Some(series), Some(target)) = (series, target) else {
            return Err(bad_output(format!(
                "step {} or endpoint {} does not exist",
                asked.step, asked.endpoint
            )));
        };
        let state = self.scenarios.get(scenario as usize);
        if state.is_none_or(|state| state.methods.get(asked.method as usize).is_none()) {
            return Err(bad_output(format!("method {} does not exist", asked.method)));
        }
        let (Some(path), Some(headers), Some(body)) = (
            abi::slice(arena, asked.target),
            abi::slice(arena, asked.headers),
            abi::slice(arena, asked.body),
        ) else {
            return Err(bad_output("a slice lies outside the arena".to_owned()));
        };
        // A line break in any of these would smuggle in a second request, and counts would no longer close.
        if !abi::is_target(path) {
            return Err(bad_output(
                "a request's target is empty or has a blank or a control character".to_owned(),
            ));
        }
        let fits = |(name, value)| abi::is_header_name(name) && abi::is_header_value(value);
        if !abi::headers(headers).all(fits) {
            return Err(bad_output("a request's header has characters that HTTP does not allow".to_owned()));
        }
        let Some(user) = self.user(scenario, asked.user).filter(|user| user.active && !user.untold) else {
            return Err(bad_output(format!("it sent a request of user {}, who has no turn", asked.user)));
        };
        // Of a turn that begins with this call, the arrival's time is the intended one, and both were free before.
        let delay = u64::from(asked.delay_us) * 1_000;
        let first = !user.begun && state.is_some_and(|state| user.told == state.calls);
        let times = if first { [user.intended, user.taken, user.ready] } else { [now; 3] };
        let [intended, taken, ready] = times.map(|time| time + delay);
        let next = user.requests;
        let timeout = targets.map_or(0, |spec| nanos(spec.timeout));
        let operation = if asked.operation == 0 {
            None
        } else {
            self.operation_of(scenario, asked.user, asked.operation)
        };
        let operation = match operation {
            Some(operation) => operation,
            None => self.begin_operation(scenario, asked.user, asked.operation, series, intended),
        };
        if let Some(operation) = self.operations.get_mut(operation) {
            operation.live += 1;
        }
        let (key, request) = self.requests.take();
        request.clear();
        request.scenario = scenario;
        request.user = asked.user;
        request.seq = asked.seq;
        request.step = asked.step;
        request.series = series;
        request.target = target;
        request.method = asked.method;
        request.attempt = asked.attempt;
        request.connection = Some(asked.connection);
        request.sees = Sees::new(asked.interest);
        request.operation = Some(operation);
        request.next = next;
        request.timeout = if asked.timeout_us == 0 { timeout } else { u64::from(asked.timeout_us) * 1_000 };
        request.intended = intended;
        request.taken = taken;
        request.ready = ready;
        request.data.extend_from_slice(path);
        request.path_end = request.data.len();
        request.data.extend_from_slice(headers);
        request.headers_end = request.data.len();
        request.data.extend_from_slice(body);
        request.good = true;
        request.stage = Stage::Delayed;
        if let Some(user) = self.user_mut(scenario, asked.user) {
            user.requests = Some(key);
        }
        if delay > 0 {
            self.timers.after(now, delay, Timer::Send(key));
        } else {
            self.dispatch(key, now, first);
        }
        Ok(())
    }

    /// The time that a user asked to be woken at has come.
    pub(super) fn wake(&mut self, scenario: u32, user: u32, wake: u32) {
        let Some(state) = self.user_mut(scenario, user) else { return };
        let Some((seq, _)) = state.wake.filter(|(_, number)| *number == wake) else { return };
        state.wake = None;
        if let Some(scenario) = self.scenarios.get_mut(scenario as usize) {
            scenario.done.push(abi::Completion::note(abi::CompletionKind::Timer, user, seq));
        }
    }

    /// A guest broke a limit: everything its users were doing is cancelled, and a new instance is made. Turns that
    /// it has not been told of go to the new one. Other scenarios notice nothing.
    pub(super) fn fault(&mut self, scenario: u32, fault: &Fault) {
        let now = self.clock.now();
        self.recorder.trap();
        let users = self.scenarios.get(scenario as usize).map_or(0, |scenario| scenario.users.len());
        if let Some(state) = self.scenarios.get_mut(scenario as usize) {
            state.guest = None;
            state.done.clear();
            state.arena.clear();
            state.ended.clear();
            let earliest = state.restart_at.saturating_add(RESTART_PAUSE);
            state.restart_at = now.max(earliest);
        }
        let mut cancelled = 0;
        for user in 0..u32::try_from(users).unwrap_or(u32::MAX) {
            self.close_own(scenario, user, now);
            if self.user(scenario, user).is_some_and(|user| user.active && !user.untold) {
                cancelled += self.cancel_turn(scenario, user, now);
            }
        }
        let (phase, offset_ns) = self.phase.as_ref().map_or((0, 0), |p| (p.spec.phase, p.offset(now)));
        (self.events)(EngineEvent::GuestFault {
            thread: self.spec.index,
            phase,
            scenario,
            kind: fault.kind.as_str().to_owned(),
            message: fault.message.clone(),
            offset_ns,
            operations_cancelled: cancelled,
        });
        self.restart_guests(now);
    }

    /// Makes new instances where they are due. `now` before their time: a timer does it then.
    pub(super) fn restart_guests(&mut self, now: u64) {
        for index in 0..self.scenarios.len() {
            let (Some(scenario), Some(spec)) =
                (self.scenarios.get_mut(index), self.spec.scenarios.get(index))
            else {
                return;
            };
            if scenario.guest.is_some() || scenario.capacity == 0 {
                continue;
            }
            if now < scenario.restart_at {
                self.timers.at(scenario.restart_at, Timer::Restart);
                continue;
            }
            let config = scenario.config.clone();
            match spec.guest.instantiate(&config, self.spec.seed, scenario.capacity) {
                Ok(guest) => scenario.adopt(guest, &config, scenario.capacity),
                Err(message) => {
                    self.fatal(format!(
                        "scenario {}: a new instance could not be made after a fault: {message}",
                        self.spec.scenarios.get(index).map_or("", |spec| &spec.name)
                    ));
                    return;
                }
            }
        }
    }

    /// Tells the guest that a turn is given up, for users who have no request that says so.
    pub(super) fn tell_cancelled(&mut self, scenario: u32, user: u32) {
        let Some(state) = self.scenarios.get_mut(scenario as usize) else { return };
        let seq =
            state.users.get_mut(user as usize).and_then(|user| user.wake.take()).map_or(0, |(seq, _)| seq);
        state.done.push(abi::Completion::note(abi::CompletionKind::Cancelled, user, seq));
    }
}

const fn bad_output(message: String) -> Fault {
    Fault { kind: FaultKind::BadOutput, message }
}
