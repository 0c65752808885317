//! One request and all that comes back for it: what is awaited, what came, what was wrong with it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::config::Expected;
use crate::failure::{Failure, Failures};
use crate::message::{self, Kind, Message, Progress, RpcError, Subscribed};
use crate::result::{Members, Method};

/// Why the user is to be woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Alarm {
    #[default]
    None,
    /// The call is given up, as the plan wants it.
    GiveUp,
    /// The answer is late: where it comes on a stream of its own, no request's deadline says so.
    Late,
    /// A stream was held long enough.
    Held,
}

/// What is awaited, and what came so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The HTTP request that it began with, or was taken up again with.
    pub(crate) seq: u32,
    pub(crate) method: Method,
    /// Ids of the requests in the body: so many from the first on; 0 = a notification.
    pub(crate) first_id: u32,
    pub(crate) count: u32,
    /// A bit for each that has its response.
    answered: u32,
    pub(crate) failures: Failures,
    /// Progress was asked for, with the first id as its token.
    pub(crate) wants_progress: bool,
    /// The latest; none yet.
    progress: Option<f64>,
    /// The answer is an event stream.
    pub(crate) streaming: bool,
    /// Where answers come on another stream: the POST was taken.
    pub(crate) taken: bool,
    pub(crate) resumes: u32,
    pub(crate) alarm: Alarm,
    /// The request is to be sent once more.
    pub(crate) again: bool,
    pub(crate) acknowledged: bool,
    /// When it began, microseconds of the phase.
    pub(crate) begun_us: u64,
    /// Of the HTTP answer; 0 = none yet.
    pub(crate) status: u32,
    /// Ids below this one that may still be answered, though their calls were given up.
    given_up: u32,
    /// Code of a JSON-RPC error; 0 = none.
    pub(crate) error: i64,
    /// Microseconds from the send; 0 = has not come.
    pub(crate) first_message_us: u32,
    pub(crate) first_progress_us: u32,
    pub(crate) final_us: u32,
    /// The last id that the stream has set.
    pub(crate) event_id: Vec<u8>,
    /// How long the stream is to be left alone before it is taken up again, milliseconds.
    pub(crate) retry_ms: Option<u64>,
}

/// What a message was.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack: a box would be an allocation a message"
)]
pub(crate) enum Heard<'a> {
    /// Nothing that the user's state depends on.
    Noted,
    Result(Members<'a>),
    Error(RpcError<'a>),
    /// The server wants something: id, method, parameters.
    Asked(&'a RawValue, Cow<'a, str>, Option<&'a RawValue>),
}

/// By what rules a message is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) stateless: bool,
    pub(crate) expect: Expected,
    /// The tool is not among those that the server lists.
    pub(crate) unlisted: bool,
    /// Bytes after which a message is cut.
    pub(crate) limit: usize,
    pub(crate) tool: &'a str,
}

impl Exchange {
    /// Begins another one, keeping the room that this one has.
    pub(crate) fn begin(&mut self, now_us: u64, seq: u32, method: Method, first_id: u32, count: u32) {
        let mut event_id = std::mem::take(&mut self.event_id);
        event_id.clear();
        let given_up = self.given_up;
        *self =
            Self { begun_us: now_us, seq, method, first_id, count, event_id, given_up, ..Self::default() };
    }

    /// Nothing of it is awaited any more; what comes all the same, where answers share a stream, is no failure.
    pub(crate) const fn give_up(&mut self) {
        self.given_up = self.first_id + self.count;
    }

    /// Whether a number is that of a call that was given up.
    fn is_given_up(&self, number: Option<u32>) -> bool {
        number
            .is_some_and(|number| number < self.given_up && number.wrapping_sub(self.first_id) >= self.count)
    }

    /// Every request has its response.
    pub(crate) const fn is_answered(&self) -> bool {
        self.answered.count_ones() >= self.count
    }

    /// Takes one message that came `at_us` after the send.
    pub(crate) fn hear<'a>(&mut self, text: &'a [u8], at_us: u32, judge: Judge<'_>) -> Heard<'a> {
        if self.first_message_us == 0 {
            self.first_message_us = at_us.max(1);
        }
        let message = match Message::read(text) {
            Ok(message) => message,
            Err(_) if text.len() >= judge.limit => return self.wrong(Failure::TooLarge),
            Err(true) => return self.wrong(Failure::NotJsonRpc),
            Err(false) => return self.wrong(Failure::CorruptFrame),
        };
        match message.kind() {
            Kind::Invalid => self.wrong(Failure::NotJsonRpc),
            Kind::Request(..) if judge.stateless => self.wrong(Failure::ServerRequest),
            Kind::Request(id, method, params) => Heard::Asked(id, method, params),
            Kind::Notification(method, params) => self.notified(&method, params, at_us),
            Kind::Result(id, result) => match self.take(id, at_us) {
                true => self.result(result, judge),
                false => Heard::Noted,
            },
            Kind::Error(id, error) => {
                // One without an id is about a request that the server could not read: ours.
                let is_all = id.is_none() && self.count > 0 && !self.is_answered();
                if is_all {
                    self.answered = u32::MAX;
                    self.final_us = at_us.max(1);
                }
                if is_all || self.take(id, at_us) {
                    self.failed(&error, judge);
                    return Heard::Error(error);
                }
                Heard::Noted
            }
        }
    }

    fn wrong<'a>(&mut self, failure: Failure) -> Heard<'a> {
        self.failures.add(failure);
        Heard::Noted
    }

    /// Whether a response is one that is awaited.
    fn take(&mut self, id: Option<&RawValue>, at_us: u32) -> bool {
        let place = id.and_then(message::number).map(|id| id.wrapping_sub(self.first_id));
        let Some(place) = place.filter(|place| *place < self.count) else {
            if !self.is_given_up(id.and_then(message::number)) {
                self.failures.add(Failure::IdMismatch);
            }
            return false;
        };
        if self.answered & 1 << place != 0 {
            self.failures.add(Failure::RepeatedResponse);
            return false;
        }
        self.answered |= 1 << place;
        self.final_us = at_us.max(1);
        true
    }

    fn result<'a>(&mut self, result: &'a RawValue, judge: Judge<'_>) -> Heard<'a> {
        let Some(members) = Members::read(result) else { return self.wrong(Failure::ResultShape) };
        members.verify(self.method, judge.stateless, &mut self.failures);
        if members.asks_for_input() && judge.stateless {
            return Heard::Result(members);
        }
        match (members.is_error(), judge.expect) {
            (false, Expected::Success) | (true, Expected::ToolError) => {}
            (true, _) if judge.unlisted || is_unknown(members.content(), judge.tool) => {
                self.failures.add(Failure::ToolUnknown);
            }
            (true, _) => self.failures.add(Failure::ToolError),
            (false, _) => self.failures.add(Failure::UnexpectedSuccess),
        }
        Heard::Result(members)
    }

    fn failed(&mut self, error: &RpcError<'_>, judge: Judge<'_>) {
        self.error = if error.code == 0 { -1 } else { error.code };
        if judge.expect == Expected::ProtocolError {
            return;
        }
        let is_call = self.method == Method::CallTool;
        self.failures.add(match error.code {
            message::HEADER_MISMATCH if judge.stateless => Failure::HeaderMismatch,
            message::CAPABILITY_MISSING if judge.stateless => Failure::CapabilityMissing,
            message::VERSION_UNSUPPORTED if judge.stateless => Failure::VersionUnsupported,
            _ if is_call && (judge.unlisted || is_unknown(error.message(), judge.tool)) => {
                Failure::ToolUnknown
            }
            _ => Failure::ProtocolError,
        });
    }

    fn notified<'a>(&mut self, method: &str, params: Option<&RawValue>, at_us: u32) -> Heard<'a> {
        if self.method == Method::Listen && self.count > 0 {
            let is_ours = params
                .and_then(|params| serde_json::from_str::<Subscribed<'_>>(params.get()).ok())
                .is_some_and(|params| params.is_of(self.first_id));
            let is_first = method == "notifications/subscriptions/acknowledged";
            if !is_ours || is_first == self.acknowledged {
                self.failures.add(Failure::Acknowledgement);
            }
            self.acknowledged = true;
        }
        if method != "notifications/progress" {
            return Heard::Noted;
        }
        let params = params.and_then(|params| serde_json::from_str::<Progress<'_>>(params.get()).ok());
        let Some(params) = params else { return self.wrong(Failure::ProgressToken) };
        if self.is_given_up(message::number(params.token)) {
            return Heard::Noted;
        }
        if !self.wants_progress || message::number(params.token) != Some(self.first_id) {
            return self.wrong(Failure::ProgressToken);
        }
        if self.is_answered() {
            self.failures.add(Failure::ProgressLate);
        }
        if self.progress.is_some_and(|latest| params.progress <= latest) {
            self.failures.add(Failure::ProgressOrder);
        }
        self.progress = Some(params.progress);
        if self.first_progress_us == 0 {
            self.first_progress_us = at_us.max(1);
        }
        Heard::Noted
    }
}

/// Whether a failure says that there is no such tool: servers differ in how.
fn is_unknown(text: &str, tool: &str) -> bool {
    let names_it = text.contains(tool);
    names_it
        && ["nknown tool", "not found", "o such tool", "does not exist"]
            .iter()
            .any(|part| text.contains(part))
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
