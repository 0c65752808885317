//! Between the generated bindings and a [`Scenario`].

use crate::bindings::gauntlet::scenario::types as wire;
use crate::turn::slice;
use crate::{Completion, Outbox, Scenario, Turn, log};

/// One configured scenario behind the interface of the worker. [`crate::export!`] and the test bench drive it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Engine<S> {
    configured: Option<Configured<S>>,
}

#[derive(Debug)]
struct Configured<S> {
    scenario: S,
    /// For each feed, how many columns come before its own.
    offsets: Vec<usize>,
    /// How much the last call said: the next one makes room for as much at once.
    room: Room,
}

#[derive(Clone, Copy, Debug, Default)]
struct Room {
    arena: usize,
    requests: usize,
    verdicts: usize,
    finished: usize,
    commands: usize,
}

impl<S: Scenario> Engine<S> {
    /// Without a configuration as yet.
    #[expect(clippy::new_without_default, reason = "const, for a static")]
    pub const fn new() -> Self {
        Self { configured: None }
    }

    /// The scenario's descriptor.
    pub fn describe() -> wire::Descriptor {
        log::report_panics();
        S::describe().into()
    }

    /// Configures the scenario; a second time it starts anew.
    pub fn configure(
        &mut self,
        config: &str,
        seed: u64,
        users: u32,
    ) -> Result<wire::Setup, Vec<wire::Problem>> {
        log::report_panics();
        match S::configure(config, seed, users) {
            Ok((scenario, setup)) => {
                let offsets = setup.feeds.iter().scan(0, |before, feed| {
                    let offset = *before;
                    *before += feed.columns.len();
                    Some(offset)
                });
                let offsets = offsets.collect();
                self.configured = Some(Configured { scenario, offsets, room: Room::default() });
                Ok(setup.into())
            }
            Err(problems) => Err(problems.into_iter().map(Into::into).collect()),
        }
    }

    /// Plays one batch: first what happened, then the turns that begin.
    pub fn step(
        &mut self,
        now_us: u64,
        starts: &[wire::Start],
        done: &[wire::Completion],
        arena: &[u8],
    ) -> wire::Output {
        let Some(Configured { scenario, offsets, room }) = &mut self.configured else {
            log::error("step before a successful configure");
            return room_for(Room::default());
        };
        // The bindings hand the output's memory over and free it, so it cannot be kept; asking once for as much as
        // the last call needed keeps it at one allocation a list and call, whatever the number of requests.
        let mut output = room_for(*room);
        let mut outbox = Outbox::new(&mut output);
        for one in done {
            scenario.done(&Completion::new(one, arena, now_us), &mut outbox);
        }
        for one in starts {
            let rows = slice(arena, one.rows);
            scenario
                .start(&Turn { user: one.user, arrival: one.arrival, now_us, rows, offsets }, &mut outbox);
        }
        *room = Room {
            arena: output.arena.len(),
            requests: output.requests.len(),
            verdicts: output.verdicts.len(),
            finished: output.finished.len(),
            commands: output.commands.len(),
        };
        output
    }
}

fn room_for(room: Room) -> wire::Output {
    wire::Output {
        arena: Vec::with_capacity(room.arena),
        requests: Vec::with_capacity(room.requests),
        verdicts: Vec::with_capacity(room.verdicts),
        finished: Vec::with_capacity(room.finished),
        commands: Vec::with_capacity(room.commands),
    }
}
