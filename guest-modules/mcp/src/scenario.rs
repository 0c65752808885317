//! The scenario: users, what they share, and whose turn it is.

use gauntlet_sdk::{Completion, Descriptor, Outbox, Problem, Scenario, Setup, Turn};
use guest_config::Problems;

use crate::config;
use crate::program::{self, Program};
use crate::revision::Revision;
use crate::tools::Listed;
use crate::turn::Act;
use crate::user::User;

/// The mcp scenario. One turn = one call of the mix, before which a session is opened where there is none.
#[derive(Debug)]
pub struct Mcp {
    seed: u64,
    program: Program,
    shared: Shared,
    users: Vec<User>,
}

/// What one user finds out for all.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The era of the server, where the plan leaves it open.
    pub(crate) revision: Option<Revision>,
    /// The server has no DELETE: sessions are left to their time.
    pub(crate) keeps_sessions: bool,
    /// The server has no stream on which it would speak by itself.
    pub(crate) has_no_stream: bool,
    /// Of each call's tool what the server lists.
    pub(crate) listed: Vec<Option<Listed>>,
    /// The whole list was read once.
    pub(crate) knows_tools: bool,
}

impl Scenario for Mcp {
    fn describe() -> Descriptor {
        Descriptor {
            name: "mcp".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "mcp".into(),
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
        let users = vec![User::default(); usize::try_from(users).unwrap_or(usize::MAX)];
        let listed = program.calls.iter().map(|_| None).collect();
        let shared = Shared { revision: program.revision, listed, ..Shared::default() };
        Ok((Self { seed, program, shared, users }, setup))
    }

    fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>) {
        match self.act(turn.user, turn.now_us, out) {
            Some(mut act) => act.begin(turn),
            // The worker has no such user; its turn must end all the same.
            None => out.finish(turn.user, 0),
        }
    }

    fn done(&mut self, done: &Completion<'_>, out: &mut Outbox<'_>) {
        if let Some(mut act) = self.act(done.user, done.now_us, out) {
            act.done(done);
        }
    }
}

impl Mcp {
    fn act<'a, 'o>(&'a mut self, number: u32, now_us: u64, out: &'a mut Outbox<'o>) -> Option<Act<'a, 'o>> {
        let user = self.users.get_mut(usize::try_from(number).ok()?)?;
        let (seed, program, shared) = (self.seed, &self.program, &mut self.shared);
        Some(Act { seed, program, shared, user, number, now_us, out })
    }
}
