//! Queries that go to one expert each.

use expert_apis::Stop;
use gauntlet_sdk::{Completion, Outbox, Rng};

use crate::call::{Call, Desk, OPERATION, User, ms};
use crate::program::{Expert, Metrics};
use crate::prompt::{self, stream};

/// Sends the turn's query, in a conversation to the expert whom it began with.
pub(crate) fn start(desk: &mut Desk, user: &mut User, call: &mut Call, out: &mut Outbox<'_>) {
    let turns = desk.program.conversation.map_or(1, |conversation| conversation.turns);
    if user.history.turns == 0 || user.history.turns >= turns {
        user.history.clear();
        let mut draws = Rng::for_arrival(desk.seed, user.arrival, stream::EXPERT);
        user.place = if desk.program.experts.len() == 1 { 0 } else { draws.weighted(&desk.program.weights) };
    }
    user.history.turns += 1;
    let place = user.place;
    if let Err(cause) = desk.admit(call, place, user.begun_us) {
        // Nothing is sent, so there is no request that this could be told of: the worker counts the turn as cancelled.
        let checks = &desk.program.experts[place].checks;
        out.verdict(user.number, call.seq(place), checks.cause(cause), false);
        out.verdict(user.number, call.seq(place), checks.answers, false);
        return finish(desk, user, out);
    }
    desk.begin(user, call, place, out);
}

/// Takes the end of an attempt.
pub(crate) fn end(
    desk: &mut Desk,
    user: &mut User,
    call: &mut Call,
    done: &Completion<'_>,
    out: &mut Outbox<'_>,
) {
    let place = user.place;
    let Some(outcome) = desk.end(user, call, place, (done, done.seq), out) else { return };
    let expert = &desk.program.experts[place];
    let verdict =
        |check: u32, pass: bool, out: &mut Outbox<'_>| out.verdict(user.number, done.seq, check, pass);
    verdict(expert.checks.answers, outcome.is_ok(), out);
    let sent = e2e_us(expert, call, done);
    if outcome.is_ok() {
        if let (Some(stop), Some(usage)) = (expert.checks.stop, expert.checks.usage) {
            verdict(stop, call.answer.stop != Some(Stop::Unknown), out);
            verdict(usage, has_usage(call), out);
        }
        measure(&desk.program.metrics, expert, call, done, out);
        if let (Some(check), Some(column)) = (expert.checks.right, desk.program.expect) {
            verdict(check, says(call.answer.kept(), prompt::kept(&user.row, column)), out);
        }
    }
    if let (Some(check), Some(slo)) = (expert.checks.objectives, desk.program.slo) {
        let within = |limit: u32, value: Option<u32>| limit == 0 || value.is_some_and(|value| value <= limit);
        let answer = &call.answer;
        let first = (answer.first_us > 0).then_some(answer.first_us);
        let kept = within(slo.ttft_us, first)
            && within(slo.e2e_us, Some(sent))
            // One token has no time between tokens: vLLM counts it as none.
            && (slo.tpot_us == 0 || tpot_us(call, sent).is_none_or(|tpot| tpot <= f64::from(slo.tpot_us)));
        verdict(check, outcome.is_ok() && kept, out);
    }
    if let Some(conversation) = desk.program.conversation {
        match outcome {
            Ok(()) => user.history.answer(call.answer.kept(), conversation.history),
            // A conversation does not go on without an answer.
            Err(_) => user.history.clear(),
        }
    }
    // An error status is the worker's to count; what came with 200 and is no answer is a failed check.
    out.end_operation(user.number, OPERATION, done.failure.is_none());
    finish(desk, user, out);
}

fn finish(desk: &Desk, user: &mut User, out: &mut Outbox<'_>) {
    user.is_over = true;
    out.finish(user.number, think_us(desk, user));
}

/// The user's pause after its turn.
pub(crate) fn think_us(desk: &Desk, user: &User) -> u32 {
    let (min, max) = desk.program.think_us;
    let mut draws = Rng::for_arrival(desk.seed, user.arrival, stream::THINK);
    if min == max { min } else { u32::try_from(draws.between(min.into(), max.into())).unwrap_or(max) }
}

/// From the send to the last content, microseconds; of an answer in one piece to its last byte.
pub(crate) fn e2e_us(expert: &Expert, call: &Call, done: &Completion<'_>) -> u32 {
    if expert.stream && call.answer.latest_us > 0 { call.answer.latest_us } else { done.last_byte_us }
}

pub(crate) const fn has_usage(call: &Call) -> bool {
    matches!((call.answer.input_tokens, call.answer.output_tokens), (Some(1..), Some(1..)))
}

/// vLLM's time per output token, microseconds: none with fewer than two.
fn tpot_us(call: &Call, e2e_us: u32) -> Option<f64> {
    let answer = &call.answer;
    let tokens = answer.output_tokens.filter(|&tokens| tokens > 1 && answer.first_us > 0)?;
    Some(f64::from(e2e_us.saturating_sub(answer.first_us)) / f64::from(tokens - 1))
}

/// Records what an answer took and how much it said.
pub(crate) fn measure(
    metrics: &Metrics,
    expert: &Expert,
    call: &Call,
    done: &Completion<'_>,
    out: &mut Outbox<'_>,
) {
    let e2e = e2e_us(expert, call, done);
    out.observe(expert.step, metrics.e2e, ms(e2e));
    if let (Some(metric), true) = (metrics.ttft, call.answer.first_us > 0) {
        out.observe(expert.step, metric, ms(call.answer.first_us));
    }
    if let (Some(metric), Some(tpot)) = (metrics.tpot, tpot_us(call, e2e)) {
        out.observe(expert.step, metric, tpot / 1e3);
    }
    if let Some(tokens) = call.answer.input_tokens {
        out.observe(expert.step, metrics.input, tokens.into());
    }
    if let Some(tokens) = call.answer.output_tokens {
        out.observe(expert.step, metrics.output, tokens.into());
        out.observe(expert.step, metrics.per_second, f64::from(tokens) * 1e6 / f64::from(e2e.max(1)));
    }
}

/// Whether a text says what was expected, in any case of its letters.
fn says(text: &str, expected: &[u8]) -> bool {
    let Ok(expected) = std::str::from_utf8(expected) else { return false };
    let expected = expected.trim().to_lowercase();
    !expected.is_empty() && text.to_lowercase().contains(&expected)
}
