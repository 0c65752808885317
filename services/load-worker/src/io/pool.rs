//! Who may use which connection of a target: bookkeeping only, no socket is touched here.
//!
//! A pool has so many *places* as the phase wants transports. A place holds a transport (being made, idle, or in
//! use) or is empty. Empty places are filled in the background. They are filled *on demand* instead, by the request
//! that needs one, while
//!
//! * connections cannot be made: so requests to a target that is down fail as `connect` instead of waiting
//!   for nothing, and
//! * requests ask for fresh connections: so no transport is made only to be closed again.

use std::collections::VecDeque;

/// Names a connection.
pub type ConnectionKey = u32;

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// An idle connection.
    Idle(ConnectionKey),
    /// An empty place: connect to this endpoint.
    Make {
        /// Index among the target's endpoints.
        endpoint: usize,
        /// Close this idle connection first: its place is the one given.
        instead_of: Option<ConnectionKey>,
    },
}

/// The pool of one target on one load thread.
#[derive(Debug)]
pub struct Pool {
    /// Per endpoint, longest idle first: all connections are used in turn, and none idles into the peer's timeout.
    idle: Vec<VecDeque<ConnectionKey>>,
    idle_count: u32,
    /// Places with a transport.
    held: u32,
    /// Of these, the ones being made in the background.
    making: u32,
    wanted: u32,
    /// Promised to arrivals whose guest has not been called yet.
    reserved: u32,
    down: bool,
    fresh: bool,
    next_endpoint: usize,
}

impl Pool {
    /// A pool without places over so many endpoints.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self {
            idle: (0..endpoints.max(1)).map(|_| VecDeque::new()).collect(),
            idle_count: 0,
            held: 0,
            making: 0,
            wanted: 0,
            reserved: 0,
            down: false,
            fresh: false,
            next_endpoint: 0,
        }
    }

    /// Wants so many places from now on. Idle connections beyond it are returned, to be closed; busy ones go when
    /// they become idle.
    pub fn want(&mut self, wanted: u32) -> Vec<ConnectionKey> {
        self.wanted = wanted;
        let mut surplus = Vec::new();
        while self.held > self.wanted {
            let Some(key) = self.pop_idle() else { break };
            self.held -= 1;
            surplus.push(key);
        }
        surplus
    }

    /// Fills empty places in the background again, until a request asks for a fresh connection.
    pub const fn forget_fresh(&mut self) {
        self.fresh = false;
    }

    /// What the last attempt to connect said is forgotten: the next goes elsewhere.
    pub const fn forget_down(&mut self) {
        self.down = false;
    }

    /// Places without a transport.
    #[must_use]
    pub const fn empty(&self) -> u32 {
        self.wanted.saturating_sub(self.held)
    }

    /// Transports, those being made included.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.held
    }

    /// Whether the last attempt to connect failed.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.down
    }

    /// How many requests could get a connection now, beyond those that are promised one.
    #[must_use]
    pub const fn free(&self) -> u32 {
        let demand = if self.down || self.fresh { self.empty() } else { 0 };
        (self.idle_count + demand).saturating_sub(self.reserved)
    }

    /// Promises a connection.
    pub const fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Takes a promise back, kept or not.
    pub const fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// How many to begin making in the background now, with at most `parallel` in progress.
    #[must_use]
    pub fn to_make(&self, parallel: u32) -> u32 {
        if self.fresh { 0 } else { self.empty().min(parallel.saturating_sub(self.making)) }
    }

    /// Begins one in the background; to which endpoint.
    pub fn make(&mut self) -> usize {
        self.held += 1;
        self.making += 1;
        self.turn()
    }

    /// Gives a request an idle connection, or a place to make one on demand.
    pub fn grant(&mut self) -> Option<Grant> {
        if let Some(key) = self.pop_idle() {
            Some(Grant::Idle(key))
        } else if (self.down || self.fresh) && self.empty() > 0 {
            self.held += 1;
            Some(Grant::Make { endpoint: self.turn(), instead_of: None })
        } else {
            None
        }
    }

    /// Gives a request a place for a connection of its own that is closed after the answer.
    pub fn grant_fresh(&mut self) -> Option<Grant> {
        self.fresh = true;
        if self.empty() > 0 {
            self.held += 1;
            Some(Grant::Make { endpoint: self.turn(), instead_of: None })
        } else {
            self.pop_idle().map(|key| Grant::Make { endpoint: self.turn(), instead_of: Some(key) })
        }
    }

    /// A connection was made: in the background or on demand. The target is up.
    pub fn made(&mut self, background: bool) {
        self.down = false;
        if background {
            self.making = self.making.saturating_sub(1);
        }
    }

    /// A connection could not be made; its place is empty again.
    pub fn not_made(&mut self, background: bool) {
        if background {
            self.making = self.making.saturating_sub(1);
        }
        self.held = self.held.saturating_sub(1);
        self.down = true;
    }

    /// A connection that was being made in the background is not wanted any more; its place is empty again.
    pub const fn given_up(&mut self) {
        self.making = self.making.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
    }

    /// A connection has nothing to do. `false`: there is no place for it any more; close it and call
    /// [`Pool::closed`].
    #[must_use]
    pub fn put_back(&mut self, endpoint: usize, key: ConnectionKey) -> bool {
        if self.held > self.wanted {
            return false;
        }
        match self.idle.get_mut(endpoint) {
            Some(idle) => idle.push_back(key),
            None => return false,
        }
        self.idle_count += 1;
        true
    }

    /// A connection that was in use is closed; its place is empty.
    pub fn closed(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// An idle connection is closed; its place is empty.
    pub fn idle_closed(&mut self, endpoint: usize, key: ConnectionKey) {
        if let Some(idle) = self.idle.get_mut(endpoint)
            && let Some(at) = idle.iter().position(|idle| *idle == key)
        {
            idle.remove(at);
            self.idle_count -= 1;
            self.held = self.held.saturating_sub(1);
        }
    }

    fn turn(&mut self) -> usize {
        let endpoint = self.next_endpoint;
        self.next_endpoint = (endpoint + 1) % self.idle.len();
        endpoint
    }

    /// The longest idle connection of the next endpoint that has one: endpoints are used in turn.
    fn pop_idle(&mut self) -> Option<ConnectionKey> {
        if self.idle_count == 0 {
            return None;
        }
        for _ in 0..self.idle.len() {
            let endpoint = self.turn();
            if let Some(key) = self.idle[endpoint].pop_front() {
                self.idle_count -= 1;
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(endpoints: usize, n: u32) -> Pool {
        let mut pool = Pool::new(endpoints);
        assert!(pool.want(n).is_empty());
        assert_eq!(pool.to_make(64), n);
        for key in 0..n {
            let endpoint = pool.make();
            pool.made(true);
            assert!(pool.put_back(endpoint, key));
        }
        assert_eq!((pool.free(), pool.empty(), pool.to_make(64)), (n, 0, 0));
        pool
    }

    #[test]
    fn connections_and_endpoints_are_used_in_turn() {
        let mut pool = filled(2, 4);
        let order: Vec<_> = (0..5).map(|_| pool.grant()).collect();
        assert_eq!(
            order,
            [0, 1, 2, 3].map(|key| Some(Grant::Idle(key))).into_iter().chain([None]).collect::<Vec<_>>()
        );
        assert!(pool.put_back(1, 3));
        assert_eq!(pool.grant(), Some(Grant::Idle(3)));
    }

    #[test]
    fn a_promise_is_kept_from_others() {
        let mut pool = filled(1, 2);
        pool.reserve();
        assert_eq!(pool.free(), 1);
        pool.reserve();
        assert_eq!(pool.free(), 0);
        pool.release();
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn the_making_is_bounded() {
        let mut pool = Pool::new(1);
        pool.want(100);
        assert_eq!(pool.to_make(64), 64);
        for _ in 0..64 {
            pool.make();
        }
        assert_eq!(pool.to_make(64), 0);
        pool.made(true);
        assert_eq!(pool.to_make(64), 1);
    }

    #[test]
    fn a_target_that_is_down_is_tried_on_demand() {
        let mut pool = Pool::new(1);
        pool.want(1);
        pool.make();
        assert_eq!((pool.free(), pool.grant()), (0, None));
        pool.not_made(true);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.grant(), Some(Grant::Make { endpoint: 0, instead_of: None }));
        assert_eq!((pool.free(), pool.grant()), (0, None));
        pool.made(false);
        assert!(pool.put_back(0, 9));
        assert!(!pool.is_down());
        pool.idle_closed(0, 9);
        assert_eq!((pool.free(), pool.empty(), pool.held()), (0, 1, 0));
    }

    #[test]
    fn what_is_given_up_says_nothing_of_the_target() {
        let mut pool = Pool::new(1);
        pool.want(2);
        pool.make();
        pool.given_up();
        assert_eq!((pool.is_down(), pool.held(), pool.to_make(64)), (false, 0, 2));
        pool.make();
        pool.not_made(true);
        pool.forget_down();
        assert_eq!((pool.is_down(), pool.to_make(64)), (false, 2));
    }

    #[test]
    fn fresh_connections_take_the_place_of_idle_ones() {
        let mut pool = filled(1, 2);
        assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(0) }));
        assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(1) }));
        assert_eq!(pool.grant_fresh(), None);
        pool.closed();
        assert_eq!((pool.free(), pool.to_make(64)), (1, 0));
        assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: None }));
    }

    #[test]
    fn shrinking_closes_idle_now_and_busy_later() {
        let mut pool = filled(1, 3);
        assert_eq!(pool.grant(), Some(Grant::Idle(0)));
        assert_eq!(pool.want(1), vec![1, 2]);
        assert!(pool.put_back(0, 0));
        assert!(pool.want(0) == vec![0] && pool.held() == 0);
    }
}
