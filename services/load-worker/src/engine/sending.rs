//! Sending a request on an open transport: at once, or together with others of the loop's turn.
//!
//! Where the host has io_uring, requests of HTTP/1.1 without TLS are written together, [`TOGETHER`] in one call to the
//! system: when so many are ready, and in any case before sockets are waited for. They are *sent*, in the sense of the engine's
//! times, just before that call: what a request waited for the others is send lag.

use std::ops::Range;

use super::clock::nanos;
use super::request::Stage;
use super::slots::Key;
use super::thread::{LoadThread, Timer};
use super::transport::Place;
use crate::io::send_batch::{Outgoing, SendBatch, TOGETHER};
use crate::io::wire;

/// A longer request is written by itself: what it costs to copy is more than what the call costs.
const LONG: usize = 16 * 1024;

/// Requests that are to be written together.
#[derive(Debug)]
pub(super) struct Outbox {
    batch: SendBatch,
    /// Their bytes, one behind the other.
    wire: Vec<u8>,
    requests: Vec<Unsent>,
}

/// A request that has its transport, and is not written yet.
#[derive(Clone, Debug)]
struct Unsent {
    request: Key,
    transport: Key,
    wire: Range<usize>,
}

impl Outbox {
    /// `None` where the host has no io_uring.
    pub(super) fn new() -> Option<Self> {
        match SendBatch::new() {
            Ok(batch) => Some(Self { batch, wire: Vec::new(), requests: Vec::with_capacity(TOGETHER) }),
            Err(error) => {
                tracing::debug!(%error, "no io_uring: each request is a call to the system");
                None
            }
        }
    }
}

impl LoadThread {
    /// Sends a request on an open transport.
    pub(super) fn send(&mut self, key: Key, transport_key: Key, now: u64) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(transport) = self.transports.get_mut(transport_key) else { return };
        if transport.streams.is_some() {
            return self.send_stream(key, transport_key, now);
        }
        let target = self.spec.targets.get(transport.target as usize);
        let endpoint = target.and_then(|target| target.endpoints.get(transport.endpoint));
        let scenario = self.scenarios.get(request.scenario as usize);
        let method = scenario.and_then(|scenario| scenario.methods.get(request.method as usize));
        let (Some(endpoint), Some(method), Some(connection)) = (endpoint, method, &mut transport.connection)
        else {
            return;
        };
        transport.place = Place::Given;
        transport.request = Some(key);
        request.stage = Stage::Sent(transport_key);
        request.endpoint = Some(transport.endpoint as u32);
        let (path, headers, body) = (request.path(), request.headers(), request.payload());
        if let Some(outbox) = &mut self.outbox
            && request.data.len() <= LONG
            && connection.plain().is_some()
        {
            let begin = outbox.wire.len();
            wire::write(&mut outbox.wire, endpoint, &method.name, path, headers, body, transport.fresh);
            connection.expect(method.is_head);
            let wire = begin..outbox.wire.len();
            outbox.requests.push(Unsent { request: key, transport: transport_key, wire });
            if outbox.requests.len() == TOGETHER {
                self.flush_sends();
            }
            return;
        }
        self.wire.clear();
        wire::write(&mut self.wire, endpoint, &method.name, path, headers, body, transport.fresh);
        let is_head = method.is_head;
        // The stamp comes before encryption and the system call: both are part of the send.
        let stamp = self.clock.now();
        self.count_sent(key, self.wire.len() as u64, stamp);
        let connection = self.transports.get_mut(transport_key).and_then(|t| t.connection.as_mut());
        let Some(connection) = connection else { return };
        if let Err(class) = connection.send(&self.wire, is_head) {
            self.answer_failed(transport_key, class, true, now);
        }
    }

    /// Writes the requests that are to go together.
    pub(super) fn flush_sends(&mut self) {
        if self.outbox.as_ref().is_none_or(|outbox| outbox.requests.is_empty()) {
            return;
        }
        // Out of the thread meanwhile: what is sent because one of these fails is sent at once.
        let Some(mut outbox) = self.outbox.take() else { return };
        // One that was given up, or that lost its transport, since it was put here is not written.
        outbox.requests.retain(|unsent| {
            let transport = self.transports.get(unsent.transport);
            transport.is_some_and(|transport| transport.request == Some(unsent.request))
                && self.requests.get(unsent.request).is_some_and(|r| r.stage == Stage::Sent(unsent.transport))
        });
        let stamp = self.clock.now();
        for unsent in &outbox.requests {
            self.count_sent(unsent.request, unsent.wire.len() as u64, stamp);
        }
        let works = self.write_together(&mut outbox, stamp);
        outbox.requests.clear();
        outbox.wire.clear();
        if works {
            self.outbox = Some(outbox);
        }
    }

    /// `false` = the ring does not work any more.
    fn write_together(&mut self, outbox: &mut Outbox, now: u64) -> bool {
        let Outbox { batch, wire, requests } = outbox;
        let mut results: [Option<std::io::Result<usize>>; TOGETHER] = [const { None }; TOGETHER];
        let mut works = true;
        if requests.len() > 1 {
            let sends = requests.iter().enumerate().filter_map(|(number, unsent)| {
                let connection = self.transports.get(unsent.transport)?.connection.as_ref()?;
                let bytes = wire.get(unsent.wire.clone())?;
                Some((number, Outgoing { socket: connection.plain()?, bytes }))
            });
            let told = |number: usize, result| {
                if let Some(slot) = results.get_mut(number) {
                    *slot = Some(result);
                }
            };
            if let Err(error) = batch.send(sends, told) {
                tracing::warn!(%error, "io_uring failed: from here on each request is a call to the system");
                works = false;
            }
        }
        for (unsent, result) in requests.iter().zip(&mut results) {
            let connection = self.transports.get_mut(unsent.transport).and_then(|t| t.connection.as_mut());
            let Some(connection) = connection else { continue };
            let bytes = wire.get(unsent.wire.clone()).unwrap_or_default();
            let sent = match result.take() {
                Some(result) => connection.written(bytes, result),
                None => connection.write(bytes),
            };
            if let Err(class) = sent {
                self.answer_failed(unsent.transport, class, true, now);
            }
        }
        works
    }

    /// A request is about to be written.
    fn count_sent(&mut self, key: Key, bytes: u64, stamp: u64) {
        let Some(request) = self.requests.get_mut(key) else { return };
        if request.sent == 0 {
            request.sent = stamp;
            self.recorder.send_lag(request.send_lag(stamp));
            let scenario = self.spec.scenarios.get(request.scenario as usize);
            if let Some(timeout) = scenario.and_then(|scenario| scenario.response_timeout) {
                self.timers.after(stamp, nanos(timeout), Timer::Response(key));
            }
        }
        if !request.resent {
            self.recorder.request_sent(request.series, bytes, request.attempt > 0);
        }
        if let Some(operation) = request.operation.and_then(|key| self.operations.get_mut(key))
            && operation.sent == 0
        {
            operation.sent = request.sent;
            operation.queue = request.queue();
        }
    }
}
