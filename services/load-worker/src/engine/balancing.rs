//! Which endpoints of a target are in use, and which one a request goes to where that is drawn.
//!
//! An endpoint is out while it is unhealthy, which control finds out, or ejected, which this thread decides by how its own
//! requests fare. Both keep a tool from showing what a sick endpoint does to its users, so neither is done unasked.

use std::time::Duration;

use plan::model::OutlierDetection;
use protocol::failure::FailureClass;

use super::clock::nanos;
use super::request::{Outcome, Stage};
use super::slots::Key;
use super::thread::{LoadThread, Timer};
use crate::schedule::{Stream, draw};
use crate::spec::EngineEvent;

/// A status from which on an answer is a failure of the endpoint.
const SERVER_ERROR: u16 = 500;

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    unhealthy: bool,
    /// Failures in a row.
    failures: u32,
    ejected: bool,
    /// Ejections in succession.
    ejections: u32,
    /// When the last ejection ended; while one lasts, when it will.
    back_at: u64,
}

/// The endpoints of a target.
#[derive(Debug)]
pub(super) struct Rotation {
    known: Vec<Known>,
    /// Failures in a row that eject, and for how long, nanoseconds; `None`: nothing is ejected.
    limits: Option<(u32, u64)>,
    /// Endpoints that may be ejected at a time.
    most: usize,
}

impl Rotation {
    pub(super) fn new(endpoints: usize, detection: Option<&OutlierDetection>) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and endpoints"
        )]
        let most = detection.map_or(0, |d| (endpoints as f64 * d.max_ejected) as usize);
        let limits = detection.map(|d| (d.consecutive_failures, nanos(d.base_ejection)));
        Self { known: vec![Known::default(); endpoints], limits, most }
    }

    fn is_out(&self, endpoint: usize) -> bool {
        self.known.get(endpoint).is_some_and(|known| known.unhealthy || known.ejected)
    }

    /// Notes how an endpoint fared. When that ejects it: after so many failures, until then.
    fn note(&mut self, endpoint: usize, failed: bool, now: u64) -> Option<(u32, u64)> {
        let (limit, base) = self.limits?;
        let ejected = self.known.iter().filter(|known| known.ejected).count();
        let known = self.known.get_mut(endpoint).filter(|known| !known.ejected)?;
        known.failures = if failed { known.failures.saturating_add(1) } else { 0 };
        if known.failures < limit || ejected >= self.most {
            return None;
        }
        // Each base time that it was of use makes the next ejection shorter by one.
        let of_use = now.saturating_sub(known.back_at) / base.max(1);
        let before = u64::from(known.ejections).saturating_sub(of_use);
        known.ejections = u32::try_from(before + 1).unwrap_or(u32::MAX);
        known.ejected = true;
        known.back_at = now.saturating_add(base.saturating_mul(u64::from(known.ejections)));
        Some((known.failures, known.back_at))
    }
}

impl LoadThread {
    /// Draws where a request goes: by its arrival and its number in the turn, whoever sends it and when.
    pub(super) fn draw_endpoint(&mut self, key: Key) {
        let Some(request) = self.requests.get(key) else { return };
        let (scenario, user) = (request.scenario, request.user);
        let (seed, phase) = (self.spec.seed, self.phase.as_ref().map_or(0, |phase| phase.spec.phase));
        let Some(user) = self.user_mut(scenario, user) else { return };
        let number = u64::from(user.draws);
        user.draws = user.draws.wrapping_add(1);
        let drawn = draws::at(draw(seed, phase, Stream::Endpoint, user.k), number);
        if let Some(request) = self.requests.get_mut(key) {
            request.draw = drawn;
        }
    }

    /// Notes how a request that is about to end fared, for its endpoint.
    pub(super) fn note_end(&mut self, key: Key, outcome: Outcome, now: u64) {
        let Some(request) = self.requests.get(key).filter(|request| request.stage != Stage::Ended) else {
            return;
        };
        let (target, status) = (request.target, request.status);
        if let Some(endpoint) = request.endpoint {
            self.note_endpoint(target, endpoint as usize, outcome, status, now);
        }
    }

    /// Notes how an endpoint fared, and ejects it if that is one failure too many.
    pub(super) fn note_endpoint(
        &mut self,
        target: u32,
        endpoint: usize,
        outcome: Outcome,
        status: u16,
        now: u64,
    ) {
        let failed = match outcome {
            Outcome::Answered => status >= SERVER_ERROR,
            Outcome::Failed(
                FailureClass::Connect
                | FailureClass::Tls
                | FailureClass::Reset
                | FailureClass::Timeout
                | FailureClass::Malformed,
            ) => true,
            // Of these the endpoint is not to blame, or nobody knows.
            Outcome::Failed(FailureClass::Exhausted | FailureClass::Guest | FailureClass::TooLarge)
            | Outcome::Cancelled => return,
        };
        let state = self.targets.get_mut(target as usize);
        let Some((failures, until)) = state.and_then(|state| state.rotation.note(endpoint, failed, now))
        else {
            return;
        };
        let number = u32::try_from(endpoint).unwrap_or(u32::MAX);
        self.timers.at(until, Timer::Uneject { target, endpoint: number });
        self.follow_rotation(target, endpoint);
        let ejected = Some((failures, Duration::from_nanos(until - now)));
        self.tell_ejection(target, number, ejected);
    }

    /// An ejection is over: the endpoint is in use again, if it is healthy.
    pub(super) fn uneject(&mut self, target: u32, endpoint: u32) {
        let known = self.targets.get_mut(target as usize);
        let Some(known) = known.and_then(|state| state.rotation.known.get_mut(endpoint as usize)) else {
            return;
        };
        known.ejected = false;
        known.failures = 0;
        self.follow_rotation(target, endpoint as usize);
        self.tell_ejection(target, endpoint, None);
    }

    fn tell_ejection(&mut self, target: u32, endpoint: u32, ejected: Option<(u32, Duration)>) {
        (self.events)(EngineEvent::Ejection { thread: self.spec.index, target, endpoint, ejected });
    }

    /// Control says whether an endpoint is healthy.
    pub(super) fn set_health(&mut self, target: u32, endpoint: u32, healthy: bool) {
        let known = self.targets.get_mut(target as usize);
        if let Some(known) = known.and_then(|state| state.rotation.known.get_mut(endpoint as usize)) {
            known.unhealthy = !healthy;
            self.follow_rotation(target, endpoint as usize);
        }
    }

    /// Tells the pool whether an endpoint is in use.
    fn follow_rotation(&mut self, target: u32, endpoint: usize) {
        let Some(state) = self.targets.get_mut(target as usize) else { return };
        let out = state.rotation.is_out(endpoint);
        let surplus = state.pool.set_out(endpoint, out);
        for key in surplus {
            self.drop_transport(key);
        }
        self.unserved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rotation(endpoints: usize, max_ejected: f64) -> Rotation {
        let detection =
            OutlierDetection { consecutive_failures: 3, base_ejection: Duration::from_secs(10), max_ejected };
        Rotation::new(endpoints, Some(&detection))
    }

    /// Fails three times at `now`; for how many seconds that ejects.
    fn fail(rotation: &mut Rotation, endpoint: usize, now: u64) -> Option<u64> {
        assert_eq!(rotation.note(endpoint, true, now), None);
        assert_eq!(rotation.note(endpoint, true, now), None);
        rotation.note(endpoint, true, now).map(|(failures, until)| {
            assert_eq!(failures, 3);
            (until - now) / SECOND
        })
    }

    fn back(rotation: &mut Rotation, endpoint: usize) -> u64 {
        let known = &mut rotation.known[endpoint];
        (known.ejected, known.failures) = (false, 0);
        known.back_at
    }

    #[test]
    fn only_failures_in_a_row_eject() {
        let mut one = rotation(2, 0.5);
        for _ in 0..10 {
            assert_eq!(one.note(0, true, SECOND), None);
            assert_eq!(one.note(0, true, SECOND), None);
            assert_eq!(one.note(0, false, SECOND), None);
        }
        assert_eq!(fail(&mut one, 0, SECOND), Some(10));
        assert!(one.is_out(0) && !one.is_out(1));
        // What was under way then changes nothing.
        assert_eq!(one.note(0, true, SECOND), None);
    }

    #[test]
    fn ejections_in_succession_last_longer_and_time_of_use_forgives() {
        let mut one = rotation(2, 0.5);
        assert_eq!(fail(&mut one, 0, 100 * SECOND), Some(10));
        let now = back(&mut one, 0);
        assert_eq!(fail(&mut one, 0, now), Some(20));
        let now = back(&mut one, 0);
        assert_eq!(fail(&mut one, 0, now + 9 * SECOND), Some(30));
        let now = back(&mut one, 0);
        assert_eq!(fail(&mut one, 0, now + 20 * SECOND), Some(20));
        let now = back(&mut one, 0);
        assert_eq!(fail(&mut one, 0, now + 1_000 * SECOND), Some(10));
    }

    #[test]
    fn no_more_than_a_share_is_ejected_at_a_time() {
        let mut three = rotation(3, 0.67);
        assert_eq!(fail(&mut three, 0, SECOND), Some(10));
        assert_eq!(fail(&mut three, 1, SECOND), Some(10));
        assert_eq!(fail(&mut three, 2, SECOND), None);
        assert!(!three.is_out(2));
        back(&mut three, 0);
        // It goes on failing, and now there is room.
        assert!(three.note(2, true, 20 * SECOND).is_some());
        assert_eq!(fail(&mut rotation(2, 0.4), 0, SECOND), None);
        assert_eq!(fail(&mut rotation(1, 0.5), 0, SECOND), None);
    }
}
