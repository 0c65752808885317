//! Arrivals: from the schedule to a turn, to the queue, or dropped.

use super::clock::nanos;
use super::phase::Phase;
use super::scenario::{Begun, Waiting};
use super::thread::LoadThread;
use crate::schedule::Arrival;

/// A drop that was decided so much later than it was due is the generator's fault: had the loop been there in time,
/// a user or a connection might have been free. The same 5 ms from which a send lag counts against the generator
/// (requirement R9.4).
pub(super) const LATE: u64 = 5_000_000;

impl LoadThread {
    /// Takes the arrivals that are due, in order: each begins its turn, waits, or is dropped. When the thread was away, not
    /// all of them at once: see [`super::catch_up`].
    pub(super) fn take_due(&mut self, now: u64) {
        if let Some(until) = self.phase.as_mut().and_then(|phase| phase.takes_until(now)) {
            self.take_until(until, now);
        }
    }

    /// Takes all arrivals up to a time of the schedule.
    pub(super) fn take_until(&mut self, until: u64, now: u64) {
        while let Some(phase) = &mut self.phase
            && !phase.stopped
            && let Some(arrival) = phase.timeline.peek()
            && phase.t0.saturating_add(arrival.intended_ns) <= until
        {
            phase.timeline.pop();
            let intended = phase.t0.saturating_add(arrival.intended_ns);
            self.recorder.scheduled(1);
            self.arrive(arrival, intended, None, now);
        }
    }

    /// An arrival has come due; `user`: in closed models, whose turn it is.
    pub(super) fn arrive(&mut self, arrival: Arrival, intended: u64, user: Option<u32>, now: u64) {
        let Arrival { k, scenario, .. } = arrival;
        let Some(state) = self.scenarios.get(scenario as usize) else { return };
        let waiting = Waiting { k, intended, taken: now.max(intended), user };
        if state.waiting.is_empty() && self.can_start(scenario, user) {
            self.begin_turn(scenario, waiting, waiting.taken);
            return;
        }
        let limit = self.phase.as_ref().map_or(0, |phase| phase.spec.max_waiting);
        // In a closed model waiting is bounded by the users.
        if user.is_some() || self.waiting < limit {
            self.waiting += 1;
            if let Some(state) = self.scenarios.get_mut(scenario as usize) {
                state.waiting.push_back(waiting);
            }
        } else {
            self.recorder.dropped(scenario, now.saturating_sub(intended) > LATE);
        }
    }

    /// Begins the turns of waiting arrivals as long as users and connections are free, the longest waiting first.
    /// Called at once whenever something becomes free: `now` is when both were free.
    pub(super) fn start_waiting(&mut self, now: u64) {
        if self.waiting == 0 || !self.phase.as_ref().is_some_and(Phase::begins_waiting) {
            return;
        }
        loop {
            let mut oldest: Option<(u64, u32)> = None;
            for (scenario, index) in self.scenarios.iter().zip(0_u32..) {
                if let Some(front) = scenario.waiting.front()
                    && oldest.is_none_or(|(intended, _)| front.intended < intended)
                    && self.can_start(index, front.user)
                {
                    oldest = Some((front.intended, index));
                }
            }
            let Some((_, scenario)) = oldest else { return };
            let Some(state) = self.scenarios.get_mut(scenario as usize) else { return };
            let Some(waiting) = state.waiting.pop_front() else { return };
            self.waiting -= 1;
            self.begin_turn(scenario, waiting, now.max(waiting.taken));
        }
    }

    /// Drops what has waited for the request timeout.
    pub(super) fn expire_waiting(&mut self, now: u64) {
        if self.waiting == 0 || !self.phase.as_ref().is_some_and(Phase::begins_waiting) {
            return;
        }
        for index in 0..self.scenarios.len() {
            let Some(timeout) = self.spec.scenarios.get(index).map(|scenario| nanos(scenario.timeout)) else {
                return;
            };
            let scenario = u32::try_from(index).unwrap_or(u32::MAX);
            while let Some(front) = self.scenarios[index].waiting.front().copied()
                && front.intended.saturating_add(timeout) <= now
            {
                self.scenarios[index].waiting.pop_front();
                self.waiting -= 1;
                let late = now - front.intended.saturating_add(timeout) > LATE;
                self.recorder.dropped(scenario, late);
                if let Some(user) = front.user {
                    self.closed_user_free(user, now);
                }
            }
        }
    }

    /// When the first waiting arrival will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let expiry = |(scenario, spec): (&super::scenario::Scenario, &crate::spec::ScenarioSpec)| {
            scenario.waiting.front().map(|front| front.intended.saturating_add(nanos(spec.timeout)))
        };
        self.scenarios.iter().zip(&self.spec.scenarios).filter_map(expiry).min()
    }

    /// Whether a turn of the scenario could begin now: a user is free, and a connection of its first target.
    fn can_start(&self, scenario: u32, user: Option<u32>) -> bool {
        let Some(state) = self.scenarios.get(scenario as usize) else { return false };
        if state.guest.is_none() || self.active >= self.active_limit() {
            return false;
        }
        let user_free = user.map_or_else(|| state.free.count() > 0, |user| state.free.is_free(user));
        user_free && (self.first_pool_free(scenario) > 0 || self.owner(scenario, user).is_some())
    }

    /// A free user that has a connection of its own, so that it needs none of the pool.
    fn owner(&self, scenario: u32, user: Option<u32>) -> Option<u32> {
        let state = self.scenarios.get(scenario as usize)?;
        if !state.uses_own {
            return None;
        }
        let owns = |user: &u32| state.users.get(*user as usize).is_some_and(|user| !user.own.is_empty());
        match user {
            Some(user) => Some(user).filter(owns),
            None => state.free.iter().find(owns),
        }
    }

    fn first_pool_free(&self, scenario: u32) -> u32 {
        let target = self.spec.scenarios.get(scenario as usize).and_then(|spec| spec.targets.first());
        target.and_then(|target| self.targets.get(*target as usize)).map_or(0, |target| target.pool.free())
    }

    /// Gives an arrival its user, and promises it a connection.
    fn begin_turn(&mut self, scenario: u32, waiting: Waiting, ready: u64) {
        let pool_free = self.first_pool_free(scenario) > 0;
        let index = scenario as usize;
        let Some(state) = self.scenarios.get(index) else { return };
        let users = u64::from(self.active_limit().max(1));
        let mut preferred = waiting.user.unwrap_or_else(|| u32::try_from(waiting.k % users).unwrap_or(0));
        let owns = |user: u32| state.users.get(user as usize).is_some_and(|user| !user.own.is_empty());
        let has_own = state.free.is_free(preferred) && owns(preferred);
        if !(pool_free || has_own) {
            preferred = self.owner(scenario, waiting.user).unwrap_or(preferred);
        }
        let Some(state) = self.scenarios.get_mut(index) else { return };
        let Some(user) = state.free.take(preferred) else { return };
        let Some(turn) = state.users.get_mut(user as usize) else { return };
        turn.active = true;
        turn.untold = true;
        turn.begun = false;
        turn.k = waiting.k;
        turn.draws = 0;
        turn.intended = waiting.intended;
        turn.taken = waiting.taken;
        turn.ready = ready;
        turn.finish = None;
        turn.wake = None;
        let reserved = pool_free && turn.own.is_empty();
        state.begun.push_back(Begun { user, k: waiting.k, reserved });
        self.active += 1;
        self.unbegun += 1;
        if reserved {
            let target = self.spec.scenarios.get(index).and_then(|spec| spec.targets.first());
            if let Some(target) = target.and_then(|target| self.targets.get_mut(*target as usize)) {
                target.pool.reserve();
            }
        }
    }
}
