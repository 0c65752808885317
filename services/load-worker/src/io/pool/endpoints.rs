//! The endpoints of a target in its pool: which are open, what each one has of the places, and whose turn it is.

use std::collections::VecDeque;

use plan::model::Balance;

use super::ConnectionKey;

/// An endpoint.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    /// The connections with a free lane, longest unused first: all connections are used in turn, and none idles into the
    /// peer's timeout.
    pub(super) idle: VecDeque<ConnectionKey>,
    /// Lanes in use.
    pub(super) used: u32,
    /// Places with a transport.
    pub(super) held: u32,
    /// Of these, the retired ones.
    pub(super) retired: u32,
    /// Of these, the ones being made in the background.
    pub(super) making: u32,
    /// Of these, the ones that are made.
    pub(super) made: u32,
    /// Places that are its own.
    share: u32,
    /// The last attempt to connect failed.
    pub(super) down: bool,
    /// No requests are to go to it.
    out: bool,
    /// Requests go to it.
    open: bool,
}

impl Endpoint {
    /// Lanes in use, and connections that are being made for a request.
    const fn load(&self) -> u32 {
        self.used + self.held.saturating_sub(self.making + self.made)
    }

    const fn fills_on_demand(&self) -> bool {
        self.down && self.held < self.share
    }

    fn can_serve(&self) -> bool {
        !self.idle.is_empty() || self.fills_on_demand()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    /// The open ones, in order: those that are not out, or all of them. Never empty. What *at* is said of below is a
    /// position in this list.
    open: Vec<usize>,
    balance: Balance,
    first: usize,
    /// Whose turn it is.
    next: usize,
}

impl Endpoints {
    pub(super) fn new(endpoints: usize, balance: Balance, first: usize) -> Self {
        let mut all = Vec::new();
        all.resize_with(endpoints.max(1), Endpoint::default);
        let next = first % all.len();
        let mut made = Self { all, open: Vec::new(), balance, first, next };
        made.divide(0);
        made
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn at(&mut self, endpoint: usize) -> &mut Endpoint {
        &mut self.all[endpoint]
    }

    pub(super) fn is_open(&self, endpoint: usize) -> bool {
        self.all[endpoint].open
    }

    pub(super) const fn draws(&self) -> bool {
        self.all.len() > 1 && matches!(self.balance, Balance::Random | Balance::PowerOfTwo)
    }

    pub(super) fn set_out(&mut self, endpoint: usize, out: bool) {
        self.all[endpoint].out = out;
    }

    /// Says which are open, and gives each of them its share of so many places.
    pub(super) fn divide(&mut self, places: u32) {
        let all_out = self.all.iter().all(|endpoint| endpoint.out);
        self.open.clear();
        for (number, endpoint) in self.all.iter_mut().enumerate() {
            endpoint.open = all_out || !endpoint.out;
            endpoint.share = 0;
            if endpoint.open {
                self.open.push(number);
            }
        }
        let open = self.open.len();
        let count = u32::try_from(open).unwrap_or(u32::MAX);
        for rank in 0..count {
            let endpoint = self.open[(self.first + rank as usize) % open];
            self.all[endpoint].share = places / count + u32::from(rank < places % count);
        }
        self.next %= open;
    }

    pub(super) fn has_surplus(&self, endpoint: usize) -> bool {
        let state = &self.all[endpoint];
        state.held.saturating_sub(state.retired) > state.share
    }

    /// Empty places of open endpoints that are down.
    pub(super) fn empty_of_down(&self) -> u32 {
        let down = self.open.iter().map(|endpoint| &self.all[*endpoint]).filter(|endpoint| endpoint.down);
        down.map(|endpoint| endpoint.share.saturating_sub(endpoint.held)).sum()
    }

    pub(super) fn forget_down(&mut self) {
        for endpoint in &mut self.all {
            endpoint.down = false;
        }
    }

    /// Where a connection is to be made in the background: of the open endpoints with empty places the one that has the
    /// fewest connections. One that is down is tried by one at a time.
    pub(super) fn to_fill(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let wants = |number: &usize| {
            let endpoint = &self.all[*number];
            endpoint.held < endpoint.share && !(endpoint.down && endpoint.making > 0) && may(*number)
        };
        self.open.iter().copied().filter(wants).min_by_key(|number| self.all[*number].held)
    }

    pub(super) const fn open(&self) -> usize {
        self.open.len()
    }

    /// Which endpoint that is.
    pub(super) fn opened(&self, at: usize) -> usize {
        self.open[at]
    }

    /// The one behind it.
    pub(super) const fn after(&self, at: usize) -> usize {
        if at + 1 < self.open.len() { at + 1 } else { 0 }
    }

    /// It had its turn.
    pub(super) const fn turn(&mut self, at: usize) {
        self.next = self.after(at);
    }

    pub(super) fn fills_on_demand(&self, endpoint: usize) -> bool {
        self.all[endpoint].fills_on_demand()
    }

    /// Where a request is to go by the policy. With `fresh` it brings its own connection: any endpoint can take it.
    pub(super) fn choose(&self, draw: u64, fresh: bool) -> usize {
        let open = self.open.len();
        if open == 1 {
            return 0;
        }
        let able = |at: usize| fresh || self.all[self.open[at]].can_serve();
        let load = |at: usize| self.all[self.open[at]].load();
        match self.balance {
            Balance::RoundRobin => self.next,
            Balance::Random => below(open, draw >> 32),
            Balance::PowerOfTwo => {
                let one = below(open, draw >> 32);
                let other = below(open - 1, draw & 0xffff_ffff);
                let other = other + usize::from(other >= one);
                // Of equals the one that was drawn first, so that idle endpoints are used evenly.
                if !able(one) || (able(other) && load(other) < load(one)) { other } else { one }
            }
            Balance::LeastConnections => {
                let mut best = self.next;
                let mut at = self.next;
                for _ in 1..open {
                    at = self.after(at);
                    if able(at) && (!able(best) || load(at) < load(best)) {
                        best = at;
                    }
                }
                best
            }
        }
    }

    pub(super) fn made(&mut self, background: bool, endpoint: usize) {
        let state = &mut self.all[endpoint];
        state.down = false;
        state.made += 1;
        state.used += 1;
        if background {
            state.making = state.making.saturating_sub(1);
        }
    }

    pub(super) fn not_made(&mut self, background: bool, endpoint: usize) {
        let state = &mut self.all[endpoint];
        state.down = true;
        state.held = state.held.saturating_sub(1);
        if background {
            state.making = state.making.saturating_sub(1);
        }
    }

    pub(super) fn given_up(&mut self, endpoint: usize) {
        let state = &mut self.all[endpoint];
        state.held = state.held.saturating_sub(1);
        state.making = state.making.saturating_sub(1);
    }
}

/// 32 uniform bits as one of the numbers from 0 to n − 1, evenly.
const fn below(n: usize, bits: u64) -> usize {
    ((bits * n as u64) >> 32) as usize
}
