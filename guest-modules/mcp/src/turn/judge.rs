//! What came back: whether it is as the revision says, and what the user does then.

use gauntlet_sdk::{Completion, Failure as Broken};

use super::side::is_accepted;
use super::{Act, CALLING, LISTING, OPENING};
use crate::config::{Expected, PAGES};
use crate::dialect::{self, Answer, stateless, streamable};
use crate::exchange::{Heard, Judge};
use crate::failure::{Failure, Failures};
use crate::message::{self, RpcError};
use crate::program::{BODY_LIMIT, Source};
use crate::result::{Members, Method};
use crate::revision::{Revision, Transport};
use crate::tools;
use crate::user::Stage;

/// Rounds of input that a server may ask for in one call.
const ROUNDS: u32 = 8;

/// Whether what is wrong with a list is a tool of its own: the others are as good as they are said to be.
fn says_nothing_of_others(mut failures: Failures) -> bool {
    failures.remove(Failure::HeaderMarks);
    failures.remove(Failure::Arguments);
    failures.is_empty()
}

impl Act<'_, '_> {
    /// An event of the answer's own stream.
    pub(super) fn event(&mut self, done: &Completion<'_>) {
        let id = done.event_id();
        let kept = &mut self.user.exchange.event_id;
        if kept != id {
            kept.clear();
            // Another one could not go back in a header.
            if id.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                kept.extend_from_slice(id);
            }
        }
        if let Some(retry_ms) = done.event_retry_ms() {
            self.user.exchange.retry_ms = Some(retry_ms);
        }
        // The first event of a stream may be there for its id alone.
        if !done.body.is_empty() {
            self.heard(done.body, done.last_byte_us);
        }
        // A stream that was taken up again may go on with other messages: nothing is waited for on it any more.
        if self.user.exchange.resumes > 0 && self.user.exchange.is_answered() {
            self.out.cancel(self.number, done.seq);
            self.conclude(done.seq, true);
        }
    }

    /// Takes a message, or an array of them.
    pub(super) fn heard(&mut self, text: &[u8], at_us: u32) {
        if !message::is_batch(text) {
            return self.hear_one(text, at_us);
        }
        let may = self.revision().rules().batches;
        match message::batch(text).filter(|_| may) {
            Some(all) => all.into_iter().for_each(|one| self.hear_one(one.get().as_bytes(), at_us)),
            None => self.user.exchange.failures.add(Failure::Batch),
        }
    }

    fn hear_one(&mut self, text: &[u8], at_us: u32) {
        let is_call = self.user.stage == Stage::Call;
        let call = self.current();
        let revision = self.revision();
        let unlisted =
            self.shared.knows_tools && self.shared.listed.get(self.user.call).is_some_and(Option::is_none);
        let judge = Judge {
            stateless: revision.transport() == Transport::Stateless,
            expect: if is_call { call.expect } else { Expected::Success },
            unlisted,
            limit: BODY_LIMIT as usize,
            tool: &call.name,
        };
        match self.user.exchange.hear(text, at_us, judge) {
            Heard::Noted => {}
            Heard::Asked(id, method, params) => self.reply(id, &method, params),
            Heard::Result(members) => self.learn(&members),
            Heard::Error(error) => self.refused(&error),
        }
    }

    /// A server that does not take the revision names those that it speaks.
    fn refused(&mut self, error: &RpcError<'_>) {
        let is_stateless = self.revision().transport() == Transport::Stateless;
        if error.code != message::VERSION_UNSUPPORTED || !is_stateless {
            return;
        }
        let supported = error.supported();
        let speaks = |revision: &Revision| supported.iter().any(|name| name == revision.name());
        if speaks(&Revision::V2026_07_28) {
            // The one that was asked for is among them: the client has to try again, and does so once a session.
            self.user.exchange.again = !std::mem::replace(&mut self.user.session.asked_again, true);
        } else if self.user.stage == Stage::Discover {
            self.shared.revision = Revision::ALL.into_iter().rev().find(speaks);
        }
    }

    /// Takes from a result what the user goes on with.
    fn learn(&mut self, members: &Members<'_>) {
        let method = self.user.exchange.method;
        match method {
            Method::Initialize => {
                let version = members.protocol_version.as_ref().map(|version| &*version.0);
                let agreed = version.and_then(Revision::of);
                let is_stream = self.user.stream != 0;
                let fits = |revision: &Revision| {
                    (revision.transport() == Transport::EventStream) == is_stream
                        && revision.transport() != Transport::Stateless
                        && self.program.revision.is_none_or(|wanted| wanted == *revision)
                };
                match agreed {
                    None => self.user.exchange.failures.add(Failure::VersionUnknown),
                    Some(revision) if fits(&revision) => self.user.session.revision = Some(revision),
                    Some(_) => self.user.exchange.failures.add(Failure::VersionUnsupported),
                }
            }
            Method::Discover => {
                if members.supports(Revision::V2026_07_28.name()) {
                    self.user.session.revision = Some(Revision::V2026_07_28);
                }
            }
            Method::ListTools | Method::ListPrompts | Method::ListResources | Method::ListTemplates => {
                self.turn_page(members);
                if method == Method::ListTools && self.user.stage == Stage::ListTools {
                    self.look_at_tools(members);
                }
            }
            Method::CallTool | Method::GetPrompt | Method::ReadResource => {
                self.user.input.clear();
                if members.asks_for_input() && self.revision().transport() == Transport::Stateless {
                    let mut draws = self.input_draws();
                    if !self.program.capabilities.input(members, &mut draws, &mut self.user.input) {
                        self.user.input.clear();
                        self.user.exchange.failures.add(Failure::ServerRequest);
                    } else if self.user.inputs >= ROUNDS {
                        self.user.input.clear();
                        self.user.exchange.failures.add(Failure::InputRounds);
                    }
                }
            }
            Method::Ping | Method::Listen => {}
        }
    }

    /// Notes where the next page begins.
    fn turn_page(&mut self, members: &Members<'_>) {
        let wanted = self.current().pages;
        let stateless = self.revision().transport() == Transport::Stateless;
        let user = &mut *self.user;
        user.pages += 1;
        if stateless {
            let scope = members.cache_scope();
            if user.pages > 1 && scope != user.scope {
                user.exchange.failures.add(Failure::CacheFields);
            }
            user.scope = scope;
        }
        let next = members.next_cursor.map_or(&b""[..], |cursor| cursor.get().as_bytes());
        if !next.is_empty() && next == user.cursor {
            user.exchange.failures.add(Failure::Cursor);
            user.cursor.clear();
            return;
        }
        user.cursor.clear();
        let wanted = if user.stage == Stage::Call { wanted } else { None };
        if user.pages >= wanted.unwrap_or(PAGES) {
            if wanted.is_none() && !next.is_empty() {
                user.exchange.failures.add(Failure::Cursor);
            }
            return;
        }
        user.cursor.extend_from_slice(next);
    }

    /// Reads of the listed tools those that the plan calls.
    fn look_at_tools(&mut self, members: &Members<'_>) {
        let Some(tools) = members.tools.and_then(tools::page) else {
            return self.user.exchange.failures.add(Failure::ResultShape);
        };
        let mirror = self.revision().transport() == Transport::Stateless;
        for (call, listed) in self.program.calls.iter().zip(&mut self.shared.listed) {
            if listed.is_some() || call.method != Method::CallTool {
                continue;
            }
            let Some(tool) = tools.iter().find(|tool| tool.name() == call.name) else { continue };
            let generate = matches!(call.arguments, Source::Listed);
            let failures = &mut self.user.exchange.failures;
            *listed = Some(tool.read(generate, mirror, failures, |message| Self::tell(&message)));
        }
        if self.user.cursor.is_empty() && !std::mem::replace(&mut self.shared.knows_tools, true) {
            for (call, listed) in self.program.calls.iter().zip(&self.shared.listed) {
                if listed.is_none() && call.method == Method::CallTool {
                    Self::tell(&format!(
                        "the server lists no tool {}; check the name in the plan",
                        call.name
                    ));
                }
            }
        }
    }

    /// An HTTP answer is over.
    pub(super) fn ended(&mut self, done: &Completion<'_>) {
        let revision = self.revision();
        if let Some(failure) = done.failure {
            if failure == Broken::Timeout && self.user.exchange.streaming {
                self.user.exchange.failures.add(Failure::SilentStream);
            } else if failure == Broken::Reset && self.resume() {
                return;
            }
            return self.conclude(done.seq, false);
        }
        if self.user.stage == Stage::End {
            return self.session_ended(done);
        }
        let exchange = &mut self.user.exchange;
        exchange.status = done.status;
        let notified = exchange.count == 0 && exchange.method != Method::Listen;
        if notified {
            let is_exact = revision.transport() != Transport::EventStream;
            if !is_accepted(is_exact, done) {
                exchange.failures.add(Failure::Notification);
            }
            return self.conclude(done.seq, true);
        }
        let challenged = done.status == 401 && done.header("www-authenticate").is_some();
        let answer =
            dialect::judge(revision, done.status, &self.user.session, challenged, &mut exchange.failures);
        if let Answer::None(is_over) = answer {
            if is_over {
                self.user.session.is_open = false;
            }
            return self.conclude(done.seq, true);
        }
        if self.user.stage == Stage::Call
            && !self.program.verifies
            && revision.transport() != Transport::EventStream
        {
            if done.status != 200 {
                self.user.exchange.failures.add(Failure::Status);
            }
            return self.conclude(done.seq, true);
        }
        if revision.transport() == Transport::EventStream {
            self.user.exchange.taken = true;
            return self.conclude_if_whole(done.seq);
        }
        self.body(done);
        if !self.user.exchange.is_answered() && self.resume() {
            return;
        }
        let exchange = &mut self.user.exchange;
        if !exchange.is_answered() && exchange.failures.is_empty() {
            exchange.failures.add(Failure::MissingResponse);
        }
        if exchange.method == Method::Listen
            && exchange.count > 0
            && exchange.error == 0
            && !exchange.acknowledged
        {
            exchange.failures.add(Failure::Acknowledgement);
        }
        if revision.transport() == Transport::Stateless && !stateless::goes_with(done.status, exchange.error)
        {
            exchange.failures.add(Failure::Status);
        }
        self.conclude(done.seq, true);
    }

    /// Takes the body of an answer that is no stream.
    fn body(&mut self, done: &Completion<'_>) {
        let kind = done.header("content-type").unwrap_or_default();
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            // Its events have come one by one.
            self.user.exchange.streaming = true;
        } else if kind.eq_ignore_ascii_case(b"application/json")
            // A stream that was asked for by GET is nothing else.
            && self.user.exchange.count > 0
        {
            if done.body.is_empty() {
                self.user.exchange.failures.add(Failure::MissingResponse);
            } else {
                self.heard(done.body, done.last_byte_us);
            }
        } else {
            self.user.exchange.failures.add(Failure::ContentType);
        }
        if self.user.stage == Stage::Initialize
            && let Some(id) = done.header("mcp-session-id")
        {
            if streamable::is_id(id) {
                self.user.session.id.clear();
                self.user.session.id.extend_from_slice(id);
            } else {
                self.user.exchange.failures.add(Failure::SessionId);
            }
        }
    }

    fn session_ended(&mut self, done: &Completion<'_>) {
        // A server may leave sessions to their time.
        self.shared.keeps_sessions |= done.status == 405;
        if !(200..300).contains(&done.status) && done.status != 405 {
            self.user.exchange.failures.add(Failure::Status);
        }
        self.verdicts(done.seq);
        self.user.close();
        self.finish();
    }

    /// Where the response comes on another stream than the POST's: both have to be there.
    pub(super) fn conclude_if_whole(&mut self, seq: u32) {
        let exchange = &self.user.exchange;
        if exchange.taken && exchange.count > 0 && exchange.is_answered() {
            self.conclude(seq, true);
        }
    }

    /// Ends what the turn was doing; nothing follows in it.
    pub(super) fn abort(&mut self, seq: u32, ok: bool) {
        if !self.user.exchange.failures.is_empty() {
            self.verdicts(seq);
        }
        let operation = match self.user.stage {
            Stage::ListTools => LISTING,
            Stage::Call => CALLING,
            _ => OPENING,
        };
        self.out.end_operation(self.number, operation, ok);
        self.user.close();
        self.finish();
    }

    /// The exchange is over: tells what was wrong, and goes on.
    fn conclude(&mut self, seq: u32, answered: bool) {
        if std::mem::take(&mut self.user.exchange.again) {
            return self.ask_again(seq);
        }
        if self.user.stage == Stage::Discover {
            return self.discovered(seq, answered);
        }
        let is_stream = self.answers_on_stream();
        let failures = self.user.exchange.failures;
        if self.user.stage == Stage::Initialize && answered && self.tries_another(failures) {
            return;
        }
        if answered || !failures.is_empty() {
            self.verdicts(seq);
        }
        // Where the answer is not the measured request's, a verdict alone does not make the operation bad.
        let ok = answered && (!is_stream || failures.is_empty());
        match self.user.stage {
            Stage::Initialize if ok && failures.is_empty() => self.initialized(),
            Stage::Initialized if answered => {
                self.out.end_operation(self.number, OPENING, ok);
                let revision = self.revision();
                self.opened(revision);
            }
            Stage::ListTools if ok && says_nothing_of_others(failures) => {
                if !self.user.cursor.is_empty() {
                    return self.list_tools();
                }
                self.out.end_operation(self.number, LISTING, true);
                self.call();
            }
            Stage::ListTools => {
                self.out.end_operation(self.number, LISTING, ok);
                self.user.close();
                self.finish();
            }
            Stage::Call => self.concluded_call(ok, failures),
            _ => {
                self.out.end_operation(self.number, OPENING, ok);
                self.user.close();
                self.finish();
            }
        }
    }

    /// Sends a request once more, as it was.
    fn ask_again(&mut self, seq: u32) {
        self.user.exchange.failures.remove(Failure::VersionUnsupported);
        self.verdicts(seq);
        match self.user.stage {
            Stage::Discover => self.discover(),
            Stage::ListTools => self.list_tools(),
            _ => self.call(),
        }
    }

    fn concluded_call(&mut self, ok: bool, failures: Failures) {
        if ok && failures.is_empty() {
            if !self.user.input.is_empty() {
                self.user.inputs += 1;
                return self.call();
            }
            if !self.user.cursor.is_empty() {
                return self.call();
            }
        }
        self.out.end_operation(self.number, CALLING, ok);
        self.call_over();
    }

    /// The server was asked for its era. What it does not answer as one of this era does is no failure: it is of another.
    fn discovered(&mut self, seq: u32, answered: bool) {
        let exchange = &self.user.exchange;
        let refused = exchange.failures.has(Failure::Unauthorized)
            || exchange.failures.has(Failure::Forbidden)
            || !answered;
        if refused {
            return self.abort(seq, answered);
        }
        if self.user.session.revision.is_some() {
            let good = exchange.failures.is_empty();
            self.verdicts(seq);
            self.out.end_operation(self.number, OPENING, true);
            if good {
                return self.opened(Revision::V2026_07_28);
            }
            self.shared.revision = Some(Revision::V2026_07_28);
            self.user.close();
            return self.finish();
        }
        if stateless::shows_era(exchange.error) && self.shared.revision.is_none() {
            return self.abort(seq, true);
        }
        match self.shared.revision.map(Revision::transport) {
            Some(Transport::EventStream) => self.open_stream(),
            _ => self.initialize(),
        }
    }

    /// Whether a server that does not take `initialize` is tried in the oldest dialect.
    fn tries_another(&mut self, failures: Failures) -> bool {
        // Another user may have found that out since this one began.
        let may_be_oldest =
            self.shared.revision.is_none_or(|revision| revision.transport() == Transport::EventStream);
        let undecided = may_be_oldest && self.user.stream == 0;
        if undecided && failures.has(Failure::Status) && matches!(self.user.exchange.status, 400 | 404 | 405)
        {
            self.open_stream();
            return true;
        }
        false
    }

    /// Tells the checks of what was awaited, and its times.
    pub(super) fn verdicts(&mut self, seq: u32) {
        let (exchange, checks, metrics) = (&self.user.exchange, &self.program.checks, &self.program.metrics);
        let failures = exchange.failures;
        self.out.verdict(self.number, seq, checks.valid, failures.is_empty());
        failures.each().for_each(|failure| self.out.verdict(self.number, seq, checks.of(failure), false));
        let step = match self.user.stage {
            Stage::Call => self.current().step,
            Stage::ListTools => self.program.steps.list_tools,
            Stage::End => self.program.steps.end_session,
            _ => self.program.steps.initialize,
        };
        let times = [
            (metrics.first_message, exchange.first_message_us),
            (metrics.first_progress, exchange.first_progress_us),
            (metrics.final_answer, exchange.final_us),
        ];
        for (metric, us) in times.into_iter().filter(|(_, us)| *us > 0) {
            self.out.observe(step, metric, f64::from(us) / 1_000.0);
        }
    }
}
