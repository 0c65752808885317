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
//!
//! Of a target with several *endpoints* each that is *open* has its share of the places, and no other's: an endpoint that
//! refuses connections leaves its places empty, so that its part of the load fails on it instead of going elsewhere unseen.
//! One that was put *out* has no place, and its connections go as retired ones do. Which endpoint a request goes to is the
//! policy's choice; an endpoint that is up and has no lane free just then is passed over for the next.

mod endpoints;

use plan::model::Balance;

use endpoints::Endpoints;

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
    /// There is a connection, and it is made.
    made: bool,
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
    endpoints: Endpoints,
    /// By connection.
    lanes: Vec<Lanes>,
    /// Free lanes of all listed connections.
    free_lanes: u32,
    /// Places that requests may fill themselves.
    demand: u32,
    /// Places with a transport.
    held: u32,
    /// Of these, the retired ones.
    retired: u32,
    /// Of these, the ones being made in the background.
    making: u32,
    wanted: u32,
    /// Promised to arrivals whose guest has not been called yet.
    reserved: u32,
    fresh: bool,
}

impl Pool {
    /// A pool without places over so many endpoints, all of them open. `first` is the endpoint whose turn comes first and
    /// that has one place more where they cannot be shared equally: not the same on each load thread.
    #[must_use]
    pub fn new(endpoints: usize, balance: Balance, first: usize) -> Self {
        Self {
            endpoints: Endpoints::new(endpoints, balance, first),
            lanes: Vec::new(),
            free_lanes: 0,
            demand: 0,
            held: 0,
            retired: 0,
            making: 0,
            wanted: 0,
            reserved: 0,
            fresh: false,
        }
    }

    /// Whether [`Pool::grant`] wants a draw.
    #[must_use]
    pub const fn draws(&self) -> bool {
        self.endpoints.draws()
    }

    /// Wants so many places from now on. Connections beyond it that carry nothing are returned, to be closed; the others
    /// go when they carry nothing.
    pub fn want(&mut self, wanted: u32) -> Vec<ConnectionKey> {
        self.wanted = wanted;
        self.spread()
    }

    /// Puts an endpoint out, or opens it again. When all are out, all are used as if none were. Returns connections to be
    /// closed, as [`Pool::want`] does.
    pub fn set_out(&mut self, endpoint: usize, out: bool) -> Vec<ConnectionKey> {
        self.endpoints.set_out(endpoint, out);
        self.spread()
    }

    /// Divides the places anew.
    fn spread(&mut self) -> Vec<ConnectionKey> {
        self.endpoints.divide(self.wanted);
        let mut surplus = Vec::new();
        for endpoint in 0..self.endpoints.len() {
            while self.has_surplus(endpoint)
                && let Some(key) = self.take_unused(endpoint)
            {
                surplus.push(key);
            }
            if !self.endpoints.is_open(endpoint) {
                // What has a lane free must not be counted on.
                while let Some(key) = self.endpoints.at(endpoint).idle.front().copied() {
                    self.retire(endpoint, key);
                }
            }
        }
        self.recount();
        surplus
    }

    /// Whether an endpoint has more connections than places, those not counted that go anyway. Fresh connections take
    /// places wherever they find them, as long as it is open there.
    fn has_surplus(&self, endpoint: usize) -> bool {
        let over_all = || self.held.saturating_sub(self.retired) > self.wanted;
        self.endpoints.has_surplus(endpoint)
            && (!self.fresh || !self.endpoints.is_open(endpoint) || over_all())
    }

    /// Counts the places that requests may fill themselves, after something of it has changed.
    fn recount(&mut self) {
        let empty = self.empty();
        self.demand = if self.fresh { empty } else { self.endpoints.empty_of_down().min(empty) };
    }

    /// Fills empty places in the background again, until a request asks for a fresh connection.
    pub fn forget_fresh(&mut self) {
        self.fresh = false;
        self.recount();
    }

    /// Fills no empty places in the background: all requests ask for fresh connections.
    pub fn make_fresh(&mut self) {
        self.fresh = true;
        self.recount();
    }

    /// What the last attempts to connect said is forgotten: the next go elsewhere.
    pub fn forget_down(&mut self) {
        self.endpoints.forget_down();
        self.recount();
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

    /// How many requests could be sent now, beyond those that are promised one.
    #[must_use]
    pub const fn free(&self) -> u32 {
        (self.free_lanes + self.demand).saturating_sub(self.reserved)
    }

    /// Promises a lane.
    pub const fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Takes a promise back, kept or not.
    pub const fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Begins to make a connection in the background, with at most `parallel` in progress, one at a time to an endpoint
    /// that is down, and none to those that `may` refuses; to which endpoint. `None`: no place is to be filled now.
    pub fn make(&mut self, parallel: u32, may: impl Fn(usize) -> bool) -> Option<usize> {
        if self.fresh || self.empty() == 0 || self.making >= parallel {
            return None;
        }
        let endpoint = self.endpoints.to_fill(may)?;
        self.held += 1;
        self.making += 1;
        let state = self.endpoints.at(endpoint);
        state.held += 1;
        state.making += 1;
        self.recount();
        Some(endpoint)
    }

    /// Gives a request a free lane, or a place to make a connection on demand. `draw`: 64 uniform bits where
    /// [`Pool::draws`] says so.
    pub fn grant(&mut self, draw: u64) -> Option<Grant> {
        let mut at = self.endpoints.choose(draw, false);
        for _ in 0..self.endpoints.open() {
            let endpoint = self.endpoints.opened(at);
            if let Some(key) = self.take_lane(endpoint) {
                self.endpoints.turn(at);
                return Some(Grant::Idle(key));
            }
            if self.empty() > 0 && self.endpoints.fills_on_demand(endpoint) {
                self.endpoints.turn(at);
                return Some(self.place(endpoint, None));
            }
            at = self.endpoints.after(at);
        }
        if self.fresh && self.empty() > 0 {
            self.endpoints.turn(at);
            return Some(self.place(self.endpoints.opened(at), None));
        }
        None
    }

    /// Gives a request a place for a connection of its own that is closed after the answer.
    pub fn grant_fresh(&mut self, draw: u64) -> Option<Grant> {
        if !self.fresh {
            self.fresh = true;
            self.recount();
        }
        let instead_of = if self.empty() > 0 {
            None
        } else {
            // Another endpoint's connection if need be: the number of all is what holds.
            let unused = (0..self.endpoints.len()).find_map(|endpoint| self.take_unused(endpoint));
            Some(unused?)
        };
        let at = self.endpoints.choose(draw, true);
        self.endpoints.turn(at);
        Some(self.place(self.endpoints.opened(at), instead_of))
    }

    /// Gives a place at an endpoint away.
    fn place(&mut self, endpoint: usize, instead_of: Option<ConnectionKey>) -> Grant {
        self.held += 1;
        self.endpoints.at(endpoint).held += 1;
        self.recount();
        Grant::Make { endpoint, instead_of }
    }

    /// A connection was made: in the background or on demand. The endpoint is up. One of its lanes is taken until
    /// [`Pool::put_back`], by the request that it was made for or by its maker.
    pub fn made(&mut self, background: bool, endpoint: usize, key: ConnectionKey, lanes: u32) {
        if background {
            self.making = self.making.saturating_sub(1);
        }
        self.endpoints.made(background, endpoint);
        *self.lanes_mut(key) = Lanes { used: 1, made: true, ..Lanes::default() };
        self.set_lanes(endpoint, key, lanes);
        if !self.endpoints.is_open(endpoint) {
            // It was put out meanwhile.
            self.retire(endpoint, key);
        }
        self.recount();
    }

    /// How many requests a connection may carry at a time from now on. Those that it has too many stay.
    pub fn set_lanes(&mut self, endpoint: usize, key: ConnectionKey, limit: u32) {
        self.change(endpoint, key, |lanes| lanes.limit = limit);
    }

    /// A connection could not be made; its place is empty again.
    pub fn not_made(&mut self, background: bool, endpoint: usize) {
        if background {
            self.making = self.making.saturating_sub(1);
        }
        self.held = self.held.saturating_sub(1);
        self.endpoints.not_made(background, endpoint);
        self.recount();
    }

    /// A connection that was being made in the background is not wanted any more; its place is empty again.
    pub fn given_up(&mut self, endpoint: usize) {
        self.making = self.making.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        self.endpoints.given_up(endpoint);
        self.recount();
    }

    /// A lane is free. `false`: the connection is not wanted any more and carries nothing; close it and call
    /// [`Pool::closed`].
    #[must_use]
    pub fn put_back(&mut self, endpoint: usize, key: ConnectionKey) -> bool {
        if endpoint >= self.endpoints.len() {
            return false;
        }
        if self.has_surplus(endpoint) {
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
            self.endpoints.at(endpoint).retired += 1;
            self.change(endpoint, key, |lanes| lanes.retired = true);
        }
        self.lanes_mut(key).used > 0
    }

    /// A connection is closed; its place is empty.
    pub fn closed(&mut self, endpoint: usize, key: ConnectionKey) {
        if self.lanes_mut(key).retired {
            self.retired = self.retired.saturating_sub(1);
            let state = self.endpoints.at(endpoint);
            state.retired = state.retired.saturating_sub(1);
        }
        self.forget(endpoint, key);
        self.give_up_place(endpoint);
        self.recount();
    }

    fn give_up_place(&mut self, endpoint: usize) {
        self.held = self.held.saturating_sub(1);
        let state = self.endpoints.at(endpoint);
        state.held = state.held.saturating_sub(1);
    }

    /// Nothing is known of a connection any more.
    fn forget(&mut self, endpoint: usize, key: ConnectionKey) {
        if self.lanes_mut(key).made {
            let state = self.endpoints.at(endpoint);
            state.made = state.made.saturating_sub(1);
        }
        self.change(endpoint, key, |lanes| *lanes = Lanes { listed: lanes.listed, ..Lanes::default() });
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
        let (before, used) = (if lanes.listed { lanes.free() } else { 0 }, lanes.used);
        change(lanes);
        let (after, now_used) = (lanes.free(), lanes.used);
        let listed = std::mem::replace(&mut lanes.listed, after > 0);
        self.free_lanes = self.free_lanes - before + after;
        let state = self.endpoints.at(endpoint);
        state.used = state.used + now_used - used;
        if after > 0 && !listed {
            state.idle.push_back(key);
        } else if after == 0
            && listed
            && let Some(at) = state.idle.iter().position(|idle| *idle == key)
        {
            state.idle.remove(at);
        }
    }

    /// A lane of the longest unused connection of an endpoint.
    fn take_lane(&mut self, endpoint: usize) -> Option<ConnectionKey> {
        let state = self.endpoints.at(endpoint);
        let key = state.idle.pop_front()?;
        state.used += 1;
        let lanes = self.lanes_mut(key);
        lanes.used += 1;
        lanes.listed = lanes.free() > 0;
        if lanes.listed {
            self.endpoints.at(endpoint).idle.push_back(key);
        }
        self.free_lanes -= 1;
        Some(key)
    }

    /// Takes a connection to an endpoint that carries nothing out, the longest unused. Its place is empty.
    fn take_unused(&mut self, endpoint: usize) -> Option<ConnectionKey> {
        let lanes = &self.lanes;
        let unused = |key: &ConnectionKey| lanes.get(*key as usize).is_some_and(|lanes| lanes.used == 0);
        let key = self.endpoints.at(endpoint).idle.iter().copied().find(unused)?;
        self.forget(endpoint, key);
        self.give_up_place(endpoint);
        Some(key)
    }
}

#[cfg(test)]
mod tests;
