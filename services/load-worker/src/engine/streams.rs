//! HTTP/2 on the load thread: transports that carry many requests, each on a lane that the pool has given.
//!
//! Requests that are sent in one turn of the loop leave together at its end: one write for all of them. So that is when
//! they are stamped as sent.

use mio::event::Event;
use protocol::failure::FailureClass;

use super::answer::{AnswerSink, Bounds, HAND_OVER};
use super::clock::Clock;
use super::request::{Outcome, Request, Stage};
use super::scenario::Scenario;
use super::slots::{Key, Slots};
use super::thread::LoadThread;
use super::transport::Target;
use crate::io::http1::{Limits, Sink};
use crate::io::http2::{Answers, End, Head, Http2, Outgoing, Refusal, State};

/// A transport's HTTP/2 connection and who uses it.
#[derive(Debug)]
pub(super) struct Streams {
    connection: Http2<Key>,
    /// Requests that leave with the next turn of the connection, and their sizes in bytes.
    unsent: Vec<(Key, usize)>,
    /// Users who keep a lane for themselves, by scenario and number.
    pub(super) owners: Vec<(u32, u32)>,
    /// It stands among those that want a turn.
    waits: bool,
    /// What the pool was told last.
    lanes: u32,
}

impl Streams {
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    pub(super) fn lanes(&self) -> u32 {
        self.connection.lanes()
    }
}

/// Connections that want a turn. The lists keep their memory.
#[derive(Debug, Default)]
pub(super) struct Turns {
    wanted: Vec<Key>,
    now: Vec<Key>,
    ended: Vec<(Key, End)>,
    unsent: Vec<(Key, usize)>,
}

impl Turns {
    pub(super) const fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// Where the answers of one connection go.
struct Told<'a> {
    requests: &'a mut Slots<Request>,
    scenarios: &'a mut [Scenario],
    max_event: usize,
    max_body: u64,
    clock: Clock,
    /// When the read that brought them returned.
    at: u64,
    /// A guest has so much to be told that it is called before another socket is read.
    crowded: bool,
    /// Of the stream of events that was told of last: whose it is, and how many bytes of it this turn has brought.
    streamed: (Option<Key>, usize),
}

impl Told<'_> {
    /// Has a stretch of an answer taken, `received` bytes of it.
    fn take(
        &mut self,
        key: Key,
        received: usize,
        take: impl FnOnce(&mut AnswerSink<'_>),
    ) -> Result<(), FailureClass> {
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let Some(scenario) = self.scenarios.get_mut(request.scenario as usize) else { return Ok(()) };
        if request.first == 0 {
            request.first = self.at;
        }
        request.received += received as u64;
        let Scenario { expectations, done, arena, body_limit, .. } = scenario;
        let bounds = Bounds { body_limit: *body_limit, max_event: self.max_event, max_body: self.max_body };
        let sink = AnswerSink::new(request, expectations, done, arena, bounds, self.clock, self.at);
        let mut sink = sink.read_at(self.at);
        take(&mut sink);
        self.crowded |= sink.is_crowd();
        let before = if self.streamed.0 == Some(key) { self.streamed.1 } else { 0 };
        self.streamed = (Some(key), before + sink.streamed());
        sink.refused().map_or(Ok(()), Err)
    }
}

impl Answers<Key> for Told<'_> {
    fn arrived(&mut self) {
        self.at = self.clock.now();
    }

    fn head(&mut self, key: Key, head: &Head<'_>) -> Result<(), FailureClass> {
        self.take(key, head.size(), |sink| {
            if sink.request.sees.head {
                head.write(&mut sink.request.head);
            }
            if sink.reads_fields() {
                head.with_fields(|fields| sink.head(head.status(), &[], fields));
            } else {
                sink.head(head.status(), &[], &[]);
            }
        })
    }

    fn body(&mut self, key: Key, data: &[u8]) -> Result<(), FailureClass> {
        self.take(key, data.len(), |sink| sink.body(data))
    }

    fn is_full(&self, key: Key) -> bool {
        self.streamed.0 == Some(key) && self.streamed.1 >= HAND_OVER
    }

    fn is_crowd(&self) -> bool {
        self.crowded
    }
}

impl LoadThread {
    /// Goes on with a connected transport in HTTP/2.
    pub(super) fn begin_streams(&mut self, key: Key, most: u32) -> Result<(), FailureClass> {
        let transport = self.transports.get_mut(key);
        let Some((transport, connection)) = transport
            .and_then(|transport| transport.connection.take().map(|connection| (transport, connection)))
        else {
            return Err(FailureClass::Connect);
        };
        if connection.is_tls() && connection.alpn() != Some(b"h2") {
            // The peer does not speak it, and says so where TLS is agreed on.
            return Err(FailureClass::Tls);
        }
        let (stream, tls) = connection.into_parts();
        let connection = Http2::new(stream, tls, most, self.spec.max_head)?;
        // Whoever it was made for has its first lane.
        let owners = transport.owner.take().into_iter().collect();
        let streams = Streams { connection, unsent: Vec::new(), owners, waits: false, lanes: 0 };
        transport.streams = Some(Box::new(streams));
        Ok(())
    }

    /// Hands a request to an HTTP/2 connection; it leaves at the end of this turn of the loop.
    pub(super) fn send_stream(&mut self, key: Key, transport_key: Key, now: u64) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(transport) = self.transports.get_mut(transport_key) else { return };
        let target = self.spec.targets.get(transport.target as usize);
        let endpoint = target.and_then(|target| target.endpoints.get(transport.endpoint));
        let scenario = self.scenarios.get(request.scenario as usize);
        let method = scenario.and_then(|scenario| scenario.methods.get(request.method as usize));
        let (Some(endpoint), Some(method), Some(streams)) = (endpoint, method, &mut transport.streams) else {
            return;
        };
        transport.request = None;
        let (target_end, headers_end) = (request.path_end, request.headers_end);
        let outgoing = Outgoing::new(endpoint, &method.name, &request.data, target_end, headers_end);
        let size = outgoing.as_ref().map_or(0, Outgoing::size);
        let opened = outgoing.map_err(|_| Refusal::Unsendable).and_then(|o| streams.connection.open(key, o));
        match opened {
            Ok(lane) => {
                request.stage = Stage::Sent(transport_key);
                request.endpoint = Some(transport.endpoint as u32);
                request.lane = lane;
                streams.unsent.push((key, size));
                self.want_turn(transport_key);
            }
            Err(Refusal::Unsendable) => {
                // What takes its lane must not find it there.
                request.stage = Stage::Delayed;
                self.free_lane(key, transport_key, now);
                self.end_request(key, Outcome::Failed(FailureClass::Guest), now);
            }
            Err(Refusal::Gone) => {
                // It was not sent: another connection takes it, without this counting as a second try.
                request.stage = Stage::Delayed;
                let target = transport.target;
                self.retire(transport_key, now);
                self.free_lane(key, transport_key, now);
                if let Some(request) = self.requests.get_mut(key) {
                    request.stage = Stage::Queued;
                }
                if let Some(state) = self.targets.get_mut(target as usize) {
                    state.queue.push_front(key);
                }
            }
        }
    }

    fn want_turn(&mut self, transport_key: Key) {
        if let Some(transport) = self.transports.get_mut(transport_key)
            && let Some(streams) = &mut transport.streams
            && !std::mem::replace(&mut streams.waits, true)
        {
            self.turns.wanted.push(transport_key);
        }
    }

    /// Gives a turn to every connection that wants one.
    pub(super) fn drive_streams(&mut self) {
        if self.turns.is_empty() {
            return;
        }
        let mut keys = std::mem::take(&mut self.turns.now);
        // Those that want another come in the loop's next turn: sockets are looked at in between.
        std::mem::swap(&mut keys, &mut self.turns.wanted);
        for key in keys.drain(..) {
            if let Some(streams) =
                self.transports.get_mut(key).and_then(|transport| transport.streams.as_mut())
            {
                streams.waits = false;
            }
            let now = self.clock.now();
            self.drive(key, now);
            if std::mem::take(&mut self.crowded) {
                self.call_guests();
            }
        }
        self.turns.now = keys;
    }

    /// The socket of an HTTP/2 connection has news.
    pub(super) fn streams_event(&mut self, key: Key, event: &Event, now: u64) {
        let Some(streams) = self.transports.get_mut(key).and_then(|transport| transport.streams.as_mut())
        else {
            return;
        };
        let closing = event.is_read_closed() || event.is_error();
        if event.is_readable() || closing {
            streams.connection.readable(closing);
        }
        self.drive(key, now);
    }

    /// One turn of a connection: requests leave, answers come.
    pub(super) fn drive(&mut self, key: Key, now: u64) {
        self.stamp_unsent(key);
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Some(streams) = &mut transport.streams else { return };
        let was_open = streams.is_open();
        let limits = Limits { max_head: self.spec.max_head as usize, max_body: self.spec.max_body };
        let mut told = Told {
            requests: &mut self.requests,
            scenarios: &mut self.scenarios,
            max_event: self.spec.max_event as usize,
            max_body: self.spec.max_body,
            clock: self.clock,
            at: now,
            crowded: false,
            streamed: (None, 0),
        };
        let mut ended = std::mem::take(&mut self.turns.ended);
        let state = streams.connection.drive(limits, &mut told, &mut ended);
        let at = told.at;
        self.crowded |= told.crowded;
        let wants_turn = streams.connection.wants_turn();
        match state {
            State::Closed(class) if !was_open => self.open_failed(key, class, at),
            State::Closed(_) => self.streams_closed(key, &mut ended, at),
            State::Greeting => {}
            State::Open | State::Draining => {
                if !was_open {
                    self.opened(key, at);
                }
                self.follow_lanes(key);
                if state == State::Draining {
                    self.retire(key, at);
                }
                for (request, end) in ended.drain(..) {
                    self.stream_ended(request, key, end, at);
                }
                if state == State::Draining {
                    // Its owners may be done with it.
                    self.retire(key, at);
                }
            }
        }
        ended.clear();
        self.turns.ended = ended;
        if wants_turn {
            self.want_turn(key);
        }
    }

    /// What was handed over leaves now.
    fn stamp_unsent(&mut self, transport_key: Key) {
        let Some(transport) = self.transports.get_mut(transport_key) else { return };
        let Some(streams) = transport.streams.as_mut().filter(|streams| !streams.unsent.is_empty()) else {
            return;
        };
        let mut unsent = std::mem::replace(&mut streams.unsent, std::mem::take(&mut self.turns.unsent));
        let stamp = self.clock.now();
        for (key, size) in unsent.drain(..) {
            let Some(request) = self.requests.get_mut(key) else { continue };
            if request.stage != Stage::Sent(transport_key) {
                // Given up before it left: nothing of it goes out.
                continue;
            }
            if request.sent == 0 {
                request.sent = stamp;
                self.recorder.send_lag(request.send_lag(stamp));
            }
            if !request.resent {
                self.recorder.request_sent(request.series, size as u64, request.attempt > 0);
            }
            if let Some(operation) = request.operation.and_then(|key| self.operations.get_mut(key))
                && operation.sent == 0
            {
                operation.sent = request.sent;
                operation.queue = request.queue();
            }
        }
        self.turns.unsent = unsent;
    }

    /// Tells the pool what the server allows now.
    fn follow_lanes(&mut self, key: Key) {
        let Some(transport) = self.transports.get_mut(key).filter(|transport| !transport.fresh) else {
            return;
        };
        let Some(streams) = &mut transport.streams else { return };
        let lanes = streams.lanes();
        if std::mem::replace(&mut streams.lanes, lanes) != lanes
            && let Some(target) = self.targets.get_mut(transport.target as usize)
        {
            target.pool.set_lanes(transport.endpoint, key.index, lanes);
            self.unserved = true;
        }
    }

    /// The connection takes no more requests; without any it is closed.
    fn retire(&mut self, key: Key, now: u64) {
        let Some(transport) = self.transports.get(key) else { return };
        let (target, endpoint) = (transport.target, transport.endpoint);
        let owners = transport.streams.as_ref().map(|streams| streams.owners.clone()).unwrap_or_default();
        for (scenario, user) in owners {
            if !self.own_is_busy(scenario, user, target) {
                self.disown_lane(scenario, user, key, now);
            }
        }
        let pool = self.targets.get_mut(target as usize).map(|target| &mut target.pool);
        if self.transports.get(key).is_some() && pool.is_some_and(|pool| !pool.retire(endpoint, key.index)) {
            self.close(key, now);
        }
    }

    /// A request on an open connection has ended.
    fn stream_ended(&mut self, request_key: Key, transport_key: Key, end: End, now: u64) {
        if let Some(transport) = self.transports.get_mut(transport_key)
            && end == End::Whole
        {
            transport.uses = transport.uses.saturating_add(1);
        }
        let request = self.requests.get_mut(request_key).filter(|request| !request.resent);
        if let (End::Failed { unprocessed: true, .. }, Some(request)) = (end, request) {
            // What takes its lane must not find it there.
            request.stage = Stage::Delayed;
            self.free_lane(request_key, transport_key, now);
            if self.send_again(request_key) {
                self.assign(request_key, now, true);
            }
            return;
        }
        self.give_lane_on(request_key, transport_key, now);
        let outcome = self.outcome(request_key, end);
        self.end_request(request_key, outcome, now);
        self.start_waiting(now);
    }

    /// The connection is over, and with it all requests on it. As in HTTP/1.1, those that a used connection lost within
    /// two round trips are sent once more if that is safe; those that the peer has not looked at, in any case.
    fn streams_closed(&mut self, key: Key, ended: &mut Vec<(Key, End)>, now: u64) {
        let Some(transport) = self.transports.get(key) else { return };
        let window = self.targets.get(transport.target as usize).map_or(0, Target::stale_window);
        let reused = transport.uses > 0;
        self.close(key, now);
        for (request_key, end) in ended.drain(..) {
            let Some(request) = self.requests.get(request_key) else { continue };
            let method = self.scenarios.get(request.scenario as usize);
            let method = method.and_then(|scenario| scenario.methods.get(request.method as usize));
            let stale = match end {
                End::Whole => false,
                End::Failed { unprocessed: true, .. } => true,
                End::Failed { class, .. } => {
                    class == FailureClass::Reset
                        && reused
                        && request.received == 0
                        && method.is_some_and(|method| method.idempotent)
                        && now.saturating_sub(request.sent) <= window
                }
            };
            if stale && self.send_again(request_key) {
                self.assign(request_key, now, true);
            } else {
                let outcome = self.outcome(request_key, end);
                self.end_request(request_key, outcome, now);
            }
        }
        self.start_waiting(now);
    }

    /// Prepares a request to be sent a second time. `false`: it was already.
    fn send_again(&mut self, key: Key) -> bool {
        let Some(request) = self.requests.get_mut(key).filter(|request| !request.resent) else {
            return false;
        };
        request.resent = true;
        request.stage = Stage::Queued;
        request.forget_answer();
        true
    }

    /// A lane is free, and whoever waits for it gets it at once.
    fn give_lane_on(&mut self, request_key: Key, transport_key: Key, now: u64) {
        let Some(transport) = self.transports.get(transport_key) else { return };
        let target = transport.target;
        if transport.fresh {
            self.close(transport_key, now);
        } else if let Some((scenario, user)) = self.owner_of_lane(request_key, transport_key) {
            // Not counted as busy any more, though the guest has not heard of its end.
            if let Some(request) = self.requests.get_mut(request_key) {
                request.stage = Stage::Delayed;
            }
            if let Some(next) = self.next_for_own(scenario, user, target) {
                self.send(next, transport_key, now);
            }
        } else {
            self.hand_back(transport_key, now);
        }
    }

    /// A lane is free; whoever waits for it gets it in the loop's next turn.
    fn free_lane(&mut self, request_key: Key, transport_key: Key, now: u64) {
        let Some(transport) = self.transports.get(transport_key) else { return };
        let (target, endpoint) = (transport.target, transport.endpoint);
        if transport.fresh {
            return self.close(transport_key, now);
        }
        if let Some((scenario, user)) = self.owner_of_lane(request_key, transport_key) {
            return self.disown_lane(scenario, user, transport_key, now);
        }
        let pool = self.targets.get_mut(target as usize).map(|target| &mut target.pool);
        if pool.is_some_and(|pool| !pool.put_back(endpoint, transport_key.index)) {
            self.close(transport_key, now);
        }
        self.unserved = true;
    }

    /// Gives up a request that was sent: its stream is reset, the connection stays.
    pub(super) fn abandon_stream(&mut self, key: Key, transport_key: Key, now: u64) {
        let Some(lane) = self.requests.get(key).map(|request| request.lane) else { return };
        let transport = self.transports.get_mut(transport_key);
        if let Some(streams) = transport.and_then(|transport| transport.streams.as_mut()) {
            streams.connection.reset(lane);
        }
        self.want_turn(transport_key);
        if let Some(request) = self.requests.get_mut(key) {
            // What takes its lane must not find it there.
            request.stage = Stage::Delayed;
        }
        self.free_lane(key, transport_key, now);
    }

    /// How a request ended, with the last of what was decoded of its body.
    fn outcome(&mut self, key: Key, end: End) -> Outcome {
        let decoder = self.requests.get_mut(key).and_then(|request| request.decoder.take());
        match end {
            End::Whole => {
                let decoded = decoder.map_or(Ok(()), |mut decoder| decoder.end());
                decoded.map_or_else(Outcome::Failed, |()| Outcome::Answered)
            }
            End::Failed { class, .. } => Outcome::Failed(class),
        }
    }
}
