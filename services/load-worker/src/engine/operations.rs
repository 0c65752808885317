//! Turns, operations and requests, and how each of them ends exactly once.

use protocol::failure::FailureClass;

use super::request::{Outcome, Stage, micros};
use super::slots::Key;
use super::thread::{LoadThread, Timer};
use super::told;
use crate::record::Timing;

impl LoadThread {
    /// The request's end is known: judges its answer and tells the guest if it wants to hear. The caller has freed
    /// its connection.
    pub(super) fn end_request(&mut self, key: Key, outcome: Outcome, now: u64) {
        if self.ejects {
            self.note_end(key, outcome, now);
        }
        let Some(request) = self.requests.get_mut(key) else { return };
        if request.stage == Stage::Ended {
            return;
        }
        request.stage = Stage::Ended;
        request.outcome = outcome;
        request.last = now;
        let Some(scenario) = self.scenarios.get_mut(request.scenario as usize) else { return };
        if outcome == Outcome::Answered {
            let (recorder, checks) = (&mut self.recorder, self.phase.as_ref());
            let checks = checks.and_then(|phase| phase.spec.scenarios.get(request.scenario as usize));
            // A verdict that was given while the answer came has had its say.
            request.good &= scenario.expectations.judge(
                request.step,
                request.service_us(),
                &request.found,
                |check, pass| {
                    let check = checks.and_then(|c| c.checks.get(check as usize)).copied();
                    recorder.check(request.series, check.unwrap_or(u32::MAX), pass);
                },
            );
        }
        // Without an instance there is nobody to tell; a new one does not know the request.
        if request.sees.end && scenario.guest.is_some() {
            let completion = told::end(request, |bytes| scenario.put(bytes));
            scenario.done.push(completion);
            scenario.ended.push(key);
        } else {
            self.settle(key, now);
        }
    }

    /// The request is over and the guest has had its say: counts it in its operation and forgets it.
    pub(super) fn settle(&mut self, key: Key, now: u64) {
        let Some(request) = self.requests.get(key) else { return };
        let (scenario, user) = (request.scenario, request.user);
        if let Some(operation_key) = request.operation
            && let Some(operation) = self.operations.get_mut(operation_key)
        {
            operation.live = operation.live.saturating_sub(1);
            operation.settled_in = self.calls;
            operation.last = operation.last.max(request.last);
            operation.received += request.received;
            match request.outcome {
                Outcome::Answered => {
                    // Of several requests at a time one that went wrong does not take a good answer's place.
                    if request.status < 400 || !(1..400).contains(&operation.status) {
                        operation.status = request.status;
                    }
                    operation.failure = None;
                    // What an earlier attempt broke, a later one mends.
                    operation.good = request.good && (operation.good || request.attempt > 0);
                    if operation.first == 0 {
                        operation.first = request.first;
                    }
                }
                Outcome::Failed(class) => operation.failure = Some(class),
                Outcome::Cancelled => {}
            }
            if operation.number == 0 {
                let outcome = request.outcome;
                self.close_operation(operation_key, outcome);
            }
        }
        self.unlink_request(scenario, user, key);
        self.requests.free(key);
        self.finish_if_idle(scenario, user, now);
    }

    fn unlink_request(&mut self, scenario: u32, user: u32, key: Key) {
        let next = self.requests.get(key).and_then(|request| request.next);
        let Some(user) = self.user_mut(scenario, user) else { return };
        if user.requests == Some(key) {
            user.requests = next;
            return;
        }
        let mut at = user.requests;
        while let Some(here) = at.and_then(|at| self.requests.get_mut(at)) {
            if here.next == Some(key) {
                here.next = next;
                return;
            }
            at = here.next;
        }
    }

    /// Finds a user's request by the guest's number.
    pub(super) fn request_of(&self, scenario: u32, user: u32, seq: u32) -> Option<Key> {
        let mut at = self.user(scenario, user)?.requests;
        while let Some(key) = at {
            let request = self.requests.get(key)?;
            if request.seq == seq {
                return Some(key);
            }
            at = request.next;
        }
        None
    }

    /// Finds a user's operation by the guest's number.
    pub(super) fn operation_of(&self, scenario: u32, user: u32, number: u32) -> Option<Key> {
        let mut at = self.user(scenario, user)?.operations;
        while let Some(key) = at {
            let operation = self.operations.get(key)?;
            if operation.number == number {
                return Some(key);
            }
            at = operation.next;
        }
        None
    }

    /// Begins an operation of the user's turn. The turn's arrival is the first one; each further one counts as
    /// scheduled too, so that counts of operations close.
    pub(super) fn begin_operation(
        &mut self,
        scenario: u32,
        user: u32,
        number: u32,
        series: u32,
        intended: u64,
    ) -> Key {
        self.recorder.started(series);
        let first =
            self.user_mut(scenario, user).is_some_and(|user| !std::mem::replace(&mut user.begun, true));
        if first {
            self.unbegun = self.unbegun.saturating_sub(1);
        } else {
            self.recorder.scheduled(1);
        }
        let next = self.user(scenario, user).and_then(|user| user.operations);
        let (key, operation) = self.operations.take();
        *operation = super::request::Operation {
            number,
            scenario,
            user,
            next,
            series,
            intended,
            good: true,
            ..Default::default()
        };
        if let Some(user) = self.user_mut(scenario, user) {
            user.operations = Some(key);
        }
        key
    }

    /// Ends an operation: the one place where answered, failed and cancelled are counted.
    pub(super) fn close_operation(&mut self, key: Key, outcome: Outcome) {
        let Some(operation) = self.operations.get(key) else { return };
        let series = operation.series;
        match outcome {
            Outcome::Answered => {
                let sent = if operation.sent == 0 { operation.last } else { operation.sent };
                let timing = Timing {
                    latency_us: micros(operation.last, operation.intended),
                    service_us: micros(operation.last, sent),
                    queue_us: operation.queue / 1_000,
                    first_byte_us: if operation.first == 0 {
                        0
                    } else {
                        micros(operation.first, sent).max(1)
                    },
                };
                let status = u32::from(operation.status);
                self.recorder.answered(series, &timing, status, operation.received, operation.good);
            }
            Outcome::Failed(class) => self.recorder.failed(series, class),
            Outcome::Cancelled => self.recorder.cancelled(series),
        }
        let (scenario, user, next) = (operation.scenario, operation.user, operation.next);
        self.operations.free(key);
        let Some(user) = self.user_mut(scenario, user) else { return };
        if user.operations == Some(key) {
            user.operations = next;
            return;
        }
        let mut at = user.operations;
        while let Some(here) = at.and_then(|at| self.operations.get_mut(at)) {
            if here.next == Some(key) {
                here.next = next;
                return;
            }
            at = here.next;
        }
    }

    /// Ends the turn of a user whose guest is done with it and whose requests are all over.
    pub(super) fn finish_if_idle(&mut self, scenario: u32, user: u32, now: u64) {
        let Some(state) = self.user(scenario, user) else { return };
        if let Some(think) = state.finish
            && state.active
            && state.requests.is_none()
        {
            self.end_turn(scenario, user, now, false, think);
        }
    }

    /// Gives up everything a user is doing: its requests are cancelled without a word to the guest. Returns how
    /// many operations that were.
    pub(super) fn cancel_turn(&mut self, scenario: u32, user: u32, now: u64) -> u64 {
        let Some(state) = self.user_mut(scenario, user) else { return 0 };
        if !state.active {
            return 0;
        }
        // The turn must not end while its requests are taken down one by one.
        state.finish = None;
        let before = self.recorder.totals().cancelled;
        while let Some(key) = self.user(scenario, user).and_then(|user| user.requests) {
            self.abandon(key, now);
            if let Some(request) = self.requests.get_mut(key)
                && request.stage != Stage::Ended
            {
                request.stage = Stage::Ended;
                request.outcome = Outcome::Cancelled;
                request.last = now;
            }
            // Those that had ended count as they ended.
            self.settle(key, now);
        }
        self.end_turn(scenario, user, now, true, 0);
        self.recorder.totals().cancelled - before
    }

    /// The turn is over: ends what the guest left open, and frees the user after its think time.
    fn end_turn(&mut self, scenario: u32, user: u32, now: u64, cancelled: bool, think: u64) {
        while let Some(key) = self.user(scenario, user).and_then(|user| user.operations) {
            let failure = self.operations.get(key).and_then(|operation| operation.failure);
            let outcome = if cancelled {
                Outcome::Cancelled
            } else {
                Outcome::Failed(failure.unwrap_or(FailureClass::Guest))
            };
            self.close_operation(key, outcome);
        }
        let Some(state) = self.user_mut(scenario, user) else { return };
        let begun = state.begun;
        state.active = false;
        state.finish = None;
        state.wake = None;
        state.generation = state.generation.wrapping_add(1);
        let generation = state.generation;
        if !begun {
            // A turn in which the guest asked for nothing: it must be counted somewhere for counts to close.
            self.unbegun = self.unbegun.saturating_sub(1);
            if let Some(series) = self.first_series(scenario) {
                self.recorder.started(series);
                self.recorder.cancelled(series);
            }
        }
        self.active = self.active.saturating_sub(1);
        let think = think.saturating_add(self.phase.as_ref().map_or(0, |phase| phase.think));
        if think == 0 || cancelled {
            self.free_user(scenario, user, now);
        } else {
            self.timers.after(now, think, Timer::Free { scenario, user, generation });
        }
    }

    /// A user has finished thinking.
    pub(super) fn free_user(&mut self, scenario: u32, user: u32, now: u64) {
        let Some(state) = self.scenarios.get_mut(scenario as usize) else { return };
        state.free.give_back(user);
        self.closed_user_free(user, now);
    }
}
