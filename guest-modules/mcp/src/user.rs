//! What is kept of a user.

use crate::exchange::Exchange;
use crate::result::Scope;
use crate::revision::Revision;

/// Where a user's turn is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Idle,
    /// Asks which era the server is of.
    Discover,
    /// Waits for the stream to say where messages go.
    Endpoint,
    Initialize,
    Initialized,
    /// Waits for the stream on which the server speaks by itself.
    Aside,
    ListTools,
    Call,
    /// Ends its session.
    End,
}

/// What a request is for: the upper bits of its `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What the exchange under way waits for.
    Main,
    /// The stream that carries answers.
    Stream,
    /// A notification, or an answer to the server.
    Side,
}

const ROLE_SHIFT: u32 = 28;
/// The lower bits: which request it is.
const NUMBERS: u32 = (1 << ROLE_SHIFT) - 1;

/// A user.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) stage: Stage,
    pub(crate) session: Session,
    pub(crate) arrival: u64,
    /// Which of the calls is made.
    pub(crate) call: usize,
    /// Calls of this turn before it.
    pub(crate) round: u32,
    /// Numbers of requests and ids of messages.
    next: u32,
    /// The stream beside requests; 0 = none.
    pub(crate) stream: u32,
    /// It carries no answers, as it does in the oldest revision, but what the server says by itself.
    pub(crate) aside: bool,
    /// What the calls take from the turn's row, where a turn has several: columns of each call, in order.
    pub(crate) row: Vec<Vec<u8>>,
    /// The call's arguments, or its URI, as JSON.
    pub(crate) arguments: Vec<u8>,
    /// The cursor of the next page as JSON; empty = the first page.
    pub(crate) cursor: Vec<u8>,
    pub(crate) pages: u32,
    /// `cacheScope` of the page before.
    pub(crate) scope: Scope,
    /// What a call that is sent again says more.
    pub(crate) input: Vec<u8>,
    pub(crate) inputs: u32,
    pub(crate) exchange: Exchange,
}

/// A user's session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) is_open: bool,
    /// What was agreed on.
    pub(crate) revision: Option<Revision>,
    /// Empty when the server gave none.
    pub(crate) id: Vec<u8>,
    /// Where the stream wants messages; empty but for the oldest revision.
    pub(crate) address: Vec<u8>,
    /// Calls made in it.
    pub(crate) calls: u32,
    /// The server named the revision that it did not take, and was asked once more.
    pub(crate) asked_again: bool,
    /// Numbers of requests below this one are of former sessions.
    pub(crate) since: u32,
}

impl User {
    /// The number of another request.
    pub(crate) fn seq(&mut self, role: Role) -> u32 {
        self.ids(1) | (role as u32) << ROLE_SHIFT
    }

    /// So many numbers that no message of the user had lately; gives the first.
    pub(crate) fn ids(&mut self, count: u32) -> u32 {
        let mut first = self.next.max(1);
        if first + count > NUMBERS {
            first = 1;
        }
        self.next = first + count;
        first
    }

    /// Forgets the session.
    pub(crate) fn close(&mut self) {
        self.session.is_open = false;
        self.session.revision = None;
        self.session.id.clear();
        self.session.address.clear();
        self.session.calls = 0;
        self.session.asked_again = false;
        self.session.since = self.next;
    }

    /// Whether a request is of a session that is over, or about to be: its answer may say so, and that is no failure.
    pub(crate) fn is_past(&self, seq: u32) -> bool {
        self.stage == Stage::End || seq & NUMBERS < self.session.since
    }
}

/// What a request was for.
pub(crate) const fn role(seq: u32) -> Role {
    match seq >> ROLE_SHIFT {
        0 => Role::Main,
        1 => Role::Stream,
        _ => Role::Side,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_what_they_are_for_and_begin_anew_at_their_end() {
        let mut user = User::default();
        for wanted in [Role::Main, Role::Stream, Role::Side] {
            assert_eq!(role(user.seq(wanted)), wanted);
        }
        user.next = (1 << ROLE_SHIFT) - 2;
        let first = user.ids(32);
        assert_eq!((first, user.ids(1)), (1, 33));
    }
}
