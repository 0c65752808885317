//! Turns of users: what begins them, and to whom what happens is told.

use gauntlet_sdk::{Completion, CompletionKind, Descriptor, Outbox, Problem, Scenario, Setup, Turn, log};
use guest_config::Problems;

use crate::call::{Call, Desk, User, place};
use crate::program::Program;
use crate::{circle, config, program, prompt, single};

/// The expert scenario. One turn = one query, to one expert or to a circle of them.
#[derive(Debug)]
pub struct Experts {
    desk: Desk,
    circle: Option<program::Circle>,
    seats: Vec<Seat>,
}

/// A user with the calls of its turn: of a single query one, of a circle one for each expert.
#[derive(Debug, Default)]
struct Seat {
    user: User,
    calls: Vec<Call>,
}

impl Scenario for Experts {
    fn describe() -> Descriptor {
        Descriptor {
            name: "expert".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "llm".into(),
            config_schema: include_str!("../config.schema.json").into(),
        }
    }

    fn configure(config: &str, seed: u64, users: u32) -> Result<(Self, Setup), Vec<Problem>> {
        let mut problems = Problems::default();
        let compiled =
            config::read(config, &mut problems).map(|config| program::compile(&config, &mut problems));
        let Some((mut program, setup)) = compiled.filter(|_| problems.is_empty()) else {
            return Err(problems.into_vec());
        };
        let circle = program.circle.take();
        let seats = (0..users).map(|_| Seat::default()).collect();
        Ok((Self { desk: Desk::new(seed, program), circle, seats }, setup))
    }

    fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>) {
        let Self { desk, circle, seats } = self;
        let Some(Seat { user, calls }) = usize::try_from(turn.user).ok().and_then(|user| seats.get_mut(user))
        else {
            return;
        };
        // A turn that was taken from the guest may have left calls behind.
        for (at, call) in calls.iter_mut().enumerate() {
            let place = if circle.is_some() { at } else { user.place };
            desk.give_up(call, place, turn.now_us);
        }
        user.begin(turn, &desk.program);
        let keeps_text = keeps_text(&desk.program, circle.is_some());
        let count = if circle.is_some() { desk.program.experts.len() } else { 1 };
        calls.clear();
        calls.resize_with(count, || Call::new(keeps_text));
        match (circle, &mut calls[..]) {
            (Some(circle), calls) => circle::start(desk, circle, user, calls, out),
            (None, [call]) => single::start(desk, user, call, out),
            (None, _) => {}
        }
    }

    fn done(&mut self, done: &Completion<'_>, out: &mut Outbox<'_>) {
        let Self { desk, circle, seats } = self;
        let seat = usize::try_from(done.user).ok().and_then(|user| seats.get_mut(user));
        let Some(Seat { user, calls }) = seat.filter(|seat| !seat.user.is_over) else { return };
        let place = place(done.seq);
        let at = if circle.is_some() { place } else { 0 };
        let Some(call) = calls.get_mut(at).filter(|_| place < desk.program.experts.len()) else {
            if done.kind != CompletionKind::Timer {
                log::warn(&format!(
                    "an answer to request {} of user {}, which was never sent",
                    done.seq, done.user
                ));
            }
            return;
        };
        match (done.kind, circle) {
            (CompletionKind::Event, _) => desk.event(call, place, done, out),
            (CompletionKind::End, None) => single::end(desk, user, call, done, out),
            (CompletionKind::End, Some(circle)) => circle::end(desk, circle, user, (calls, place), done, out),
            // The phase is over. Who does not finish leaves the turn to the worker, which counts it as cancelled.
            (CompletionKind::Cancelled, _) => desk.give_up(call, place, done.now_us),
            (CompletionKind::Timer, Some(circle)) => {
                circle::settle(desk, circle, user, calls, (done.now_us, done.seq), out);
            }
            (CompletionKind::Timer, None) | (CompletionKind::Head, _) => {}
        }
    }
}

impl User {
    /// A turn begins.
    fn begin(&mut self, turn: &Turn<'_>, program: &Program) {
        self.number = turn.user;
        self.arrival = turn.arrival;
        self.begun_us = turn.now_us;
        self.sent_us = u64::MAX;
        self.is_over = false;
        prompt::keep(turn, &program.columns, &mut self.row);
    }
}

/// Whether anybody looks at what an answer says.
fn keeps_text(program: &Program, is_circle: bool) -> bool {
    is_circle || program.expect.is_some() || program.conversation.is_some()
}
