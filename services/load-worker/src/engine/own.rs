//! Users' own connections: kept for them from one request to the next, until they close them.
//!
//! In HTTP/1.1 that is a transport that nobody else uses. In HTTP/2 it is a lane: the user's requests go on one
//! connection, one after the other, and others share that connection.

use sandbox::abi;

use super::request::Stage;
use super::slots::Key;
use super::thread::LoadThread;
use super::transport::Place;

impl LoadThread {
    pub(super) fn own_it(&mut self, transport_key: Key, owner: Option<(u32, u32)>) {
        let Some((scenario, user)) = owner else { return };
        let Some(transport) = self.transports.get_mut(transport_key) else { return };
        match &mut transport.streams {
            Some(streams) => streams.owners.push((scenario, user)),
            None => transport.owner = owner,
        }
        let target = transport.target;
        if let Some(user) = self.user_mut(scenario, user) {
            user.own.push((target, transport_key));
        }
    }

    pub(super) fn own(&self, scenario: u32, user: u32, target: u32) -> Option<Key> {
        let own = &self.user(scenario, user)?.own;
        own.iter().find(|(of, _)| *of == target).map(|(_, key)| *key)
    }

    /// Whether a user's own connection can take its next request.
    pub(super) fn own_is_free(&self, scenario: u32, user: u32, target: u32, own: Key) -> bool {
        self.transports.get(own).is_some_and(|transport| match transport.streams {
            Some(_) => !self.own_is_busy(scenario, user, target),
            None => transport.place == Place::Owned,
        })
    }

    /// The oldest request of a user that waits for its own connection. The list has the newest first.
    pub(super) fn next_for_own(&self, scenario: u32, user: u32, target: u32) -> Option<Key> {
        let mut at = self.user(scenario, user)?.requests;
        let mut oldest = None;
        while let Some(key) = at {
            let request = self.requests.get(key)?;
            if request.stage == Stage::Queued
                && request.target == target
                && request.connection == Some(abi::Connection::Own)
            {
                oldest = Some(key);
            }
            at = request.next;
        }
        oldest
    }

    /// A user's own connection is no more: what waited for it takes another.
    pub(super) fn own_lost(&mut self, scenario: u32, user: u32, target: u32, now: u64) {
        while let Some(next) = self.next_for_own(scenario, user, target) {
            let before = self.requests.get(next).map(|request| request.stage);
            self.assign(next, now, false);
            if self.requests.get(next).map(|request| request.stage) == before {
                break;
            }
        }
    }

    pub(super) fn disown(&mut self, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        if let Some((scenario, user)) = transport.owner.take()
            && let Some(user) = self.user_mut(scenario, user)
        {
            user.own.retain(|(_, own)| *own != key);
        }
        let Some(transport) = self.transports.get_mut(key) else { return };
        let owners = transport.streams.as_mut().map(|streams| std::mem::take(&mut streams.owners));
        for (scenario, user) in owners.unwrap_or_default() {
            if let Some(user) = self.user_mut(scenario, user) {
                user.own.retain(|(_, own)| *own != key);
            }
        }
    }

    /// Closes a user's own connections that have no answer under way.
    pub(super) fn close_own(&mut self, scenario: u32, user: u32, now: u64) {
        let Some(own) = self.user(scenario, user).map(|user| user.own.clone()).filter(|own| !own.is_empty())
        else {
            return;
        };
        for (target, key) in own {
            if self.own_is_free(scenario, user, target, key) {
                if self.transports.get(key).is_some_and(|transport| transport.streams.is_some()) {
                    self.disown_lane(scenario, user, key, now);
                } else {
                    self.close(key, now);
                }
            }
        }
    }

    /// The user whose own lane a request is on, if it is one.
    pub(super) fn owner_of_lane(&self, request_key: Key, transport_key: Key) -> Option<(u32, u32)> {
        let request = self.requests.get(request_key)?;
        let streams = self.transports.get(transport_key)?.streams.as_ref()?;
        let owner = (request.scenario, request.user);
        let own = request.connection == Some(abi::Connection::Own) && streams.owners.contains(&owner);
        own.then_some(owner)
    }

    /// Whether a user's own lane carries a request.
    pub(super) fn own_is_busy(&self, scenario: u32, user: u32, target: u32) -> bool {
        let mut at = self.user(scenario, user).and_then(|user| user.requests);
        while let Some(request) = at.and_then(|key| self.requests.get(key)) {
            if request.target == target
                && request.connection == Some(abi::Connection::Own)
                && matches!(request.stage, Stage::Sent(_) | Stage::Connecting(_))
            {
                return true;
            }
            at = request.next;
        }
        false
    }

    /// Takes a user its own lane: the connection goes on for the others. What waited for the lane takes another.
    pub(super) fn disown_lane(&mut self, scenario: u32, user: u32, transport_key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(transport_key) else { return };
        let (target, endpoint) = (transport.target, transport.endpoint);
        if let Some(streams) = &mut transport.streams {
            streams.owners.retain(|owner| *owner != (scenario, user));
        }
        if let Some(user) = self.user_mut(scenario, user) {
            user.own.retain(|(_, own)| *own != transport_key);
        }
        let pool = self.targets.get_mut(target as usize).map(|target| &mut target.pool);
        if pool.is_some_and(|pool| !pool.put_back(endpoint, transport_key.index)) {
            self.close(transport_key, now);
        }
        self.own_lost(scenario, user, target, now);
        self.unserved = true;
    }
}
