//! One call of an expert: its attempts, what stands in their way, and what they bring.

use core::time::Duration;

use consensus::Ballot;
use expert_apis::{Answer, Cause, Fault};
use gauntlet_sdk::{Completion, Failure, Outbox};
use resilience::backoff::Backoff;
use resilience::breaker::{self, Breaker, Permit};
use resilience::budget::Budget;

use crate::history::History;
use crate::program::{Expert, Program};
use crate::prompt::{self, Context, stream};

/// All attempts of a query, and all experts of a circle, are one measured operation of the turn.
pub(crate) const OPERATION: u32 = 1;

/// A call that is under way, or over.
#[derive(Debug)]
pub(crate) struct Call {
    attempt: u32,
    permit: Option<Permit>,
    pub(crate) answer: Answer,
    /// What it has come to in a circle.
    pub(crate) ballot: Ballot,
    /// The text is needed.
    keeps_text: bool,
}

/// A user's turn.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) number: u32,
    pub(crate) arrival: u64,
    pub(crate) begun_us: u64,
    /// The time of the worker's call in which the latest request was sent; all ones before the first.
    pub(crate) sent_us: u64,
    /// The turn's outcome stands; what still comes of it says nothing.
    pub(crate) is_over: bool,
    /// The columns of the row in use.
    pub(crate) row: Vec<u8>,
    /// Place of the expert that a single query goes to.
    pub(crate) place: usize,
    pub(crate) history: History,
}

/// The number of a request: which expert's, and which attempt.
pub(crate) const fn seq(place: usize, attempt: u32) -> u32 {
    // Places are below 100, attempts below 21.
    attempt << 16 | place as u32
}

/// Whose request a number is of.
pub(crate) const fn place(seq: u32) -> usize {
    (seq & 0xffff) as usize
}

/// What all users of a load thread share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) seed: u64,
    pub(crate) program: Program,
    /// One for each expert; none without breakers.
    breakers: Vec<Breaker>,
    budget: Option<Budget>,
}

impl Call {
    /// One that has not begun.
    pub(crate) fn new(keeps_text: bool) -> Self {
        let (answer, ballot) = (Answer::new(keeps_text), Ballot::Outstanding);
        Self { attempt: 0, permit: None, answer, ballot, keeps_text }
    }

    /// The number of its latest request.
    pub(crate) const fn seq(&self, place: usize) -> u32 {
        seq(place, self.attempt)
    }
}

impl Desk {
    pub(crate) fn new(seed: u64, program: Program) -> Self {
        let breakers = program.breaker.map_or_else(Vec::new, |settings| {
            program.experts.iter().map(|_| Breaker::new(settings)).collect()
        });
        let budget = program.budget.map(Budget::new);
        Self { seed, program, breakers, budget }
    }

    /// What the draws and values of a user's turn are taken from.
    pub(crate) fn context<'a>(&self, user: &'a User) -> Context<'a> {
        Context { row: &user.row, seed: self.seed, arrival: user.arrival, user: user.number }
    }

    /// Sends the first attempt of a call that was admitted.
    pub(crate) fn begin(&mut self, user: &mut User, call: &Call, place: usize, out: &mut Outbox<'_>) {
        if let Some(budget) = &mut self.budget {
            budget.request();
        }
        let timeout_us = self.program.attempt_timeout_us;
        self.send(user, call, place, 0, timeout_us, out);
    }

    /// Takes an event of the call's stream.
    pub(crate) fn event(&self, call: &mut Call, place: usize, event: &Completion<'_>, out: &mut Outbox<'_>) {
        let expert = &self.program.experts[place];
        if event.seq != call.seq(place) || !expert_apis::event(expert.api, event.body, &mut call.answer) {
            return;
        }
        if let (Some(gap), Some(metric)) =
            (call.answer.content_at(event.last_byte_us), self.program.metrics.itl)
        {
            out.observe(expert.step, metric, ms(gap));
        }
    }

    /// Takes the end of an attempt. `None` = another one is under way. The causes of each failure are counted as checks of
    /// `seq`.
    pub(crate) fn end(
        &mut self,
        user: &mut User,
        call: &mut Call,
        place: usize,
        (done, seq): (&Completion<'_>, u32),
        out: &mut Outbox<'_>,
    ) -> Option<Result<(), Cause>> {
        let expert = &self.program.experts[place];
        let fault = judge(expert, self.program.verifies, done, &mut call.answer).err();
        let outcome = match fault {
            None => breaker::Outcome::Success,
            Some(fault) if fault.cause.trips_breaker() => breaker::Outcome::Failure,
            Some(_) => breaker::Outcome::Cancelled,
        };
        self.record(call, place, outcome, done.now_us);
        let Some(fault) = fault else { return Some(Ok(())) };
        let checks = &self.program.experts[place].checks;
        out.verdict(user.number, seq, checks.cause(fault.cause), false);
        if fault.dated {
            out.verdict(user.number, seq, checks.dated, false);
        }
        match self.retry(user, call, place, &fault, done.now_us, out) {
            Ok(true) => None,
            Ok(false) => Some(Err(fault.cause)),
            Err(in_the_way) => {
                let check = self.program.experts[place].checks.cause(in_the_way);
                out.verdict(user.number, seq, check, false);
                Some(Err(fault.cause))
            }
        }
    }

    /// The call is given up.
    pub(crate) fn give_up(&mut self, call: &mut Call, place: usize, now_us: u64) {
        self.record(call, place, breaker::Outcome::Cancelled, now_us);
    }

    /// Sends another attempt. `false` = none is wanted.
    ///
    /// # Errors
    /// What stands in the way of one that is wanted.
    fn retry(
        &mut self,
        user: &mut User,
        call: &mut Call,
        place: usize,
        fault: &Fault,
        now_us: u64,
        out: &mut Outbox<'_>,
    ) -> Result<bool, Cause> {
        if !fault.retryable || call.attempt >= self.program.backoff.retries {
            return Ok(false);
        }
        let stream = stream::BACKOFF + ((place as u64) << 40 | u64::from(call.attempt) << 32);
        let draw = guest_config::Values::draws(&self.context(user), stream).next_u64();
        let floor = Duration::from_micros(fault.floor_us);
        // What waits there were is known from their number alone, with full jitter: nothing of them is kept.
        let mut backoff = Backoff::new(self.program.backoff);
        for _ in 0..call.attempt {
            let _ = backoff.next(None, 0);
        }
        let Some(wait) = backoff.next((fault.floor_us > 0).then_some(floor), draw) else { return Ok(false) };
        let spent = now_us.saturating_sub(user.begun_us);
        let left = u64::from(self.program.timeout_us).saturating_sub(spent);
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        if wait_us >= left {
            return Err(Cause::Deadline);
        }
        if self.budget.as_mut().is_some_and(|budget| !budget.retry()) {
            return Err(Cause::Budget);
        }
        self.admit(call, place, now_us)?;
        call.attempt += 1;
        call.answer = Answer::new(call.keeps_text);
        let timeout_us = (left - wait_us).min(self.program.attempt_timeout_us.into());
        // Both are below an hour, which fits.
        let (wait_us, timeout_us) = (wait_us as u32, (timeout_us as u32).max(1));
        self.send(user, call, place, wait_us, timeout_us, out);
        Ok(true)
    }

    /// Asks the expert's breaker for an attempt.
    ///
    /// # Errors
    /// When it is open: nothing is to be sent.
    pub(crate) fn admit(&mut self, call: &mut Call, place: usize, now_us: u64) -> Result<(), Cause> {
        if let Some(breaker) = self.breakers.get_mut(place) {
            let permit = breaker.admit(Duration::from_micros(now_us)).map_err(|_| Cause::Breaker)?;
            call.permit = Some(permit);
        }
        Ok(())
    }

    fn record(&mut self, call: &mut Call, place: usize, outcome: breaker::Outcome, now_us: u64) {
        if let (Some(breaker), Some(permit)) = (self.breakers.get_mut(place), call.permit.take()) {
            breaker.record(permit, outcome, Duration::from_micros(now_us));
        }
    }

    fn send(
        &self,
        user: &mut User,
        call: &Call,
        place: usize,
        delay_us: u32,
        timeout_us: u32,
        out: &mut Outbox<'_>,
    ) {
        let program = &self.program;
        let expert = &program.experts[place];
        let mut history = std::mem::take(&mut user.history);
        let context = self.context(user);
        let mut draft = out
            .request(user.number, call.seq(place), expert.step)
            .endpoint(expert.endpoint)
            .operation(OPERATION)
            .attempt(call.attempt)
            .delay_us(delay_us)
            .timeout_us(timeout_us)
            .interest(expert.interest)
            .target(&expert.target);
        for (name, value) in &expert.headers {
            draft = draft.header_with(name, |part| value.write(part, &context));
        }
        let mut body = draft.body_part();
        body.push(&expert.envelope.before);
        history.write(&expert.envelope, &mut body);
        body.push(expert.envelope.user);
        let begin = body.written().len();
        prompt::write(&program.prompt, program.size, &context, &mut body);
        if let Some(conversation) = program.conversation {
            history.ask(&body.written()[begin..], conversation.history);
        }
        body.push(expert.envelope.close);
        body.push(&expert.envelope.after);
        draft.send();
        user.history = history;
    }
}

/// Whether an attempt brought an answer; if not, why. Of one that is not to be verified the status says it all.
fn judge(expert: &Expert, verifies: bool, done: &Completion<'_>, answer: &mut Answer) -> Result<(), Fault> {
    if let Some(failure) = done.failure {
        return Err(transport(failure));
    }
    // A status that is none is no answer of the API's.
    let status = u16::try_from(done.status).unwrap_or(0);
    if !verifies && (200..300).contains(&status) {
        return Ok(());
    }
    let how = (expert.stream, done.events > 0);
    expert_apis::judge(expert.api, how, (status, done.body), |name| done.header(name), answer)
}

/// No whole answer came.
const fn transport(failure: Failure) -> Fault {
    match failure {
        Failure::Connect => Fault::new(Cause::Connect, true),
        Failure::Tls => Fault::new(Cause::Tls, false),
        Failure::Reset => Fault::new(Cause::Reset, true),
        Failure::Timeout => Fault::new(Cause::Timeout, true),
        Failure::Malformed => Fault::new(Cause::Http, true),
        Failure::TooLarge => Fault::new(Cause::Http, false),
    }
}

/// Microseconds as the milliseconds that metrics have.
pub(crate) fn ms(us: u32) -> f64 {
    f64::from(us) / 1e3
}
