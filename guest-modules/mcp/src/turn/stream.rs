//! Streams: that beside requests, which in the oldest revision carries all answers and in later ones what the server says by
//! itself; and those of answers that broke off.

use gauntlet_sdk::{Completion, CompletionKind};

use super::{ASIDE, Act, CALLING, OPENING};
use crate::dialect::{self, event_stream};
use crate::exchange::Alarm;
use crate::failure::Failure;
use crate::message::{Kind, Message};
use crate::result::Method;
use crate::revision::Revision;
use crate::user::{Role, Stage};

/// How long the head of a stream is waited for, which a server may keep back until it has something to say, microseconds.
const HEAD_US: u32 = 5_000_000;

/// Pause before a stream is taken up again that does not say how long, microseconds.
const RESUME_US: u32 = 500_000;
/// How often a stream is taken up again for one answer.
const RESUMES: u32 = 5;

impl Act<'_, '_> {
    /// Asks for the stream that carries all answers.
    pub(crate) fn open_stream(&mut self) {
        self.user.stage = Stage::Endpoint;
        self.user.close();
        let calls = self.program.calls_of_whole_session();
        let lasts = u64::from(self.deadline_us()) * (u64::from(calls) + 3);
        let seq = self.user.seq(Role::Stream);
        (self.user.stream, self.user.aside) = (seq, false);
        // No answer is awaited yet, but the first event is.
        let main = self.user_main();
        self.user.exchange.begin(self.now_us, main, Method::Initialize, 0, 0);
        self.sender()
            .stream(self.out, Revision::V2024_11_05, &self.user.session, seq, self.program.steps.initialize)
            .operation(OPENING)
            .timeout_us(u32::try_from(lasts).unwrap_or(u32::MAX))
            .send();
        self.wake(Alarm::Late, self.deadline_us());
    }

    fn user_main(&self) -> u32 {
        // The stream's own number without its role: unique among what is awaited.
        self.user.stream & ((1 << 28) - 1)
    }

    /// Asks for the stream on which the server says what belongs to no request.
    pub(super) fn open_aside(&mut self) {
        self.user.stage = Stage::Aside;
        let seq = self.user.seq(Role::Stream);
        (self.user.stream, self.user.aside) = (seq, true);
        let main = self.user_main();
        self.user.exchange.begin(self.now_us, main, Method::Listen, 0, 0);
        let revision = self.revision();
        self.sender()
            .stream(self.out, revision, &self.user.session, seq, self.program.steps.stream)
            .operation(ASIDE)
            // It ends with its turn, of which every request has a deadline.
            .timeout_us(u32::MAX)
            .send();
        self.wake(Alarm::Late, HEAD_US);
    }

    /// Whether answers come on the stream, not where they were asked for.
    pub(super) const fn answers_on_stream(&self) -> bool {
        self.user.stream != 0 && !self.user.aside
    }

    /// Whether the turn is a session of its own.
    pub(super) const fn is_whole_session(&self) -> bool {
        self.program.whole_sessions || self.answers_on_stream()
    }

    /// Nobody listens any more.
    pub(super) fn give_up_stream(&mut self) {
        if self.user.stream == 0 {
            return;
        }
        self.out.cancel(self.number, self.user.stream);
        if self.user.aside {
            self.out.end_operation(self.number, ASIDE, true);
        } else {
            self.user.close();
        }
        (self.user.stream, self.user.aside) = (0, false);
    }

    /// Something happened on the stream.
    pub(super) fn stream_done(&mut self, done: &Completion<'_>) {
        if self.user.aside {
            return self.aside_done(done);
        }
        match done.kind {
            CompletionKind::Event if done.event_name() == b"endpoint" => {
                if self.user.stage != Stage::Endpoint {
                    self.user.exchange.failures.add(Failure::Endpoint);
                    return;
                }
                match event_stream::address(done.body, &self.program.endpoint) {
                    Some(address) => {
                        self.user.session.address = address;
                        self.shared.revision.get_or_insert(Revision::V2024_11_05);
                        self.initialize();
                    }
                    None => {
                        self.user.exchange.failures.add(Failure::Endpoint);
                        self.abort(done.seq, false);
                    }
                }
            }
            CompletionKind::Event => {
                // The stream's own times begin with the session.
                let since = self.now_us.saturating_sub(self.user.exchange.begun_us);
                self.heard(done.body, u32::try_from(since).unwrap_or(u32::MAX));
                self.conclude_if_whole(done.seq);
            }
            CompletionKind::End => self.stream_ended(done),
            CompletionKind::Head | CompletionKind::Timer | CompletionKind::Cancelled => {}
        }
    }

    /// What the server says by itself; answers do not belong here.
    fn aside_done(&mut self, done: &Completion<'_>) {
        match done.kind {
            CompletionKind::Head if self.user.stage == Stage::Aside => self.first_call(),
            CompletionKind::Event if !done.body.is_empty() => match Message::read(done.body) {
                Ok(message) => match message.kind() {
                    Kind::Request(id, method, params) => self.reply(id, &method, params),
                    Kind::Notification(..) => {}
                    Kind::Result(..) | Kind::Error(..) => {
                        self.user.exchange.failures.add(Failure::IdMismatch);
                    }
                    Kind::Invalid => self.user.exchange.failures.add(Failure::NotJsonRpc),
                },
                Err(true) => self.user.exchange.failures.add(Failure::NotJsonRpc),
                Err(false) => self.user.exchange.failures.add(Failure::CorruptFrame),
            },
            CompletionKind::End => self.aside_ended(done),
            _ => {}
        }
    }

    /// The server may end this stream at any time, or have none (405).
    fn aside_ended(&mut self, done: &Completion<'_>) {
        let waited = self.user.stage == Stage::Aside;
        self.shared.has_no_stream |= done.status == 405;
        if waited && done.failure.is_none() && done.status != 405 {
            let (revision, challenged) = (self.revision(), done.header("www-authenticate").is_some());
            let exchange = &mut self.user.exchange;
            dialect::judge(revision, done.status, &self.user.session, challenged, &mut exchange.failures);
            if done.status == 200 {
                // A stream would have begun with its head.
                exchange.failures.add(Failure::ContentType);
            }
            self.verdicts(done.seq);
        }
        self.out.end_operation(self.number, ASIDE, done.failure.is_none());
        (self.user.stream, self.user.aside) = (0, false);
        if waited {
            self.first_call();
        }
    }

    /// The stream that carries all answers is over.
    fn stream_ended(&mut self, done: &Completion<'_>) {
        if self.user.stage == Stage::Idle {
            return;
        }
        self.user.stream = 0;
        self.user.session.is_open = false;
        if done.failure.is_none() {
            let exchange = &mut self.user.exchange;
            if done.status == 200 {
                exchange.failures.add(if done.events == 0 && exchange.method == Method::Initialize {
                    Failure::Endpoint
                } else {
                    Failure::MissingResponse
                });
            } else {
                let session = &self.user.session;
                let challenged = done.header("www-authenticate").is_some();
                let revision = Revision::V2024_11_05;
                dialect::judge(revision, done.status, session, challenged, &mut exchange.failures);
            }
        }
        // What the measured request was answered with says enough, if it was this one.
        let ok = done.failure.is_none() && self.user.stage == Stage::Endpoint;
        self.abort(done.seq, ok);
    }

    /// Takes a stream up again where it broke off. `false`: it cannot be.
    pub(super) fn resume(&mut self) -> bool {
        let revision = self.revision();
        let asked_us =
            self.user.exchange.retry_ms.map(|ms| u32::try_from(ms.saturating_mul(1_000)).unwrap_or(u32::MAX));
        let delay_us = asked_us.unwrap_or(RESUME_US);
        // A pause that is longer than an answer may take is no answer.
        let in_time = delay_us <= self.deadline_us();
        let exchange = &mut self.user.exchange;
        let can = in_time
            && revision.rules().resumes
            && exchange.streaming
            && !exchange.is_answered()
            && !exchange.event_id.is_empty()
            && exchange.resumes < RESUMES;
        if !can || self.user.stage != Stage::Call {
            return false;
        }
        exchange.resumes += 1;
        exchange.streaming = false;
        let attempt = exchange.resumes;
        let seq = self.user.seq(Role::Main);
        self.user.exchange.seq = seq;
        let call = self.current();
        self.sender()
            .stream(self.out, revision, &self.user.session, seq, call.step)
            .header("last-event-id", &self.user.exchange.event_id)
            .operation(CALLING)
            .attempt(attempt)
            .delay_us(delay_us)
            .timeout_us(if call.timeout_us > 0 { call.timeout_us } else { self.program.timeout_us })
            .send();
        if self.user.exchange.alarm == Alarm::GiveUp {
            self.wake(Alarm::GiveUp, call.cancel_after_us);
        }
        true
    }
}
