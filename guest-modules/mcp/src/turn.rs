//! One turn of a user: what is sent when.

mod judge;
mod side;
mod stream;

use gauntlet_sdk::{Completion, CompletionKind, Interest, Outbox, Rng, Turn, log};
use serde_json::Value;

use crate::dialect::{self, About, Row, Sender};
use crate::exchange::Alarm;
use crate::failure::Failure;
use crate::program::{Call, Program, Source};
use crate::result::{Method, Scope};
use crate::revision::{Revision, Transport};
use crate::scenario::Shared;
use crate::tools::header_value;
use crate::user::{Role, Stage, User, role};

/// Streams of draws; those of placeholders are above 16, those of later calls of a turn above 32 bits.
const CALL: u64 = 0;
const THINK: u64 = 1;
const ARGUMENTS: u64 = 2;
const INPUT: u64 = 3;

/// Measured operations of a turn.
const OPENING: u32 = 1;
const LISTING: u32 = 2;
const CALLING: u32 = 3;
const ASIDE: u32 = 4;

/// Deadline of an answer that comes on another request's stream, where the plan names none, microseconds.
const LATE_US: u32 = 30_000_000;
/// What a stream may last longer than it is wanted.
const MARGIN_US: u32 = 30_000_000;
/// A user that acts.
pub(crate) struct Act<'a, 'o> {
    pub(crate) seed: u64,
    pub(crate) program: &'a Program,
    pub(crate) shared: &'a mut Shared,
    pub(crate) user: &'a mut User,
    pub(crate) number: u32,
    /// Microseconds since the phase began.
    pub(crate) now_us: u64,
    pub(crate) out: &'a mut Outbox<'o>,
}

impl<'a> Act<'a, '_> {
    /// A turn begins.
    pub(crate) fn begin(&mut self, turn: &Turn<'_>) {
        let was_cut = !matches!(self.user.stage, Stage::Idle | Stage::Call) || self.user.stream != 0;
        if was_cut || self.program.whole_sessions {
            // The former turn was cut off, by the end of a phase, before the session was open or with its stream.
            self.user.close();
        }
        self.user.stage = Stage::Idle;
        (self.user.arrival, self.user.round) = (turn.arrival, 0);
        (self.user.stream, self.user.aside) = (0, false);
        self.keep_row(turn);
        self.choose(Row::of(turn));
        if self.user.session.is_open { self.call() } else { self.open() }
    }

    /// Something happened.
    pub(crate) fn done(&mut self, done: &Completion<'_>) {
        match role(done.seq) {
            Role::Side => self.side_done(done),
            Role::Stream if done.seq == self.user.stream => self.stream_done(done),
            Role::Main if done.seq == self.user.exchange.seq && self.user.stage != Stage::Idle => {
                match done.kind {
                    CompletionKind::Timer => self.alarm(),
                    CompletionKind::Head => {
                        self.user.exchange.streaming = true;
                        self.hold_once_open();
                    }
                    CompletionKind::Event => {
                        self.event(done);
                        self.hold_once_open();
                    }
                    CompletionKind::End => self.ended(done),
                    CompletionKind::Cancelled => {}
                }
            }
            // What was given up, and is heard of late.
            Role::Stream | Role::Main => {}
        }
    }

    pub(crate) fn sender(&self) -> Sender<'a> {
        Sender {
            program: self.program,
            seed: self.seed,
            user: self.number,
            arrival: self.user.arrival,
            round: self.user.round,
            row: Row::None,
        }
    }

    /// Draws of what a user would put in.
    fn input_draws(&self) -> Rng {
        guest_config::Values::draws(&self.sender(), INPUT)
    }

    pub(crate) fn current(&self) -> &'a Call {
        &self.program.calls[self.user.call]
    }

    /// The revision in which the user speaks now.
    pub(crate) fn revision(&self) -> Revision {
        match (self.user.stage, self.user.session.revision, self.shared.revision) {
            (Stage::Discover, ..) => Revision::V2026_07_28,
            (_, Some(agreed), _) => agreed,
            _ if self.user.stream != 0 || self.user.stage == Stage::Endpoint => Revision::V2024_11_05,
            // Others may have found another era meanwhile: this user goes on as it began.
            (_, None, Some(known)) if known.transport() == Transport::Streamable => known,
            _ => Revision::NEWEST_WITH_HANDSHAKE,
        }
    }

    /// Keeps what calls take from the turn's row, where the turn may have several.
    fn keep_row(&mut self, turn: &Turn<'_>) {
        let may_be_whole = self.program.whole_sessions
            || self.shared.revision.is_none_or(|revision| revision.transport() == Transport::EventStream);
        if !self.program.has_columns || !may_be_whole {
            return;
        }
        let columns = self.program.calls.iter().flat_map(|call| &call.columns);
        self.user.row.resize(columns.clone().count(), Vec::new());
        for (kept, &(feed, column)) in self.user.row.iter_mut().zip(columns) {
            kept.clear();
            kept.extend_from_slice(turn.row(feed, column));
        }
    }

    /// Chooses the next call and writes its arguments, as far as they are known already.
    fn choose(&mut self, row: Row<'_>) {
        let program = self.program;
        let sender = self.sender();
        let draw = |stream| guest_config::Values::draws(&sender, stream);
        self.user.call = match program.weights.as_slice() {
            [_] => 0,
            weights if program.in_sequence => {
                let arrival = if self.is_whole_session() { 0 } else { self.user.arrival };
                let place = arrival.wrapping_add(self.user.round.into()) % weights.len() as u64;
                usize::try_from(place).unwrap_or(0)
            }
            weights => draw(CALL).weighted(weights),
        };
        let call = self.current();
        let user = &mut *self.user;
        user.cursor.clear();
        user.input.clear();
        (user.pages, user.inputs, user.scope) = (0, 0, Scope::Unknown);
        match &call.arguments {
            Source::None | Source::Listed => user.arguments.clear(),
            Source::Template(template) => {
                user.arguments.clear();
                let sender = Sender { row: row.of_call(call), ..sender };
                template.write(&mut user.arguments, &sender);
            }
            Source::Schema(generator) => {
                user.arguments.clear();
                generator.write(&mut user.arguments, &mut draw(ARGUMENTS));
            }
        }
    }

    /// Opens a session, or what stands for one.
    fn open(&mut self) {
        match self.shared.revision.map(Revision::transport) {
            None => self.discover(),
            Some(Transport::Stateless) => self.opened(Revision::V2026_07_28),
            Some(Transport::Streamable) => self.initialize(),
            Some(Transport::EventStream) => self.open_stream(),
        }
    }

    /// Asks which era the server is of.
    fn discover(&mut self) {
        self.user.stage = Stage::Discover;
        self.send(Method::Discover, OPENING, self.program.steps.initialize);
    }

    pub(crate) fn initialize(&mut self) {
        self.user.stage = Stage::Initialize;
        self.send(Method::Initialize, OPENING, self.program.steps.initialize);
    }

    /// Says that the session may begin.
    pub(crate) fn initialized(&mut self) {
        const BODY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.user.stage = Stage::Initialized;
        let seq = self.user.seq(Role::Main);
        self.user.exchange.begin(self.now_us, seq, Method::Initialize, 0, 0);
        let (revision, step) = (self.revision(), self.program.steps.initialize);
        self.sender()
            .post(
                self.out,
                revision,
                &self.user.session,
                seq,
                step,
                About::Method("notifications/initialized"),
            )
            .operation(OPENING)
            .timeout_us(self.program.timeout_us)
            .body(BODY)
            .send();
    }

    /// A session is open: what comes before the first call.
    pub(crate) fn opened(&mut self, revision: Revision) {
        self.user.session.is_open = true;
        self.user.session.revision = Some(revision);
        self.shared.revision.get_or_insert(revision);
        if self.program.stream && revision.transport() == Transport::Streamable && !self.shared.has_no_stream
        {
            return self.open_aside();
        }
        self.first_call();
    }

    /// The session is open, and its stream, if there is one.
    fn first_call(&mut self) {
        if self.program.lists_tools { self.list_tools() } else { self.call() }
    }

    /// The next page of tools.
    pub(crate) fn list_tools(&mut self) {
        self.user.stage = Stage::ListTools;
        self.send(Method::ListTools, LISTING, self.program.steps.list_tools);
    }

    /// The call that the turn is for, or its next page, or once more with what the server asked for. Where it cannot be
    /// made, a turn that has several goes on with the next.
    pub(crate) fn call(&mut self) {
        if self.user.stage == Stage::ListTools {
            self.user.cursor.clear();
            (self.user.pages, self.user.scope) = (0, Scope::Unknown);
        }
        for _ in 0..self.program.calls.len() {
            if self.make_call() {
                return;
            }
            if !self.is_whole_session() {
                return self.finish();
            }
            if !self.goes_on() {
                return;
            }
        }
        // None could be made in a row that is as long as the mix.
        self.end_session();
    }

    /// Makes the call that was chosen. `false`: nothing is sent, and why shows as a check.
    fn make_call(&mut self) -> bool {
        let call = self.current();
        self.user.stage = Stage::Call;
        let listed = self.shared.listed.get(self.user.call).and_then(Option::as_ref);
        let may_call = match &call.arguments {
            Source::Listed => {
                let generator = listed.and_then(|listed| listed.generator.as_ref());
                if let Some(generator) = generator
                    && self.user.inputs == 0
                {
                    self.user.arguments.clear();
                    let mut rng = guest_config::Values::draws(&self.sender(), ARGUMENTS);
                    generator.write(&mut self.user.arguments, &mut rng);
                }
                generator.is_some()
            }
            _ => true,
        };
        if !may_call || listed.is_some_and(|listed| listed.rejected) {
            // A turn in which nothing is sent shows as cancelled.
            let failure = match listed {
                None => Failure::ToolUnknown,
                Some(listed) if listed.rejected => Failure::HeaderMarks,
                Some(_) => Failure::Arguments,
            };
            self.out.verdict(self.number, 0, self.program.checks.of(failure), false);
            return false;
        }
        if call.method == Method::Listen {
            self.listen();
            return true;
        }
        self.send(call.method, CALLING, call.step);
        if call.cancel_after_us > 0 {
            self.wake(Alarm::GiveUp, call.cancel_after_us);
        }
        true
    }

    /// A stream of the server's messages.
    fn listen(&mut self) {
        let call = self.current();
        let revision = self.revision();
        if revision.transport() == Transport::Streamable {
            let (seq, timeout_us) = (self.user.seq(Role::Main), self.listen_timeout_us(call));
            self.user.exchange.begin(self.now_us, seq, Method::Listen, 0, 0);
            self.sender()
                .stream(self.out, revision, &self.user.session, seq, call.step)
                .operation(CALLING)
                .timeout_us(timeout_us)
                .send();
        } else {
            self.send(Method::Listen, CALLING, call.step);
        }
        self.wake(Alarm::Late, self.deadline_us());
    }

    /// A stream that is to be held is held from when it is open: a server that is slow to open it has its time for that.
    fn hold_once_open(&mut self) {
        let exchange = &self.user.exchange;
        let waits = exchange.method == Method::Listen && exchange.alarm == Alarm::Late;
        let is_open = if exchange.count > 0 { exchange.acknowledged } else { exchange.streaming };
        if waits && is_open && self.user.stage == Stage::Call {
            self.wake(Alarm::Held, self.current().hold_us);
        }
    }

    /// By then the wakes have ended it.
    fn listen_timeout_us(&self, call: &Call) -> u32 {
        call.hold_us.saturating_add(self.deadline_us()).saturating_add(MARGIN_US)
    }

    /// Sends a request in the dialect of the session, and awaits its response.
    fn send(&mut self, method: Method, operation: u32, step: u32) {
        let revision = self.revision();
        let is_call = self.user.stage == Stage::Call;
        let call = is_call.then(|| self.current());
        let count = call.map_or(1, |call| call.batch);
        let id = self.user.ids(count);
        self.user.exchange.begin(self.now_us, id, method, id, count);
        self.user.exchange.wants_progress = call.is_some_and(|call| call.progress);
        let about = match call {
            Some(call) if call.method == method => About::Call(call),
            _ => About::Method(method.name()),
        };
        let timeout_us = match call {
            Some(call) if call.method == Method::Listen => self.listen_timeout_us(call),
            Some(call) if call.timeout_us > 0 => call.timeout_us,
            _ => self.program.timeout_us,
        };
        let sender = self.sender();
        let user = &*self.user;
        let mut draft = sender.post(self.out, revision, &user.session, id, step, about);
        if revision.transport() == Transport::Stateless && is_call {
            let listed = self.shared.listed.get(user.call).and_then(Option::as_ref);
            let marks = listed.map_or(&[][..], |listed| &listed.marks);
            let arguments =
                if marks.is_empty() { None } else { serde_json::from_slice::<Value>(&user.arguments).ok() };
            for mark in marks {
                let value =
                    arguments.as_ref().and_then(|all| all.pointer(&mark.pointer)).and_then(header_value);
                if let Some(value) = value {
                    draft = draft.header(&mark.header, value);
                }
            }
            if method == Method::ReadResource
                && let Ok(uri) = serde_json::from_slice::<String>(&user.arguments)
            {
                draft = draft.header("mcp-name", crate::tools::coded(&uri));
            }
        }
        draft = draft.operation(operation).timeout_us(timeout_us).attempt(user.inputs);
        if is_call && !self.program.verifies && revision.transport() != Transport::EventStream {
            draft = draft.interest(Interest::END);
        }
        let mut body = draft.body_part();
        if count > 1 {
            body.push(b"[");
        }
        for place in 0..count {
            if place > 0 {
                body.push(b",");
            }
            dialect::request(&mut body, &sender, user, revision, id + place, (method, call));
        }
        if count > 1 {
            body.push(b"]");
        }
        draft.send();
        if revision.transport() == Transport::EventStream {
            self.wake(Alarm::Late, self.deadline_us());
        }
    }

    /// Ends the session, if it is time and the server can.
    fn end_session(&mut self) {
        let revision = self.revision();
        let has_end = revision.transport() == Transport::Streamable
            && !self.user.session.id.is_empty()
            && !self.shared.keeps_sessions;
        if !has_end {
            self.user.close();
            return self.finish();
        }
        self.user.stage = Stage::End;
        let seq = self.user.seq(Role::Main);
        self.user.exchange.begin(self.now_us, seq, Method::Ping, 0, 0);
        self.sender()
            .delete(self.out, revision, &self.user.session, seq)
            .timeout_us(self.program.timeout_us)
            .send();
    }

    /// A call is over: what is next in this turn.
    fn call_over(&mut self) {
        if self.goes_on() {
            self.call();
        }
    }

    /// Counts a call, and chooses the next of the turn. `false`: there is none, and the turn is over or about to be.
    fn goes_on(&mut self) -> bool {
        self.user.session.calls += 1;
        if !self.user.session.is_open {
            self.user.close();
            self.finish();
            return false;
        }
        let is_whole = self.is_whole_session();
        let most = if is_whole { self.program.calls_of_whole_session() } else { self.program.session_calls };
        if most > 0 && self.user.session.calls >= most {
            self.end_session();
            return false;
        }
        if !is_whole {
            self.finish();
            return false;
        }
        self.user.round += 1;
        let row = std::mem::take(&mut self.user.row);
        self.choose(Row::Kept(&row));
        self.user.row = row;
        true
    }

    /// The turn is over.
    pub(crate) fn finish(&mut self) {
        self.give_up_stream();
        if self.program.whole_sessions {
            self.user.close();
        }
        self.user.stage = Stage::Idle;
        let (min, max) = self.program.think_us;
        let think = if min == max {
            min
        } else {
            let drawn = Rng::for_arrival(self.seed, self.user.arrival, THINK).between(min.into(), max.into());
            u32::try_from(drawn).unwrap_or(max)
        };
        self.out.finish(self.number, think);
    }

    fn deadline_us(&self) -> u32 {
        let call = self.current().timeout_us;
        let wanted = if self.user.stage == Stage::Call && call > 0 { call } else { self.program.timeout_us };
        if wanted > 0 { wanted } else { LATE_US }
    }

    fn wake(&mut self, alarm: Alarm, after_us: u32) {
        self.user.exchange.alarm = alarm;
        self.out.wake_at(self.number, self.user.exchange.seq, after_us);
    }

    /// A line for the plan's author, once.
    pub(crate) fn tell(message: &str) {
        log::warn(message);
    }
}
