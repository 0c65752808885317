//! Turns of users: which step, what to send, and what to make of the answer.

use gauntlet_sdk::{
    Completion, CompletionKind, Descriptor, Interest, Outbox, Problem, Rng, Scenario, Setup, Turn, log,
};
use guest_config::{Problems, Values};

use crate::config::{self, Order};
use crate::cookies::Jar;
use crate::json_path;
use crate::program::{self, Program, Step};

/// Streams of draws; those of placeholders come after them.
const STEP: u64 = 0;
const THINK: u64 = 1;
const BACKOFF: u64 = 2;

/// Sets draws by (user, turn) apart from draws by arrival.
const SEQUENCE: u64 = 0x5eb1_e5ce_0000_0001;

/// Longest wait before a retry, microseconds, however often it doubled and whatever `Retry-After` says.
const MAX_BACKOFF_US: u64 = 60_000_000;

/// A retried request and its turn's measured operation.
const OPERATION: u32 = 1;

/// The http scenario. One turn = one step = one request, so arrivals a second are requests a second.
#[derive(Debug)]
pub struct Http {
    seed: u64,
    program: Program,
    stateless: bool,
    /// Empty when no user has a state.
    users: Vec<User>,
}

/// What is kept of a user: under 2 KB with a typical token and a few cookies.
#[derive(Clone, Debug, Default)]
struct User {
    /// Turns begun.
    turns: u32,
    arrival: u64,
    /// Which of the values that the step needs were not there when its request was made; bit = index in the step.
    missing: u64,
    values: Vec<Box<[u8]>>,
    jar: Jar,
    /// The row's values that a retry would need: u32 length, then the bytes.
    row: Vec<u8>,
}

impl Scenario for Http {
    fn describe() -> Descriptor {
        Descriptor {
            name: "http".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "http".into(),
            config_schema: include_str!("../config.schema.json").into(),
        }
    }

    fn configure(config: &str, seed: u64, users: u32) -> Result<(Self, Setup), Vec<Problem>> {
        let mut problems = Problems::default();
        let compiled =
            config::read(config, &mut problems).map(|config| program::compile(&config, &mut problems));
        let Some((program, setup)) = compiled.filter(|_| problems.is_empty()) else {
            return Err(problems.into_vec());
        };
        let stateless = setup.stateless;
        let states = if stateless { 0 } else { usize::try_from(users).unwrap_or(usize::MAX) };
        Ok((Self { seed, program, stateless, users: vec![User::default(); states] }, setup))
    }

    fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>) {
        let program = &self.program;
        let mut user = user(&mut self.users, turn.user);
        let turns = user.as_deref_mut().map_or(0, |user| {
            user.arrival = turn.arrival;
            user.turns = user.turns.wrapping_add(1);
            user.turns - 1
        });
        let draws = Draws::new(self.seed, program.order, turn.user, turns, turn.arrival);
        let index = match program.order {
            Order::Weighted if program.steps.len() == 1 => 0,
            Order::Weighted => draws.stream(STEP).weighted(&program.weights),
            Order::Sequence => turns as usize % program.steps.len(),
        };
        let step = &program.steps[index];
        if let Some(user) = user.as_deref_mut() {
            user.note_missing(step);
            if step.retries > 0 {
                user.keep_row(turn, step);
            }
        }
        let context = Context {
            row: Row::Turn(turn, step),
            user: turn.user,
            arrival: turn.arrival,
            draws,
            state: user.as_deref(),
        };
        send(program, index, 0, 0, &context, out);
        if self.finishes_at_start(step) {
            out.finish(turn.user, think_us(step, &draws));
        }
    }

    fn done(&mut self, done: &Completion<'_>, out: &mut Outbox<'_>) {
        let ended = match done.kind {
            CompletionKind::End => true,
            CompletionKind::Cancelled => false,
            CompletionKind::Head | CompletionKind::Event | CompletionKind::Timer => return,
        };
        let (index, attempt) = ((done.seq & 0xffff) as usize, done.seq >> 16);
        let program = &self.program;
        let Some(step) = program.steps.get(index) else {
            log::warn(&format!(
                "an answer to request {} of user {}, which was never sent",
                done.seq, done.user
            ));
            return;
        };
        let user = user(&mut self.users, done.user);
        let (turns, arrival) = user.as_deref().map_or((1, 0), |user| (user.turns, user.arrival));
        let draws = Draws::new(self.seed, program.order, done.user, turns.wrapping_sub(1), arrival);
        if ended && attempt < step.retries && is_worth_another(done) {
            let delay_us = backoff_us(step, attempt, done, &draws);
            let context = Context { row: Row::Kept, user: done.user, arrival, draws, state: user.as_deref() };
            return send(program, index, attempt + 1, delay_us, &context, out);
        }
        if ended && let Some(user) = user.as_deref() {
            for (index, &(_, check)) in step.needs.iter().enumerate() {
                out.verdict(done.user, done.seq, check, !user.misses(index));
            }
        }
        if ended && done.failure.is_none() {
            if let Some(user) = user {
                if program.cookies {
                    done.headers("set-cookie").for_each(|header| user.jar.set(header));
                }
                user.extract(program, step, done, out);
            }
            for check in &step.json {
                let found = check.path.find(done.body);
                let pass = match &check.wanted {
                    None => found.is_some(),
                    Some(wanted) => found.is_some_and(|found| json_path::equals(found, wanted)),
                };
                out.verdict(done.user, done.seq, check.check, pass);
            }
        }
        if step.retries > 0 {
            out.end_operation(done.user, OPERATION, ended && done.failure.is_none());
        }
        if !self.finishes_at_start(step) {
            out.finish(done.user, think_us(step, &draws));
        }
    }
}

impl Http {
    /// Whether nothing in the answer matters to the user's next turn: the turn is then declared over with its
    /// request, and the worker frees the user when the answer has come and the think time is over.
    fn finishes_at_start(&self, step: &Step) -> bool {
        self.stateless || step.interest == Interest::NONE
    }
}

/// The state of a user, if users have any.
fn user(users: &mut [User], number: u32) -> Option<&mut User> {
    users.get_mut(usize::try_from(number).unwrap_or(usize::MAX))
}

impl User {
    fn note_missing(&mut self, step: &Step) {
        self.missing = 0;
        for (index, &(slot, _)) in step.needs.iter().enumerate() {
            if self.values.get(slot).is_none_or(|value| value.is_empty()) {
                self.missing |= bit(index);
            }
        }
    }

    fn misses(&self, index: usize) -> bool {
        self.missing & bit(index) != 0
    }

    fn keep_row(&mut self, turn: &Turn<'_>, step: &Step) {
        self.row.clear();
        for &(feed, column) in &step.columns {
            let value = turn.row(feed, column);
            self.row.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            self.row.extend_from_slice(value);
        }
    }

    fn kept(&self, column: usize) -> &[u8] {
        let mut rest = self.row.as_slice();
        for index in 0.. {
            let Some((length, after)) = rest.split_first_chunk::<4>() else { break };
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some((value, after)) = after.split_at_checked(length) else { break };
            if index == column {
                return value;
            }
            rest = after;
        }
        &[]
    }

    fn extract(&mut self, program: &Program, step: &Step, done: &Completion<'_>, out: &mut Outbox<'_>) {
        for extraction in &step.extract {
            let found = extraction.from.find(done);
            out.verdict(done.user, done.seq, extraction.check, found.is_some());
            if let Some(found) = found {
                if self.values.is_empty() {
                    self.values = vec![Box::default(); program.slots];
                }
                self.values[extraction.slot] = found.into();
            }
        }
    }
}

/// A step that needs more than 64 values tells the last ones together.
fn bit(index: usize) -> u64 {
    1 << index.min(63)
}

/// No answer, or one that asks to come again.
fn is_worth_another(done: &Completion<'_>) -> bool {
    done.failure.is_some() || matches!(done.status, 429 | 502 | 503 | 504)
}

/// Exponential with full jitter; `Retry-After` in seconds is a floor.
fn backoff_us(step: &Step, attempt: u32, done: &Completion<'_>, draws: &Draws) -> u32 {
    let ceiling = u64::from(step.backoff_us).saturating_mul(1 << attempt.min(32)).min(MAX_BACKOFF_US);
    let drawn = draws.stream(BACKOFF + (u64::from(attempt) << 32)).between(0, ceiling);
    let seconds =
        done.header("retry-after").and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    let floor = seconds.unwrap_or(0).saturating_mul(1_000_000);
    u32::try_from(drawn.max(floor).min(MAX_BACKOFF_US)).unwrap_or(u32::MAX)
}

fn think_us(step: &Step, draws: &Draws) -> u32 {
    let (min, max) = step.think_us;
    if min == max {
        return min;
    }
    u32::try_from(draws.stream(THINK).between(min.into(), max.into())).unwrap_or(max)
}

fn send(
    program: &Program,
    index: usize,
    attempt: u32,
    delay_us: u32,
    context: &Context<'_>,
    out: &mut Outbox<'_>,
) {
    let step = &program.steps[index];
    // The step and the attempt come back with the answer; an index fits 16 bits.
    let seq = attempt << 16 | index as u32;
    let mut draft = out
        .request(context.user, seq, step.step)
        .method(step.method)
        .operation(if step.retries > 0 { OPERATION } else { 0 })
        .attempt(attempt)
        .delay_us(delay_us)
        .timeout_us(step.timeout_us)
        .connection(step.connection)
        .interest(step.interest);
    step.target.write(&mut draft.target_part(), context);
    for (name, value) in &step.headers {
        draft = draft.header_with(name, |part| value.write(part, context));
    }
    let path = step.target.prefix();
    if let Some(jar) = context.state.map(|user| &user.jar).filter(|jar| jar.has(path)) {
        draft = draft.header_with("cookie", |part| jar.write(part, path));
    }
    if let Some(body) = &step.body {
        body.write(&mut draft.body_part(), context);
    }
    draft.send();
}

/// The draws of one turn: by arrival, or in a sequence by (user, turn), so that neither batches nor threads nor
/// workers change them (requirement R9.5).
#[derive(Clone, Copy, Debug)]
struct Draws {
    seed: u64,
    key: u64,
}

impl Draws {
    fn new(seed: u64, order: Order, user: u32, turn: u32, arrival: u64) -> Self {
        match order {
            Order::Weighted => Self { seed, key: arrival },
            Order::Sequence => Self { seed: seed ^ SEQUENCE, key: u64::from(user) << 32 | u64::from(turn) },
        }
    }

    fn stream(&self, stream: u64) -> Rng {
        Rng::for_arrival(self.seed, self.key, stream)
    }
}

/// Where the row of the turn is: with the turn that begins, or kept for a retry.
enum Row<'a> {
    Turn(&'a Turn<'a>, &'a Step),
    Kept,
}

/// Everything that a request's values are taken from.
struct Context<'a> {
    row: Row<'a>,
    user: u32,
    arrival: u64,
    draws: Draws,
    state: Option<&'a User>,
}

impl Values for Context<'_> {
    fn column(&self, index: usize) -> &[u8] {
        match self.row {
            Row::Turn(turn, step) => {
                step.columns.get(index).map_or(&[], |&(feed, column)| turn.row(feed, column))
            }
            Row::Kept => self.state.map_or(&[], |user| user.kept(index)),
        }
    }

    fn extracted(&self, index: usize) -> &[u8] {
        self.state.and_then(|user| user.values.get(index)).map_or(&[], |value| value)
    }

    fn arrival(&self) -> u64 {
        self.arrival
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn draws(&self, stream: u64) -> Rng {
        self.draws.stream(stream)
    }
}
