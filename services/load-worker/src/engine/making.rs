//! Making transports: in the background, bounded, or for the request that needs one.

use mio::{Interest, Token};
use protocol::failure::FailureClass;

use super::clock::nanos;
use super::connect_pace::Retry;
use super::request::Outcome;
use super::slots::Key;
use super::thread::{FIRST_TRANSPORT, LoadThread, Timer};
use super::transport::{Place, Target, Transport};
use crate::io::connection::Connection;
use crate::io::tunnel::Tunnel;
use crate::spec::target_weights;

/// Connections that are being made in the background at a time, per target: more would overrun the accept queues of
/// ordinary servers. How many are begun a second is bounded beside it ([`super::connect_pace`]), for where each is quick.
const PARALLEL_CONNECTS: u32 = 64;

impl LoadThread {
    /// Begins to make a transport in a place that the pool has given.
    pub(super) fn open(
        &mut self,
        target: u32,
        endpoint: usize,
        request: Option<Key>,
        now: u64,
    ) -> Result<Key, FailureClass> {
        let first =
            self.targets.get(target as usize).and_then(|t| t.good.get(endpoint)).copied().unwrap_or(0);
        let (key, transport) = self.transports.take();
        *transport = Transport {
            target,
            endpoint,
            addr: first,
            place: if request.is_some() { Place::Given } else { Place::Background },
            request,
            begun: now,
            ..Transport::default()
        };
        let result = self.try_next_address(key);
        if let Err(class) = result {
            self.transports.free(key);
            return Err(class);
        }
        self.timers.after(now, nanos(self.spec.connect_timeout), Timer::Connect(key));
        Ok(key)
    }

    /// Connects to the next address of the endpoint, if there is one that was not tried.
    fn try_next_address(&mut self, key: Key) -> Result<(), FailureClass> {
        let mut failed = FailureClass::Connect;
        loop {
            let Some(transport) = self.transports.get_mut(key) else { return Err(failed) };
            let (target, number) = (transport.target as usize, transport.endpoint);
            let endpoint = self.spec.targets.get(target).and_then(|t| t.endpoints.get(number));
            let detoured = self.targets.get(target).and_then(|t| t.detoured.get(number));
            let (Some(endpoint), Some(detoured)) = (endpoint, detoured) else { return Err(failed) };
            let ways = endpoint.ways(*detoured);
            if transport.tried >= ways {
                return Err(failed);
            }
            transport.addr = (transport.addr + usize::from(transport.tried > 0)) % ways;
            transport.tried += 1;
            let Some(address) = endpoint.address(*detoured, transport.addr) else { return Err(failed) };
            let shown = endpoint.proxy_authorization.as_deref();
            let tunnel = endpoint.tunnel.as_deref().map(|authority| Tunnel::to(authority, shown));
            match Connection::connect(address, tunnel, endpoint.tls.as_ref()) {
                Ok(mut connection) => {
                    let token = Token(FIRST_TRANSPORT + key.index as usize);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if self.poll.registry().register(connection.source(), token, interest).is_ok() {
                        transport.connection = Some(connection);
                        return Ok(());
                    }
                }
                Err(class) => failed = class,
            }
        }
    }

    /// The socket is connected, and TLS is agreed on. HTTP/2 has to hear of its peer before it is open.
    pub(super) fn connected(&mut self, key: Key, now: u64) {
        let target = self.transports.get(key).and_then(|t| self.spec.targets.get(t.target as usize));
        match target.and_then(|target| target.http2) {
            None => self.opened(key, now),
            Some(most) => match self.begin_streams(key, most) {
                Ok(()) => {
                    self.begin_handshake(key, now);
                    self.drive(key, now);
                }
                Err(class) => self.open_failed(key, class, now),
            },
        }
    }

    pub(super) fn opened(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let made_in = now.saturating_sub(transport.begun);
        self.recorder.connect(true);
        self.open_transports += 1;
        let background = transport.place == Place::Background;
        let request = transport.request;
        if let Some(target) = self.targets.get_mut(transport.target as usize) {
            if let Some(good) = target.good.get_mut(transport.endpoint) {
                *good = transport.addr;
            }
            if let Some(retry) = target.retries.get_mut(transport.endpoint) {
                *retry = Retry::default();
            }
            target.quickest = Some(target.quickest.map_or(made_in, |quickest| quickest.min(made_in)));
            let lanes = transport.streams.as_ref().filter(|_| !transport.fresh).map_or(1, |s| s.lanes());
            target.pool.made(background, transport.endpoint, key.index, lanes);
        }
        if let Some(request_key) = request
            && let Some(request) = self.requests.get_mut(request_key)
        {
            if request.sent == 0 {
                // It waited for this connection: that is queue time.
                request.ready = request.ready.max(now);
            }
            self.send(request_key, key, now);
        } else {
            self.hand_back(key, now);
        }
        // It may have lanes for others, too.
        self.unserved = true;
        self.start_waiting(now);
    }

    /// This address did not answer: the next, or none.
    pub(super) fn open_failed(&mut self, key: Key, class: FailureClass, now: u64) {
        if let Some(transport) = self.transports.get_mut(key) {
            (transport.connection, transport.streams, transport.handshake) = (None, None, None);
        }
        if self.try_next_address(key).is_ok() {
            return;
        }
        let Some(transport) = self.transports.get_mut(key) else { return };
        let (target, endpoint, place) = (transport.target, transport.endpoint, transport.place);
        let request = transport.request.take();
        self.disown(key);
        self.transports.free(key);
        self.not_made(target, endpoint, place, request, class, now);
    }

    pub(super) fn not_made(
        &mut self,
        target: u32,
        endpoint: usize,
        place: Place,
        request: Option<Key>,
        class: FailureClass,
        now: u64,
    ) {
        self.recorder.connect(false);
        if let Some(target) = self.targets.get_mut(target as usize) {
            target.pool.not_made(place == Place::Background, endpoint);
            if let Some(retry) = target.retries.get_mut(endpoint) {
                retry.failed(now);
            }
        }
        if request.is_none() {
            // A request says by its own end what became of the connection.
            self.note_endpoint(target, endpoint, Outcome::Failed(class), 0, now);
        }
        if let Some(request) = request {
            self.end_request(request, Outcome::Failed(class), now);
        }
        // Not here: each of those served may fail at once, one inside the other.
        self.unserved = true;
        self.start_waiting(now);
    }

    /// A peer is reached and is spoken to: TLS, or HTTP/2's greeting, or one after the other.
    pub(super) fn begin_handshake(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        if transport.handshake.is_none() {
            transport.handshake = Some(now);
            self.timers.after(now, nanos(self.spec.handshake_timeout), Timer::Handshake(key));
        }
    }

    /// Reaching a peer has taken too long.
    pub(super) fn connect_deadline(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        // All addresses share the one deadline: whatever becomes of this one, there is no next.
        transport.tried = usize::MAX;
        if !transport.is_made() && transport.handshake.is_none() {
            self.open_failed(key, FailureClass::Connect, now);
        }
    }

    /// A handshake has taken too long, unless the one that this was for is over and that of another address goes on.
    pub(super) fn handshake_deadline(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let timeout = nanos(self.spec.handshake_timeout);
        let late = transport.handshake.is_some_and(|begun| begun.saturating_add(timeout) <= now);
        if late && !transport.is_made() {
            // A peer that does not greet back is as good as none.
            let class = transport.connection.as_ref().map_or(FailureClass::Connect, Connection::late);
            self.open_failed(key, class, now);
        }
    }

    /// Fills empty places. Returns when to look again, if some stay empty on purpose.
    pub(super) fn refill(&mut self, now: u64) -> Option<u64> {
        let mut again: Option<u64> = None;
        let mut later = |at: u64| again = Some(again.map_or(at, |before| before.min(at)));
        for index in 0..self.targets.len() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            while self.targets[index].pool.empty() > 0 {
                if let Some(at) = self.connect_pace.next(now) {
                    later(at);
                    break;
                }
                let Target { pool, retries, .. } = &mut self.targets[index];
                let may = |endpoint: usize| retries.get(endpoint).is_none_or(|retry| retry.at() <= now);
                let Some(endpoint) = pool.make(PARALLEL_CONNECTS, may) else {
                    retries.iter().map(Retry::at).filter(|at| *at > now).for_each(&mut later);
                    break;
                };
                self.connect_pace.take(now);
                if let Err(class) = self.open(number, endpoint, None, now) {
                    self.not_made(number, endpoint, Place::Background, None, class, now);
                }
            }
        }
        again
    }

    /// Chooses each endpoint's way in a phase. Transports of another way are closed: none of them is in use between phases.
    pub(super) fn choose_ways(&mut self, phase: u32) {
        let mut stale = Vec::new();
        for (number, (target, spec)) in (0_u32..).zip(self.targets.iter_mut().zip(&self.spec.targets)) {
            let ways = target.detoured.iter_mut().zip(&mut target.good).zip(&spec.endpoints);
            for (endpoint, ((detoured, good), spec)) in ways.enumerate() {
                let takes = spec.is_detoured_in(phase);
                if std::mem::replace(detoured, takes) != takes {
                    *good = 0;
                    stale.push((number, endpoint));
                }
            }
        }
        if stale.is_empty() {
            return;
        }
        for key in self.transports.keys() {
            let of = self.transports.get(key).map(|t| ((t.target, t.endpoint), t.place));
            let Some((way, place)) = of.filter(|(way, _)| stale.contains(way)) else { continue };
            self.drop_transport(key.index);
            let Some(target) = self.targets.get_mut(way.0 as usize) else { continue };
            match place {
                Place::Background => target.pool.given_up(way.1),
                Place::Idle | Place::Given | Place::Owned => target.pool.closed(way.1, key.index),
            }
        }
        for (target, _) in stale {
            if let Some(target) = self.targets.get_mut(target as usize) {
                target.pool.forget_down();
                target.retries.fill(Retry::default());
                target.quickest = None;
            }
        }
    }

    /// Changes how many transports the thread holds, over all targets.
    pub(super) fn hold(&mut self, connections: u32) {
        let shares = self.divide(connections);
        for (index, wanted) in shares.into_iter().enumerate() {
            let surplus = self.targets[index].pool.want(wanted);
            for key in surplus {
                self.drop_transport(key);
            }
        }
    }

    /// Divides transports among targets by weight; a target that is addressed at all gets one at least.
    fn divide(&self, connections: u32) -> Vec<u32> {
        let weights = self.phase.as_ref().map_or(&[][..], |phase| &phase.spec.weights);
        let weights = target_weights(self.targets.len(), &self.spec.scenarios, weights);
        divide(connections, &weights)
    }
}

/// Divides `n` by weights: rounded down, the rest to the largest remainders, at least 1 where the weight is not 0.
fn divide(n: u32, weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    if n == 0 || sum <= 0.0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|weight| f64::from(n) * weight / sum).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and n")]
    let mut parts: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0.0).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let rest = n.saturating_sub(parts.iter().sum());
    for index in order.iter().take(rest as usize) {
        parts[*index] += 1;
    }
    for index in order {
        parts[index] = parts[index].max(1);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn transports_are_divided_by_weight() {
        assert_eq!(divide(10, &[1.0]), [10]);
        assert_eq!(divide(10, &[1.0, 2.0]), [3, 7]);
        assert_eq!(divide(10, &[1.0, 0.0, 1000.0]), [1, 0, 10]);
        assert_eq!(divide(0, &[1.0, 1.0]), [0, 0]);
        assert_eq!(divide(7, &[1.0, 1.0, 1.0]).iter().sum::<u32>(), 7);
    }
}
