//! Queries that go to all experts, whose answers are votes.

use consensus::{Ballot, Outcome, Tally, decided, label, outcome};
use expert_apis::Cause;
use gauntlet_sdk::{Completion, Outbox};

use crate::call::{Call, Desk, OPERATION, User};
use crate::program::Circle;
use crate::prompt;
use crate::single::{measure, think_us};

/// The number of no request: a check of it is counted, and spoils no operation. One expert's failure is not the circle's.
const DETACHED: u32 = u32::MAX;

/// Sends the turn's query to every expert whose breaker lets it, unless too few are left for a quorum.
pub(crate) fn start(
    desk: &mut Desk,
    circle: &Circle,
    user: &mut User,
    calls: &mut [Call],
    out: &mut Outbox<'_>,
) {
    for (place, call) in calls.iter_mut().enumerate() {
        if let Err(cause) = desk.admit(call, place, user.begun_us) {
            abstain(desk, user, call, place, cause, out);
        }
    }
    if outcome_so_far(circle, calls).is_some() {
        // Nothing is sent: the worker counts the turn as cancelled.
        return conclude(desk, circle, user, calls, (user.begun_us, DETACHED), out);
    }
    for (place, call) in calls.iter_mut().enumerate().filter(|(_, call)| call.ballot == Ballot::Outstanding) {
        desk.begin(user, call, place, out);
    }
    user.sent_us = user.begun_us;
}

/// Takes the end of an attempt.
pub(crate) fn end(
    desk: &mut Desk,
    circle: &Circle,
    user: &mut User,
    (calls, place): (&mut [Call], usize),
    done: &Completion<'_>,
    out: &mut Outbox<'_>,
) {
    let Some(call) = calls.get_mut(place).filter(|call| call.ballot == Ballot::Outstanding) else { return };
    let Some(answered) = desk.end(user, call, place, (done, DETACHED), out) else {
        user.sent_us = done.now_us;
        return;
    };
    let expert = &desk.program.experts[place];
    out.verdict(user.number, DETACHED, expert.checks.answers, answered.is_ok());
    match answered {
        Ok(()) => {
            measure(&desk.program.metrics, expert, call, done, out);
            match label(&circle.vote, call.answer.kept()) {
                Some(label) => call.ballot = Ballot::Vote(label),
                None => {
                    out.verdict(user.number, DETACHED, expert.checks.cause(Cause::NoVote), false);
                    call.ballot = Ballot::Abstained;
                }
            }
        }
        // Its cause is counted already.
        Err(_) => call.ballot = Ballot::Abstained,
    }
    settle(desk, circle, user, calls, (done.now_us, done.seq), out);
}

/// Ends the query if its outcome stands. `at`: when, and the request that was the last to say something.
pub(crate) fn settle(
    desk: &mut Desk,
    circle: &Circle,
    user: &mut User,
    calls: &mut [Call],
    at: (u64, u32),
    out: &mut Outbox<'_>,
) {
    let is_open = calls.iter().any(|call| call.ballot == Ballot::Outstanding);
    if is_open && (!circle.early || outcome_so_far(circle, calls).is_none()) {
        return;
    }
    if is_open && user.sent_us == at.0 {
        // What was sent with this call of the worker cannot be cancelled before it has taken it.
        return out.wake_at(user.number, at.1, 1);
    }
    conclude(desk, circle, user, calls, at, out);
}

fn ballots(calls: &[Call]) -> Vec<Ballot> {
    calls.iter().map(|call| call.ballot).collect()
}

fn outcome_so_far(circle: &Circle, calls: &[Call]) -> Option<Outcome> {
    decided(&circle.rules, &ballots(calls))
}

/// An expert takes no part.
fn abstain(desk: &Desk, user: &User, call: &mut Call, place: usize, cause: Cause, out: &mut Outbox<'_>) {
    let checks = &desk.program.experts[place].checks;
    out.verdict(user.number, DETACHED, checks.cause(cause), false);
    out.verdict(user.number, DETACHED, checks.answers, false);
    call.ballot = Ballot::Abstained;
}

/// Cancels what is still under way and tells what came of the query.
fn conclude(
    desk: &mut Desk,
    circle: &Circle,
    user: &mut User,
    calls: &mut [Call],
    (now_us, seq): (u64, u32),
    out: &mut Outbox<'_>,
) {
    let ballots = ballots(calls);
    let (last, tally) = outcome(&circle.rules, &ballots);
    // With ballots outstanding the outcome is that which they cannot change.
    let found = decided(&circle.rules, &ballots).unwrap_or(last);
    let mut not_needed = 0;
    for (place, call) in calls.iter_mut().enumerate() {
        desk.give_up(call, place, now_us);
        if call.ballot == Ballot::Outstanding && user.sent_us != u64::MAX {
            out.cancel(user.number, call.seq(place));
            not_needed += 1;
        }
    }
    tell(circle, user, (found, &tally), not_needed, out);
    if let (Some(check), Some(column)) = (circle.right, desk.program.expect) {
        let right = std::str::from_utf8(prompt::kept(&user.row, column)).ok();
        let right = right.and_then(|text| label(&circle.vote, text));
        // Of a wrong outcome the operation knows: no check of single experts spoils it.
        let is_right = right.is_some_and(|label| found == Outcome::Winner(label));
        out.verdict(user.number, seq, check, is_right);
    }
    out.end_operation(user.number, OPERATION, matches!(found, Outcome::Winner(_)));
    user.is_over = true;
    out.finish(user.number, think_us(desk, user));
}

/// Counts the outcome, and how clear it was.
fn tell(
    circle: &Circle,
    user: &User,
    (found, tally): (Outcome, &Tally),
    not_needed: u32,
    out: &mut Outbox<'_>,
) {
    let mut verdict = |check: u32, pass: bool| out.verdict(user.number, DETACHED, check, pass);
    verdict(circle.quorum, found != Outcome::NoQuorum);
    verdict(circle.winner, matches!(found, Outcome::Winner(_)));
    if found != Outcome::NoQuorum {
        verdict(circle.no_tie, found != Outcome::Tie);
        verdict(circle.unanimous, tally.leader == tally.weight);
    }
    let mut observe = |metric: u32, value: f64| out.observe(circle.step, metric, value);
    observe(circle.coverage, tally.coverage());
    observe(circle.voters, tally.answered.into());
    observe(circle.not_needed, not_needed.into());
    if tally.answered > 0 {
        observe(circle.support, tally.support());
        observe(circle.margin, tally.margin());
        observe(circle.agreement, tally.agreement());
    }
}
