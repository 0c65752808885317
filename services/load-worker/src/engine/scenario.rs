//! A scenario on one load thread: its instance, its users, and what the instance is told next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sandbox::abi;

use super::expect::Expectations;
use super::guest::Generator;
use super::slots::Key;
use super::users::FreeUsers;
use crate::feeder::{Feeder, Order, Selection};

/// An arrival that has begun its turn, to be told to the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) user: u32,
    pub(super) k: u64,
    /// A connection is promised to it.
    pub(super) reserved: bool,
}

/// An arrival that waits for a user or a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) k: u64,
    pub(super) intended: u64,
    /// When the thread took it from the schedule; what lies between is the thread's own lateness.
    pub(super) taken: u64,
    /// In closed models: the user whose turn it is.
    pub(super) user: Option<u32>,
}

/// A user's state on the worker's side.
#[derive(Debug, Default)]
pub(super) struct User {
    /// Differs for each turn, so that timers of an earlier one find nothing.
    pub(super) generation: u32,
    /// It has a turn.
    pub(super) active: bool,
    /// The turn is not yet told to the guest.
    pub(super) untold: bool,
    /// Number of the call that told the guest of it.
    pub(super) told: u64,
    /// An operation has begun in this turn.
    pub(super) begun: bool,
    /// Number of the turn's arrival, and of endpoints drawn in it.
    pub(super) k: u64,
    pub(super) draws: u32,
    pub(super) intended: u64,
    pub(super) taken: u64,
    /// When user and connection were free for the turn.
    pub(super) ready: u64,
    /// The guest is done with the turn; think time in nanoseconds.
    pub(super) finish: Option<u64>,
    /// Wake-up asked for; the number names it.
    pub(super) wake: Option<(u32, u32)>,
    pub(super) wakes: u32,
    /// First of its requests and operations, linked by their `next`.
    pub(super) requests: Option<Key>,
    pub(super) operations: Option<Key>,
    /// Its own connections: target and transport.
    pub(super) own: Vec<(u32, Key)>,
}

/// A method of `setup.methods`.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: Box<[u8]>,
    pub(super) is_head: bool,
    /// A second one has no further effect: it may be sent again when a stale connection swallowed it.
    pub(super) idempotent: bool,
}

/// A feed of `setup.feeds`, bound to its open file.
pub(super) struct BoundFeed {
    feeder: Arc<Feeder>,
    selection: Selection,
    order: Order,
}

impl BoundFeed {
    /// Binds what a guest asks for; the error is for the user.
    pub(super) fn bind(feed: &abi::Feed, files: &BTreeMap<String, Arc<Feeder>>) -> Result<Self, String> {
        let feeder =
            files.get(&feed.file).ok_or_else(|| format!("feeder {} is not in the bundle", feed.file))?;
        let selection = feeder.select(&feed.columns).map_err(|error| error.to_string())?;
        let order = match feed.order {
            abi::RowOrder::Sequential => Order::Sequential,
            abi::RowOrder::Random => Order::Random,
        };
        Ok(Self { feeder: Arc::clone(feeder), selection, order })
    }

    /// Appends the row of an arrival as `wit/scenario.wit` says: each column as length and bytes.
    pub(super) fn append(&self, seed: u64, phase: u32, k: u64, arena: &mut Vec<u8>) {
        self.feeder.encode(self.feeder.row_of(self.order, seed, phase, k), &self.selection, arena);
    }
}

/// See the module.
pub(super) struct Scenario {
    /// `None` while a new instance is due after a fault.
    pub(super) guest: Option<Box<dyn Generator>>,
    /// What the instance was made with.
    pub(super) config: String,
    pub(super) capacity: u32,
    pub(super) methods: Vec<Method>,
    pub(super) steps: u32,
    pub(super) expectations: Expectations,
    pub(super) body_limit: usize,
    pub(super) feeds: Vec<BoundFeed>,
    pub(super) users: Vec<User>,
    pub(super) free: FreeUsers,
    pub(super) begun: VecDeque<Begun>,
    pub(super) waiting: VecDeque<Waiting>,
    /// What the guest is told with the next call.
    pub(super) done: Vec<abi::Completion>,
    pub(super) arena: Vec<u8>,
    /// Requests whose end is among `done`: settled when the guest has had its say.
    pub(super) ended: Vec<Key>,
    pub(super) starts: Vec<abi::Start>,
    /// Calls of instances so far.
    pub(super) calls: u64,
    /// Users were left in the middle of a turn: the instance is not used in another phase.
    pub(super) spoiled: bool,
    pub(super) restart_at: u64,
    /// A request asked for its user's own connection.
    pub(super) uses_own: bool,
}

impl Scenario {
    pub(super) fn new() -> Self {
        Self {
            guest: None,
            config: String::new(),
            capacity: 0,
            methods: Vec::new(),
            steps: 0,
            expectations: Expectations::default(),
            body_limit: 0,
            feeds: Vec::new(),
            users: Vec::new(),
            free: FreeUsers::default(),
            begun: VecDeque::new(),
            waiting: VecDeque::new(),
            done: Vec::new(),
            arena: Vec::new(),
            ended: Vec::new(),
            starts: Vec::new(),
            calls: 0,
            spoiled: false,
            restart_at: 0,
            uses_own: false,
        }
    }

    /// Takes a new instance for `users` users.
    pub(super) fn adopt(&mut self, guest: Box<dyn Generator>, config: &str, users: u32) {
        let setup = guest.setup();
        self.methods = setup
            .methods
            .iter()
            .map(|name| Method {
                name: name.as_bytes().into(),
                is_head: name == "HEAD",
                idempotent: matches!(name.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
            })
            .collect();
        self.steps = u32::try_from(setup.steps.len()).unwrap_or(u32::MAX);
        self.expectations = Expectations::new(setup);
        self.body_limit = setup.body_limit as usize;
        self.guest = Some(guest);
        if self.config != config {
            config.clone_into(&mut self.config);
        }
        self.capacity = users;
        self.spoiled = false;
    }

    /// All of the first `users` users are free, whatever they were doing.
    pub(super) fn reset_users(&mut self, users: u32) {
        // Those beyond it keep what they have: their connections are still theirs.
        if self.users.len() < users as usize {
            self.users.resize_with(users as usize, User::default);
        }
        self.free = FreeUsers::new(users);
    }

    /// Appends bytes to what the guest is told next.
    pub(super) fn put(&mut self, bytes: &[u8]) -> abi::Slice {
        put(&mut self.arena, bytes)
    }
}

/// Appends bytes to an arena.
pub(super) fn put(arena: &mut Vec<u8>, bytes: &[u8]) -> abi::Slice {
    let off = u32::try_from(arena.len()).unwrap_or(u32::MAX);
    arena.extend_from_slice(bytes);
    abi::Slice { off, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
}
