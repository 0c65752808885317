//! Who may use which connection of a target: bookkeeping only, no socket is touched here.
//!
//! A pool has so many *places* as the phase wants transports. A place holds a transport (being made, idle, or in
//! use) or is empty. Empty places are filled in the background. They are filled *on demand* instead, by the request
//! that needs one, while
//!
//! * connections cannot be made: so requests to a target that is down fail as `connect` instead of waiting
//!   for nothing, and
//! * requests ask for fresh connections: so no transport is made only to be closed again.
//!
//! A transport has *lanes*: so many requests it carries at a time. In HTTP/1.1 that is one, in HTTP/2 as many as plan and
//! server allow. Requests get lanes, and promises are of lanes; a transport that has none free is not offered. One that
//! is *retired* (its peer or the phase wants it gone) gets no more requests and is closed when its last lane is free.

use std::collections::VecDeque;

/// Names a connection.
pub type ConnectionKey = u32;

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A free lane of a connection: in HTTP/1.1 an idle connection.
    Idle(ConnectionKey),
    /// An empty place: connect to this endpoint.
    Make {
        /// Index among the target's endpoints.
        endpoint: usize,
        /// Close this connection, which carries nothing, first: its place is the one given.
        instead_of: Option<ConnectionKey>,
    },
}

/// How many requests one connection may carry at a time, and how many lanes are taken.
#[derive(Clone, Copy, Debug, Default)]
struct Lanes {
    limit: u32,
    used: u32,
    retired: bool,
    /// It stands in its endpoint's `idle`: it has a free lane.
    listed: bool,
}

impl Lanes {
    const fn free(self) -> u32 {
        if self.retired { 0 } else { self.limit.saturating_sub(self.used) }
    }
}

/// The pool of one target on one load thread.
#[derive(Debug)]
pub struct Pool {
    /// Per endpoint, the connections with a free lane, longest unused first: all connections are used in turn, and none
    /// idles into the peer's timeout.
    idle: Vec<VecDeque<ConnectionKey>>,
    /// By connection.
    lanes: Vec<Lanes>,
    /// Free lanes of all listed connections.
    free_lanes: u32,
    /// Places with a transport.
    held: u32,
    /// Of these, the retired ones.
    retired: u32,
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
            lanes: Vec::new(),
            free_lanes: 0,
            held: 0,
            retired: 0,
            making: 0,
            wanted: 0,
            reserved: 0,
            down: false,
            fresh: false,
            next_endpoint: 0,
        }
    }

    /// Wants so many places from now on. Connections beyond it that carry nothing are returned, to be closed; the others
    /// go when they carry nothing.
    pub fn want(&mut self, wanted: u32) -> Vec<ConnectionKey> {
        self.wanted = wanted;
        let mut surplus = Vec::new();
        while self.has_surplus() {
            let Some(key) = self.take_unused() else { break };
            self.held -= 1;
            surplus.push(key);
        }
        surplus
    }

    /// Whether there are more connections than places, those not counted that go anyway.
    const fn has_surplus(&self) -> bool {
        self.held.saturating_sub(self.retired) > self.wanted
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

    /// How many requests could be sent now, beyond those that are promised one.
    #[must_use]
    pub const fn free(&self) -> u32 {
        let demand = if self.down || self.fresh { self.empty() } else { 0 };
        (self.free_lanes + demand).saturating_sub(self.reserved)
    }

    /// Promises a lane.
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

    /// Gives a request a free lane, or a place to make a connection on demand.
    pub fn grant(&mut self) -> Option<Grant> {
        if let Some(key) = self.take_lane() {
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
            self.take_unused().map(|key| Grant::Make { endpoint: self.turn(), instead_of: Some(key) })
        }
    }

    /// A connection was made: in the background or on demand. The target is up. One of its lanes is taken until
    /// [`Pool::put_back`], by the request that it was made for or by its maker.
    pub fn made(&mut self, background: bool, endpoint: usize, key: ConnectionKey, lanes: u32) {
        self.down = false;
        if background {
            self.making = self.making.saturating_sub(1);
        }
        *self.lanes_mut(key) = Lanes { used: 1, ..Lanes::default() };
        self.set_lanes(endpoint, key, lanes);
    }

    /// How many requests a connection may carry at a time from now on. Those that it has too many stay.
    pub fn set_lanes(&mut self, endpoint: usize, key: ConnectionKey, limit: u32) {
        self.change(endpoint, key, |lanes| lanes.limit = limit);
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

    /// A lane is free. `false`: the connection is not wanted any more and carries nothing; close it and call
    /// [`Pool::closed`].
    #[must_use]
    pub fn put_back(&mut self, endpoint: usize, key: ConnectionKey) -> bool {
        if endpoint >= self.idle.len() {
            return false;
        }
        if self.has_surplus() {
            self.retire(endpoint, key);
        }
        self.change(endpoint, key, |lanes| lanes.used = lanes.used.saturating_sub(1));
        let lanes = *self.lanes_mut(key);
        !lanes.retired || lanes.used > 0
    }

    /// Gives the connection no more requests. `false`: it carries nothing; close it and call [`Pool::closed`].
    pub fn retire(&mut self, endpoint: usize, key: ConnectionKey) -> bool {
        if !self.lanes_mut(key).retired {
            self.retired += 1;
            self.change(endpoint, key, |lanes| lanes.retired = true);
        }
        self.lanes_mut(key).used > 0
    }

    /// A connection is closed; its place is empty.
    pub fn closed(&mut self, endpoint: usize, key: ConnectionKey) {
        if self.lanes_mut(key).retired {
            self.retired = self.retired.saturating_sub(1);
        }
        self.change(endpoint, key, |lanes| *lanes = Lanes { listed: lanes.listed, ..Lanes::default() });
        self.held = self.held.saturating_sub(1);
    }

    fn lanes_mut(&mut self, key: ConnectionKey) -> &mut Lanes {
        let index = key as usize;
        if index >= self.lanes.len() {
            self.lanes.resize(index + 1, Lanes::default());
        }
        &mut self.lanes[index]
    }

    /// Changes what is known of a connection, and lists it if it has a free lane after that.
    fn change(&mut self, endpoint: usize, key: ConnectionKey, change: impl FnOnce(&mut Lanes)) {
        let lanes = self.lanes_mut(key);
        let before = if lanes.listed { lanes.free() } else { 0 };
        change(lanes);
        let after = lanes.free();
        let listed = std::mem::replace(&mut lanes.listed, after > 0);
        self.free_lanes = self.free_lanes - before + after;
        let Some(idle) = self.idle.get_mut(endpoint) else { return };
        if after > 0 && !listed {
            idle.push_back(key);
        } else if after == 0
            && listed
            && let Some(at) = idle.iter().position(|idle| *idle == key)
        {
            idle.remove(at);
        }
    }

    fn turn(&mut self) -> usize {
        let endpoint = self.next_endpoint;
        self.next_endpoint = (endpoint + 1) % self.idle.len();
        endpoint
    }

    /// A lane of the longest unused connection of the next endpoint that has one: endpoints are used in turn.
    fn take_lane(&mut self) -> Option<ConnectionKey> {
        if self.free_lanes == 0 {
            return None;
        }
        for _ in 0..self.idle.len() {
            let endpoint = self.turn();
            let Some(key) = self.idle[endpoint].pop_front() else { continue };
            let lanes = self.lanes_mut(key);
            lanes.used += 1;
            lanes.listed = lanes.free() > 0;
            if lanes.listed {
                self.idle[endpoint].push_back(key);
            }
            self.free_lanes -= 1;
            return Some(key);
        }
        None
    }

    /// Takes a connection that carries nothing out, the longest unused of the next endpoint that has one. Its place is
    /// still held.
    fn take_unused(&mut self) -> Option<ConnectionKey> {
        for _ in 0..self.idle.len() {
            let endpoint = self.turn();
            let lanes = &self.lanes;
            let unused = |key: &ConnectionKey| lanes.get(*key as usize).is_some_and(|lanes| lanes.used == 0);
            if let Some(key) = self.idle[endpoint].iter().copied().find(unused) {
                self.change(endpoint, key, |lanes| {
                    *lanes = Lanes { listed: lanes.listed, ..Lanes::default() }
                });
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
