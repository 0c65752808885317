//! Transports on the load thread: making, giving to requests, taking back, and what their sockets report.

use std::collections::VecDeque;

use mio::event::Event;
use protocol::failure::FailureClass;
use sandbox::abi;

use super::answer::{AnswerSink, Bounds, NoSink};
use super::balancing::Rotation;
use super::connect_pace::Retry;
use super::request::{Outcome, Stage};
use super::scenario::Scenario;
use super::slots::Key;
use super::streams::Streams;
use super::thread::{FIRST_TRANSPORT, LoadThread, Timer};
use crate::io::connection::{Connection, Received};
use crate::io::http1::{Limits, Sink as _};
use crate::io::pool::{Grant, Pool};
use crate::spec::TargetSpec;

/// A target as this thread sees it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) pool: Pool,
    /// Requests that wait for a connection.
    pub(super) queue: VecDeque<Key>,
    /// Per endpoint: the address that worked last.
    pub(super) good: Vec<usize>,
    /// Per endpoint: whether the phase takes its detour.
    pub(super) detoured: Vec<bool>,
    /// Per endpoint: while it is down, when one is tried in the background.
    pub(super) retries: Vec<Retry>,
    /// Which endpoints are in use.
    pub(super) rotation: Rotation,
    /// The shortest time in which a connection was made, nanoseconds: about a round trip, or several with TLS. Many that
    /// are made at once take longer, and a reset within that time would be taken for one that was under way before.
    pub(super) quickest: Option<u64>,
    /// `false` = each request has a fresh connection, whatever its guest asks for.
    keep_alive: bool,
}

impl Target {
    pub(super) fn new(spec: &TargetSpec, thread: u32) -> Self {
        let endpoints = spec.endpoints.len();
        Self {
            pool: Pool::new(endpoints, spec.balance, thread as usize),
            queue: VecDeque::new(),
            good: vec![0; endpoints],
            detoured: vec![false; endpoints],
            retries: vec![Retry::default(); endpoints],
            rotation: Rotation::new(endpoints, spec.outlier_detection.as_ref()),
            quickest: None,
            keep_alive: spec.keep_alive,
        }
    }

    /// A phase begins: whether connections are kept ready is open again.
    pub(super) fn begin_phase(&mut self) {
        if self.keep_alive {
            self.pool.forget_fresh();
        } else {
            self.pool.make_fresh();
        }
    }

    /// A reset that comes so soon after a request was sent was under way before the request could have arrived.
    pub(super) fn stale_window(&self) -> u64 {
        2 * self.quickest.unwrap_or(0) + 1_000_000
    }
}

/// What a transport is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// Being made in the background.
    #[default]
    Background,
    /// Given to a request, or being made for one.
    Given,
    /// In the pool; one of HTTP/2 with requests on some of its lanes, or on all.
    Idle,
    /// A user's own, between its requests.
    Owned,
}

/// A transport and whose it is.
#[derive(Debug, Default)]
pub(super) struct Transport {
    pub(super) connection: Option<Connection>,
    /// What it is in `connection`'s place when it speaks HTTP/2 and is connected.
    pub(super) streams: Option<Box<Streams>>,
    pub(super) target: u32,
    pub(super) endpoint: usize,
    /// Address that is tried, and how many were.
    pub(super) addr: usize,
    pub(super) tried: usize,
    pub(super) place: Place,
    pub(super) request: Option<Key>,
    pub(super) owner: Option<(u32, u32)>,
    /// Closed after the one answer.
    pub(super) fresh: bool,
    /// Nothing is read until the guest was called: the next in [`LoadThread::paused`].
    pub(super) paused: bool,
    /// Answers it has brought.
    pub(super) uses: u32,
    pub(super) begun: u64,
    /// Since when the peer that was reached has been spoken to, before requests can be sent.
    pub(super) handshake: Option<u64>,
    /// Listed as one to read on from.
    pub(super) unread: bool,
    /// Its peer is known to have closed, though more is to be read.
    pub(super) closing: bool,
}

impl Transport {
    /// Whether the deadlines of making it have nothing to watch any more.
    pub(super) fn is_made(&self) -> bool {
        match &self.streams {
            Some(streams) => streams.is_open(),
            None => self.connection.as_ref().is_none_or(Connection::is_open),
        }
    }
}

impl LoadThread {
    /// Gives a request that may be sent now a connection, or lets it wait. `promised`: a connection is free for it, so
    /// it does not stand behind those that wait.
    pub(super) fn dispatch(&mut self, key: Key, now: u64, promised: bool) {
        let Some(request) = self.requests.get_mut(key) else { return };
        request.stage = Stage::Queued;
        let (timeout, target) = (request.timeout, request.target as usize);
        if self.targets.get(target).is_some_and(|target| !target.keep_alive) {
            request.connection = Some(abi::Connection::Fresh);
        }
        if self.targets.get(target).is_some_and(|target| target.pool.draws()) {
            self.draw_endpoint(key);
        }
        self.timers.after(now, timeout, Timer::Deadline(key));
        self.assign(key, now, promised);
    }

    /// Finds a connection for a queued request. `false`: there is none, so that it stands last in its target's queue.
    pub(super) fn assign(&mut self, key: Key, now: u64, ahead: bool) -> bool {
        let Some(request) = self.requests.get(key) else { return true };
        let (scenario, user, target) = (request.scenario, request.user, request.target);
        let connection = request.connection.unwrap_or(abi::Connection::Any);
        let draw = request.draw;
        if connection == abi::Connection::Own {
            if let Some(state) = self.scenarios.get_mut(scenario as usize) {
                state.uses_own = true;
            }
            if let Some(own) = self.own(scenario, user, target) {
                // Busy: it is served when its answer is there.
                if self.own_is_free(scenario, user, target, own) {
                    self.send(key, own, now);
                }
                return true;
            }
        }
        let Some(state) = self.targets.get_mut(target as usize) else { return true };
        let grant = if !ahead && !state.queue.is_empty() {
            None
        } else if connection == abi::Connection::Fresh {
            state.pool.grant_fresh(draw)
        } else {
            state.pool.grant(draw)
        };
        let Some(grant) = grant else {
            state.queue.push_back(key);
            return false;
        };
        if let Grant::Make { instead_of: Some(idle), .. } = grant {
            // Its place in the pool is the new one's.
            self.drop_transport(idle);
        }
        let owner = (connection == abi::Connection::Own).then_some((scenario, user));
        match grant {
            Grant::Idle(index) => {
                let Some(transport_key) = self.transports.key_at(index) else { return true };
                self.own_it(transport_key, owner);
                self.send(key, transport_key, now);
            }
            Grant::Make { endpoint, .. } => {
                let fresh = connection == abi::Connection::Fresh;
                if let Some(request) = self.requests.get_mut(key) {
                    request.endpoint = u32::try_from(endpoint).ok();
                }
                if fresh && let Some(request) = self.requests.get_mut(key) {
                    // Making the connection is part of what such a request measures.
                    request.sent = now;
                    self.recorder.send_lag(request.send_lag(now));
                }
                match self.open(target, endpoint, Some(key), now) {
                    Ok(transport_key) => {
                        self.own_it(transport_key, owner);
                        if let Some(transport) = self.transports.get_mut(transport_key) {
                            transport.fresh = fresh;
                        }
                        if let Some(request) = self.requests.get_mut(key) {
                            request.stage = Stage::Connecting(transport_key);
                        }
                    }
                    Err(class) => self.not_made(target, endpoint, Place::Given, Some(key), class, now),
                }
            }
        }
        true
    }

    /// A socket has news.
    pub(super) fn transport_event(&mut self, event: &Event) {
        let index = event.token().0.saturating_sub(FIRST_TRANSPORT);
        let Some(key) = u32::try_from(index).ok().and_then(|index| self.transports.key_at(index)) else {
            return;
        };
        let now = self.clock.now();
        let Some(transport) = self.transports.get_mut(key) else { return };
        if transport.streams.is_some() {
            return self.streams_event(key, event, now);
        }
        let Some(connection) = &mut transport.connection else { return };
        if !connection.is_open() {
            match connection.advance() {
                Ok(false) if connection.is_reached() => self.begin_handshake(key, now),
                Ok(false) => {}
                Ok(true) => self.connected(key, now),
                Err(class) => self.open_failed(key, class, now),
            }
            return;
        }
        if event.is_writable()
            && let Err(class) = connection.flush()
        {
            // An early answer may lie in the socket all the same.
            if !event.is_readable() {
                self.answer_failed(key, class, true, now);
                return;
            }
        }
        let paused = self.transports.get(key).is_some_and(|transport| transport.paused);
        if !paused && (event.is_readable() || event.is_read_closed() || event.is_error()) {
            self.receive(key, event.is_read_closed() || event.is_error(), now);
        }
    }

    pub(super) fn receive(&mut self, key: Key, closing: bool, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Some(connection) = &mut transport.connection else { return };
        let limits = Limits { max_head: self.spec.max_head as usize, max_body: self.spec.max_body };
        let request = transport.request.and_then(|key| self.requests.get_mut(key));
        let scenario = request.as_ref().and_then(|request| self.scenarios.get_mut(request.scenario as usize));
        let (Some(request), Some(scenario)) = (request, scenario) else {
            let received = connection.receive(&mut self.scratch, limits, &mut NoSink, closing, &mut 0);
            if received == Received::Unread {
                self.leave_unread(key, closing);
            } else if received != Received::Pending {
                self.close(key, now);
                self.start_waiting(now);
            }
            return;
        };
        let mut received = request.received;
        let bounds = Bounds {
            body_limit: scenario.body_limit,
            max_event: self.spec.max_event as usize,
            max_body: self.spec.max_body,
        };
        let Scenario { expectations, done, arena, .. } = scenario;
        let mut sink = AnswerSink::new(request, expectations, done, arena, bounds, self.clock, now)
            .knowing(&mut self.known_head);
        let outcome = connection.receive(&mut self.scratch, limits, &mut sink, closing, &mut received);
        let full = sink.is_full();
        self.crowded |= sink.is_crowd();
        let request = sink.request;
        request.received = received;
        if request.first == 0 && received > 0 {
            request.first = now;
        }
        match outcome {
            Received::Pending if full => {
                transport.paused = true;
                self.paused.push_back(key);
            }
            Received::Pending => {}
            Received::Unread => self.leave_unread(key, closing),
            Received::Closed => self.answer_failed(key, FailureClass::Reset, received == 0, now),
            Received::Failed { class, untouched } => self.answer_failed(key, class, untouched, now),
            Received::Whole { reusable } => {
                let done = self.clock.now();
                request.last = done;
                let decoded = request.decoder.take().map_or(Ok(()), |mut decoder| decoder.end());
                transport.uses = transport.uses.saturating_add(1);
                let request_key = transport.request.take();
                if reusable && !transport.fresh {
                    self.hand_back(key, done);
                } else {
                    self.close(key, done);
                }
                if let Some(request_key) = request_key {
                    let outcome = decoded.map_or_else(Outcome::Failed, |()| Outcome::Answered);
                    self.end_request(request_key, outcome, done);
                }
                self.start_waiting(done);
            }
        }
    }

    /// The transport broke before the answer was whole. A stale one is no answer of the target at all: it had
    /// closed an idle connection while the request was on its way. Such a request is sent once more.
    pub(super) fn answer_failed(&mut self, key: Key, class: FailureClass, untouched: bool, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Some(request_key) = transport.request.take() else {
            self.close(key, now);
            self.start_waiting(now);
            return;
        };
        let window = self.targets.get(transport.target as usize).map_or(0, Target::stale_window);
        let reused = transport.uses > 0;
        self.close(key, now);
        let Some(request) = self.requests.get_mut(request_key) else { return };
        let method = self.scenarios.get(request.scenario as usize);
        let method = method.and_then(|scenario| scenario.methods.get(request.method as usize));
        let stale = class == FailureClass::Reset
            && untouched
            && reused
            && !request.resent
            && method.is_some_and(|method| method.idempotent)
            && now.saturating_sub(request.sent) <= window;
        if stale {
            request.resent = true;
            request.stage = Stage::Queued;
            request.forget_answer();
            self.assign(request_key, now, true);
        } else {
            self.end_request(request_key, Outcome::Failed(class), now);
        }
        self.start_waiting(now);
    }

    /// A transport has nothing to do: back to its owner or to the pool, where others wait for it.
    pub(super) fn hand_back(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let target = transport.target;
        if let Some((scenario, user)) = transport.owner {
            transport.place = Place::Owned;
            if let Some(next) = self.next_for_own(scenario, user, target) {
                self.send(next, key, now);
            }
            return;
        }
        let state = self.targets.get_mut(target as usize);
        if state.is_some_and(|state| state.pool.put_back(transport.endpoint, key.index)) {
            transport.place = Place::Idle;
            self.serve(target, now);
        } else {
            transport.place = Place::Given;
            self.close(key, now);
        }
    }

    /// Closes a transport; its place in the pool becomes empty.
    pub(super) fn close(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let (target, endpoint) = (transport.target, transport.endpoint);
        let owner = transport.owner;
        let owners = transport.streams.as_mut().map(|streams| streams.owners.clone()).unwrap_or_default();
        self.drop_transport(key.index);
        if let Some(target) = self.targets.get_mut(target as usize) {
            target.pool.closed(endpoint, key.index);
        }
        for (scenario, user) in owner.into_iter().chain(owners) {
            self.own_lost(scenario, user, target, now);
        }
        self.unserved = true;
    }

    /// Closes the socket and forgets the transport. The pool is the caller's business.
    pub(super) fn drop_transport(&mut self, index: u32) {
        let Some(key) = self.transports.key_at(index) else { return };
        self.disown(key);
        if let Some(transport) = self.transports.get_mut(key) {
            let was_open = transport.connection.take().is_some_and(|connection| connection.is_open());
            if was_open || transport.streams.take().is_some_and(|streams| streams.is_open()) {
                self.open_transports = self.open_transports.saturating_sub(1);
            }
        }
        self.transports.free(key);
    }

    /// Takes a request off its transport, which is closed if an answer is under way.
    pub(super) fn abandon(&mut self, key: Key, now: u64) {
        let Some(request) = self.requests.get(key) else { return };
        if let Stage::Sent(transport_key) | Stage::Connecting(transport_key) = request.stage
            && let Some(transport) = self.transports.get_mut(transport_key)
        {
            if request.stage == Stage::Sent(transport_key) && transport.streams.is_some() {
                return self.abandon_stream(key, transport_key, now);
            }
            transport.request = None;
            let connecting = matches!(request.stage, Stage::Connecting(_)) && !transport.fresh;
            // A connection that is being made is of use to others.
            if !connecting {
                self.close(transport_key, now);
            }
        }
    }

    /// A request has had no whole answer in its time.
    pub(super) fn deadline(&mut self, key: Key, now: u64) {
        if self.requests.get(key).is_some_and(|request| request.stage != Stage::Ended) {
            self.abandon(key, now);
            self.end_request(key, Outcome::Failed(FailureClass::Timeout), now);
            self.start_waiting(now);
        }
    }

    /// An answer should have begun by now.
    pub(super) fn response_deadline(&mut self, key: Key, now: u64) {
        if self.requests.get(key).is_some_and(|request| request.first == 0) {
            self.deadline(key, now);
        }
    }

    /// Gives free connections to requests that wait for them.
    pub(super) fn serve(&mut self, target: u32, now: u64) {
        while let Some(state) = self.targets.get_mut(target as usize)
            && let Some(key) = state.queue.front().copied()
        {
            let waits = self.requests.get(key).is_some_and(|request| request.stage == Stage::Queued);
            if waits && state.pool.free() == 0 {
                return;
            }
            state.queue.pop_front();
            if waits {
                if let Some(request) = self.requests.get_mut(key) {
                    request.ready = request.ready.max(now);
                }
                if !self.assign(key, now, true) {
                    // It wants more than is free: a connection of its own. It keeps its turn.
                    if let Some(state) = self.targets.get_mut(target as usize) {
                        state.queue.pop_back();
                        state.queue.push_front(key);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn serve_queues(&mut self, now: u64) {
        self.unserved = false;
        for target in 0..self.targets.len() {
            self.serve(u32::try_from(target).unwrap_or(u32::MAX), now);
        }
    }
}
