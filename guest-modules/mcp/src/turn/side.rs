//! What a user says beside its turn: answers to the server, and that a call is given up.

use gauntlet_sdk::{Completion, CompletionKind, Interest};
use guest_config::decimal;
use serde_json::value::RawValue;

use super::{Act, CALLING};
use crate::dialect::About;
use crate::exchange::Alarm;
use crate::failure::Failure;
use crate::result::Method;
use crate::revision::Transport;
use crate::user::{Role, Stage};

impl Act<'_, '_> {
    /// The time has come that the user wanted to be woken at.
    pub(super) fn alarm(&mut self) {
        match std::mem::take(&mut self.user.exchange.alarm) {
            Alarm::None => {}
            Alarm::GiveUp => self.give_up(),
            Alarm::Held => self.held(),
            Alarm::Late if self.user.stage == Stage::Aside => self.first_call(),
            Alarm::Late if self.user.exchange.method == Method::Listen => self.held(),
            Alarm::Late => {
                self.user.exchange.failures.add(Failure::SilentStream);
                let seq = self.user.exchange.seq;
                self.out.cancel(self.number, seq);
                self.abort(seq, false);
            }
        }
    }

    /// Gives the call up. The user waits for nothing more of it: a server need not end its stream.
    fn give_up(&mut self) {
        let revision = self.revision();
        let (seq, id) = (self.user.exchange.seq, self.user.exchange.first_id);
        self.verdicts(seq);
        // Without sessions the end of the stream is what says so.
        if revision.transport() != Transport::Stateless {
            let side = self.user.seq(Role::Side);
            let step = self.program.steps.cancelled;
            let count = self.user.exchange.count;
            let mut draft = self
                .sender()
                .post(
                    self.out,
                    revision,
                    &self.user.session,
                    side,
                    step,
                    About::Method("notifications/cancelled"),
                )
                .interest(Interest::END | Interest::BODY);
            let mut body = draft.body_part();
            for place in 0..count {
                body.push(match (count, place) {
                    (1, _) => b"",
                    (_, 0) => b"[",
                    _ => b",",
                });
                body.push(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#);
                decimal(&mut body, (id + place).into());
                body.push(br#","reason":"the plan gives it up"}}"#);
            }
            if count > 1 {
                body.push(b"]");
            }
            draft.send();
        }
        self.user.exchange.give_up();
        let ok = self.user.exchange.failures.is_empty();
        self.out.cancel(self.number, seq);
        self.out.end_operation(self.number, CALLING, ok);
        self.call_over();
    }

    /// A stream was held long enough, or is not open after all the time that an answer may take.
    fn held(&mut self) {
        let exchange = &mut self.user.exchange;
        if exchange.count > 0 && !exchange.acknowledged {
            exchange.failures.add(Failure::Acknowledgement);
        } else if !exchange.streaming {
            exchange.failures.add(Failure::SilentStream);
        }
        let (seq, ok) = (exchange.seq, exchange.failures.is_empty());
        self.verdicts(seq);
        self.out.cancel(self.number, seq);
        self.out.end_operation(self.number, CALLING, ok);
        self.call_over();
    }

    /// Answers a request of the server.
    pub(super) fn reply(&mut self, id: &RawValue, method: &str, params: Option<&RawValue>) {
        let revision = self.revision();
        let capabilities = self.program.capabilities;
        let result = if method == "ping" {
            Some("{}".into())
        } else {
            capabilities.result(method, params, &mut self.input_draws())
        };
        if result.is_none() {
            self.user.exchange.failures.add(Failure::ServerRequest);
        }
        if revision.transport() == Transport::EventStream && self.user.session.address.is_empty() {
            // Before the stream has said where messages go, nothing can be answered.
            self.user.exchange.failures.add(Failure::Endpoint);
            return;
        }
        let seq = self.user.seq(Role::Side);
        let step = self.program.steps.response;
        let mut draft = self
            .sender()
            .post(self.out, revision, &self.user.session, seq, step, About::Method(""))
            .interest(Interest::END | Interest::BODY);
        let mut body = draft.body_part();
        body.push(br#"{"jsonrpc":"2.0","id":"#);
        body.push(id.get().as_bytes());
        match result {
            Some(result) => {
                body.push(br#","result":"#);
                body.push(result.as_bytes());
            }
            None => body.push(br#","error":{"code":-32601,"message":"Method not found"}"#),
        }
        body.push(b"}");
        draft.send();
    }

    /// A notification or an answer was taken, or not.
    pub(super) fn side_done(&mut self, done: &Completion<'_>) {
        if done.kind != CompletionKind::End || done.failure.is_some() || self.user.is_past(done.seq) {
            return;
        }
        let is_exact = self.revision().transport() != Transport::EventStream;
        let good = is_accepted(is_exact, done);
        let checks = &self.program.checks;
        self.out.verdict(self.number, done.seq, checks.valid, good);
        if !good {
            self.out.verdict(self.number, done.seq, checks.of(Failure::Notification), false);
        }
    }
}

/// Whether a notification was taken: with 202 and without a body, in the oldest revision with any success.
pub(super) fn is_accepted(is_exact: bool, done: &Completion<'_>) -> bool {
    if is_exact { done.status == 202 && done.body.is_empty() } else { done.is_success() }
}
