//! Runs a [`Scenario`] natively, without a worker: start turns, answer requests, look at what it says.

use crate::bindings::gauntlet::scenario::types as wire;
use crate::turn::slice;
use crate::{CompletionKind, Connection, Engine, Failure, Interest, Problem, Scenario};

/// A scenario under test.
#[derive(Debug)]
pub struct Bench<S> {
    engine: Engine<S>,
    setup: wire::Setup,
    now_us: u64,
}

impl<S: Scenario> Bench<S> {
    /// Configures the scenario as a worker would.
    ///
    /// # Errors
    /// The problems that the scenario finds in `config`.
    pub fn new(config: &str, seed: u64, users: u32) -> Result<Self, Vec<Problem>> {
        let mut engine = Engine::new();
        match engine.configure(config, seed, users) {
            Ok(setup) => Ok(Self { engine, setup, now_us: 0 }),
            Err(problems) => {
                Err(problems.into_iter().map(|p| Problem::new(p.path, p.message, p.mend)).collect())
            }
        }
    }

    /// Names of the steps, in the order of their indexes.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.setup.steps
    }

    /// Sets the time since the phase began, microseconds.
    pub fn set_now_us(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// Starts one turn; `rows` has the values of each feed's columns.
    pub fn start(&mut self, user: u32, arrival: u64, rows: &[&[&str]]) -> Said {
        self.play(&[Start { user, arrival, rows }], &[])
    }

    /// Hands in what happened.
    pub fn answer(&mut self, answers: &[Answer]) -> Said {
        self.play(&[], answers)
    }

    /// One call with any number of both, as a worker makes it.
    pub fn play(&mut self, starts: &[Start<'_>], answers: &[Answer]) -> Said {
        let mut arena = Vec::new();
        let starts: Vec<_> = starts.iter().map(|one| one.to_wire(&mut arena)).collect();
        let done: Vec<_> = answers.iter().map(|one| one.to_wire(&mut arena)).collect();
        let output = self.engine.step(self.now_us, &starts, &done, &arena);
        Said::new(&self.setup, &output)
    }
}

/// A turn to start in [`Bench::play`].
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Who takes it.
    pub user: u32,
    /// The arrival's number.
    pub arrival: u64,
    /// The values of each feed's columns.
    pub rows: &'a [&'a [&'a str]],
}

impl Start<'_> {
    fn to_wire(self, arena: &mut Vec<u8>) -> wire::Start {
        let off = arena.len();
        for value in self.rows.iter().flat_map(|feed| feed.iter()) {
            arena.extend(length(value.len()).to_le_bytes());
            arena.extend(value.as_bytes());
        }
        let rows = wire::Slice { off: length(off), len: length(arena.len() - off) };
        wire::Start { user: self.user, arrival: self.arrival, rows }
    }
}

/// Something that happened, for [`Bench::answer`].
#[derive(Clone, Debug)]
pub struct Answer {
    kind: CompletionKind,
    user: u32,
    seq: u32,
    status: u32,
    failure: Option<Failure>,
    last_byte_us: u32,
    events: u32,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// The whole answer to a request: status 200, no headers, no body, 1 ms.
    #[must_use]
    pub fn to(request: &Sent) -> Self {
        Self::of(CompletionKind::End, request.user, request.seq).status(200)
    }

    /// A wake-up.
    #[must_use]
    pub fn timer(user: u32, seq: u32) -> Self {
        Self::of(CompletionKind::Timer, user, seq)
    }

    fn of(kind: CompletionKind, user: u32, seq: u32) -> Self {
        let (head, body) = (String::new(), Vec::new());
        Self { kind, user, seq, status: 0, failure: None, last_byte_us: 1000, events: 0, head, body }
    }

    /// An event of the stream that answers a request: its number from 1, its name and its data. [`Answer::id`] sets the id.
    #[must_use]
    pub fn event(request: &Sent, number: u32, name: &str, data: &str) -> Self {
        let event = Self::of(CompletionKind::Event, request.user, request.seq);
        let event = event.status(200).events(number).body(data);
        if name.is_empty() { event } else { event.header("event", name) }
    }

    /// The id of an event.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.header("id", id)
    }

    /// What an event says of the time to wait before the stream is taken up again, milliseconds.
    #[must_use]
    pub fn retry_ms(self, retry_ms: u64) -> Self {
        self.header("retry", &retry_ms.to_string())
    }

    /// Another kind: the head of a stream, one of its events, a cancellation.
    #[must_use]
    pub fn kind(mut self, kind: CompletionKind) -> Self {
        self.kind = kind;
        self
    }

    /// Another status.
    #[must_use]
    pub fn status(mut self, status: u32) -> Self {
        self.status = status;
        self
    }

    /// No whole answer.
    #[must_use]
    pub fn failed(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self.status = 0;
        self
    }

    /// From send to last byte, microseconds.
    #[must_use]
    pub fn last_byte_us(mut self, last_byte_us: u32) -> Self {
        self.last_byte_us = last_byte_us;
        self
    }

    /// Events seen so far.
    #[must_use]
    pub fn events(mut self, events: u32) -> Self {
        self.events = events;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        for part in [name, ": ", value, "\r\n"] {
            self.head.push_str(part);
        }
        self
    }

    /// The body, or an event's data.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn to_wire(&self, arena: &mut Vec<u8>) -> wire::Completion {
        let mut put = |parts: [&[u8]; 3]| {
            let off = length(arena.len());
            parts.iter().for_each(|part| arena.extend_from_slice(part));
            wire::Slice { off, len: length(arena.len()) - off }
        };
        let (status_line, end) = match self.kind {
            // The lines of an event's head are its fields and nothing else.
            CompletionKind::Event => (String::new(), &b""[..]),
            _ => (format!("HTTP/1.1 {} \r\n", self.status), &b"\r\n"[..]),
        };
        wire::Completion {
            kind: self.kind.into(),
            user: self.user,
            seq: self.seq,
            status: self.status,
            failure: Failure::to_wire(self.failure),
            queue_us: 0,
            first_byte_us: self.last_byte_us,
            first_event_us: if self.events > 0 { self.last_byte_us } else { 0 },
            last_byte_us: self.last_byte_us,
            events: self.events,
            head: put([status_line.as_bytes(), self.head.as_bytes(), end]),
            body: put([self.body.as_slice(), b"", b""]),
        }
    }
}

/// All that a scenario said in one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Requests, in order.
    pub requests: Vec<Sent>,
    /// Verdicts, in order.
    pub verdicts: Vec<Verdict>,
    /// Turns that ended.
    pub finished: Vec<Finish>,
    /// Everything else.
    pub commands: Vec<Command>,
}

/// A request that the scenario wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what the methods of the same names of `Draft` set")]
pub struct Sent {
    pub user: u32,
    pub seq: u32,
    pub operation: u32,
    pub step: String,
    pub endpoint: u32,
    pub method: String,
    pub delay_us: u32,
    pub timeout_us: u32,
    pub attempt: u32,
    pub connection: Connection,
    pub interest: Interest,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Sent {
    /// The first value of a header, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn body_text(&self) -> String {
        text(&self.body)
    }
}

/// A check's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whose.
    pub user: u32,
    /// Of which request.
    pub seq: u32,
    /// The check's name.
    pub check: String,
    /// Whether it held.
    pub pass: bool,
}

/// The end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Whose.
    pub user: u32,
    /// Microseconds until the user is free again.
    pub think_us: u32,
}

/// What else a scenario may say.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are the parameters of the methods of `Outbox`")]
pub enum Command {
    /// [`crate::Outbox::cancel`]
    Cancel { user: u32, seq: u32 },
    /// [`crate::Outbox::wake_at`]
    WakeAt { user: u32, seq: u32, after_us: u32 },
    /// [`crate::Outbox::observe`]
    Observe { step: u32, metric: u32, value: f64 },
    /// [`crate::Outbox::end_operation`]
    EndOperation { user: u32, operation: u32, ok: bool },
    /// [`crate::Outbox::close_connection`]
    CloseConnection { user: u32 },
}

impl Said {
    fn new(setup: &wire::Setup, output: &wire::Output) -> Self {
        Self {
            requests: output.requests.iter().map(|one| sent(setup, one, &output.arena)).collect(),
            verdicts: output
                .verdicts
                .iter()
                .map(|one| Verdict {
                    user: one.user,
                    seq: one.seq,
                    check: name(&setup.checks, one.check),
                    pass: one.pass,
                })
                .collect(),
            finished: output
                .finished
                .iter()
                .map(|one| Finish { user: one.user, think_us: one.think_us })
                .collect(),
            commands: output.commands.iter().map(command).collect(),
        }
    }
}

fn command(from: &wire::Command) -> Command {
    match *from {
        wire::Command::Cancel(wire::RequestRef { user, seq }) => Command::Cancel { user, seq },
        wire::Command::WakeAt(wire::Wake { user, seq, after_us }) => Command::WakeAt { user, seq, after_us },
        wire::Command::Observe(wire::Observation { step, metric, value }) => {
            Command::Observe { step, metric, value }
        }
        wire::Command::EndOperation(wire::OperationEnd { user, operation, ok }) => {
            Command::EndOperation { user, operation, ok }
        }
        wire::Command::CloseConnection(user) => Command::CloseConnection { user },
    }
}

fn sent(setup: &wire::Setup, from: &wire::Request, arena: &[u8]) -> Sent {
    Sent {
        user: from.user,
        seq: from.seq,
        operation: from.operation,
        step: name(&setup.steps, from.step),
        endpoint: from.endpoint,
        method: name(&setup.methods, from.method),
        delay_us: from.delay_us,
        timeout_us: from.timeout_us,
        attempt: from.attempt,
        connection: Connection::from_wire(from.connection),
        interest: Interest::from_wire(from.interest),
        target: text(slice(arena, from.target)),
        headers: headers(slice(arena, from.headers)),
        body: slice(arena, from.body).to_vec(),
    }
}

fn headers(mut from: &[u8]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some(([a, b, c, d], rest)) = from.split_first_chunk::<4>() {
        let (name, value) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let Some((name, rest)) = rest.split_at_checked(name.into()) else { break };
        let Some((value, rest)) = rest.split_at_checked(value.into()) else { break };
        all.push((text(name), text(value)));
        from = rest;
    }
    all
}

/// A name by its index; an index that the setup does not have reads as itself, so that a test shows it.
fn name(names: &[String], index: u32) -> String {
    let found = usize::try_from(index).ok().and_then(|index| names.get(index)).cloned();
    found.unwrap_or_else(|| format!("no index {index}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn length(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
