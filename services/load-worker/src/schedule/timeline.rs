//! A phase's arrivals as one load thread sees them.

use std::collections::{BTreeSet, VecDeque};

use plan::model::{Arrivals, LoadModel};

use super::draw::{self, Stream};
use super::positions::{Existence, Mark, Positions};
use super::profile::Profile;
use super::{Share, draw::unit};
use crate::spec::{Assignment, Change, PhaseSpec};

/// One arrival of the thread's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the phase's whole sequence, from 0, below 2^40.
    pub k: u64,
    /// When it is to be sent, nanoseconds from the phase's t0.
    pub intended_ns: u64,
    /// Index of its scenario.
    pub scenario: u32,
}

/// Turns of a user within one epoch: 2^22 are a thousand a second for over an hour. With 2^40 numbers a phase there is room
/// for a hundred epochs of two thousand users.
const TURN_BITS: u32 = 22;

/// The arrivals of a phase that are a thread's own, in order of time.
///
/// Open models: [`Self::peek`] and [`Self::pop`]. Closed models have no arrivals of their own making: a free user takes
/// its next turn ([`Self::turn`]) while there are to be so many ([`Self::users_at`]).
#[derive(Clone, Debug)]
pub struct Timeline {
    seed: u64,
    phase: u32,
    model: LoadModel,
    share: Share,
    /// What the thread has to send with, from which offset on, in order; the first is from the beginning.
    means: Vec<Means>,
    total_connections: u32,
    total_users: u32,
    /// Closed models: the numbers of this thread's users in the run, in the order in which they came to it.
    members: Vec<Member>,
    mix: Mix,
    positions: Positions,
    /// Before `upcoming`.
    mark: Mark,
    /// Open models: shares that take over at a position.
    successors: VecDeque<(f64, Share)>,
    planned: Profile,
    profile: Profile,
    /// Arrivals that the rate asks for in all until the end.
    total: f64,
    /// Offset of the latest change.
    changed_ns: u64,
    end_ns: u64,
    control: Control,
    piece: usize,
    upcoming: Option<(u64, f64)>,
    peeked: Option<Arrival>,
    last_ns: u64,
}

/// Transports and operations in progress at most, from an offset on.
#[derive(Clone, Copy, Debug)]
struct Means {
    from_ns: u64,
    connections: u32,
    users: u32,
}

/// A user of a closed model.
#[derive(Clone, Copy, Debug)]
struct Member {
    number: u64,
    from_ns: u64,
    /// From here on it is another thread's.
    until_ns: u64,
    /// Its first turn: another worker may have had it before, and how far that came nobody knows.
    first_turn: u64,
}

impl Member {
    const fn new(number: u64, from_ns: u64, first_turn: u64) -> Self {
        Self { number, from_ns, until_ns: u64::MAX, first_turn }
    }
}

/// What changes by hand or by a service.
#[derive(Clone, Copy, Debug)]
struct Control {
    rate: Option<f64>,
    factor: f64,
    paused: bool,
    ramped_down: bool,
}

impl Timeline {
    /// The schedule of a phase from its begin.
    #[must_use]
    pub fn new(spec: &PhaseSpec, seed: u64) -> Self {
        let end_ns = u64::try_from(spec.duration.as_nanos()).unwrap_or(u64::MAX);
        let planned = Profile::planned(&spec.model, seed, spec.phase, end_ns);
        let shape = match spec.model {
            LoadModel::Open { arrivals, .. } | LoadModel::Walk { arrivals, .. } => arrivals,
            LoadModel::None | LoadModel::Closed { .. } => Arrivals::Even,
        };
        let mut timeline = Self {
            seed,
            phase: spec.phase,
            model: spec.model.clone(),
            share: spec.share.clone(),
            means: vec![Means { from_ns: 0, connections: spec.connections, users: spec.users }],
            total_connections: spec.total_connections,
            total_users: spec.total_users,
            members: members(spec),
            mix: Mix::new(&spec.weights, draw::key(seed, spec.phase, Stream::Scenario)),
            positions: Positions::new(shape, spec.share.clone(), seed, spec.phase),
            mark: Mark::default(),
            successors: VecDeque::new(),
            profile: planned.clone(),
            planned,
            total: 0.0,
            changed_ns: 0,
            end_ns,
            control: Control { rate: None, factor: 1.0, paused: false, ramped_down: false },
            piece: 0,
            upcoming: None,
            peeked: None,
            last_ns: 0,
        };
        timeline.total = timeline.profile.integral(end_ns);
        timeline
    }

    /// The next own arrival, without taking it. `None` when there is none until the phase's end as it stands now (a
    /// later change may bring more), and always in closed models.
    #[inline]
    pub fn peek(&mut self) -> Option<Arrival> {
        if self.peeked.is_none() {
            self.peeked = self.find();
        }
        self.peeked
    }

    /// Takes the next own arrival.
    #[inline]
    pub fn pop(&mut self) -> Option<Arrival> {
        let arrival = self.peek()?;
        self.peeked = None;
        self.upcoming = None;
        self.last_ns = arrival.intended_ns;
        Some(arrival)
    }

    #[inline]
    fn find(&mut self) -> Option<Arrival> {
        if matches!(self.model, LoadModel::None | LoadModel::Closed { .. }) {
            return None;
        }
        if self.upcoming.is_none() {
            self.mark = self.positions.mark();
            self.upcoming = self.positions.next();
        }
        if !self.successors.is_empty() {
            self.succeed();
        }
        let (k, n) = self.upcoming?;
        // What comes because of a change does not come before it. A change takes effect at an offset that lies ahead; should
        // it be late all the same, order is kept.
        let earliest_ns = match self.positions.exists(k, n, self.total) {
            Existence::Settled => self.last_ns,
            Existence::Wanted => self.last_ns.max(self.changed_ns),
            Existence::None => return None,
        };
        let intended_ns = self.profile.when(n, &mut self.piece)?.max(earliest_ns);
        Some(Arrival { k, intended_ns, scenario: self.mix.of(k) })
    }

    /// Lets the shares take over whose position the next own arrival has reached.
    #[cold]
    fn succeed(&mut self) {
        while let Some((position, _)) = self.successors.front()
            && self.upcoming.is_none_or(|(_, n)| n >= *position)
            && let Some((position, share)) = self.successors.pop_front()
        {
            self.upcoming = self.positions.hand_over(self.mark, share, position);
        }
    }

    /// Makes other numbers this thread's own from an offset on. Everybody who is told the same offset agrees on where one
    /// share ends and the next begins, whenever he hears of it: the border is a position, not a time.
    ///
    /// Closed models: users that are new to the thread begin at a turn of this `epoch`, so that no number comes twice;
    /// users that are no longer its own finish the turn they are in.
    pub fn reassign(&mut self, at_offset_ns: u64, assignment: &Assignment) {
        let Assignment { epoch, share, connections, users } = assignment;
        let last = self.successors.back().map_or(0.0, |(position, _)| *position);
        let position = self.profile.integral(at_offset_ns.min(self.end_ns)).max(last);
        self.successors.push_back((position, share.clone()));
        // Whoever has nothing more to begin keeps what he sends with: what was due before may still wait.
        if !share.is_empty() {
            self.means.push(Means { from_ns: at_offset_ns, connections: *connections, users: *users });
        }
        if matches!(self.model, LoadModel::Closed { .. }) {
            let mut new: BTreeSet<u64> = share.numbers_below(u64::from(self.total_users)).collect();
            let first_turn = u64::from(*epoch) << TURN_BITS;
            for member in &mut self.members {
                let stays = member.until_ns > at_offset_ns;
                if !new.remove(&member.number) {
                    member.until_ns = member.until_ns.min(at_offset_ns);
                } else if !stays {
                    *member = Member::new(member.number, at_offset_ns, first_turn);
                }
            }
            self.members.extend(new.into_iter().map(|number| Member::new(number, at_offset_ns, first_turn)));
        }
        self.share = share.clone();
        self.peeked = None;
    }

    /// Changes the load from an offset on. What was to come before it stays as it was. After a ramp-down nothing
    /// changes any more.
    pub fn change(&mut self, at_offset_ns: u64, change: Change) {
        if self.control.ramped_down {
            return;
        }
        self.positions.settle(self.profile.integral(at_offset_ns.min(self.end_ns)), self.total);
        self.changed_ns = self.changed_ns.max(at_offset_ns);
        let c = &mut self.control;
        match change {
            Change::Rate(rate) => c.rate = Some(if rate.is_finite() { rate.max(0.0) } else { 0.0 }),
            Change::Factor(factor) => c.factor = if factor.is_finite() { factor.max(0.0) } else { 1.0 },
            Change::Pause => c.paused = true,
            Change::Resume => c.paused = false,
            Change::ExtendTo(end_ns) => {
                if end_ns > self.end_ns && matches!(self.model, LoadModel::Walk { .. }) {
                    self.planned = Profile::planned(&self.model, self.seed, self.phase, end_ns);
                }
                self.end_ns = end_ns;
            }
            Change::RampDown(length_ns) => {
                c.ramped_down = true;
                self.profile.ramp_down_from(at_offset_ns, length_ns);
                self.end_ns = at_offset_ns.saturating_add(length_ns);
            }
        }
        if !self.control.ramped_down {
            let Control { rate, factor, paused, .. } = self.control;
            match rate {
                _ if paused => self.profile.hold_from(at_offset_ns, 0.0),
                Some(rate) => self.profile.hold_from(at_offset_ns, rate * factor),
                None => self.profile.follow_from(at_offset_ns, &self.planned, factor),
            }
        }
        self.total = self.profile.integral(self.end_ns);
        self.piece = 0;
        self.peeked = None;
    }

    /// How many own arrivals the rate asks for between two offsets, on average over arrival shapes; 0 in closed
    /// models. [`Self::take_due`] says how many the schedule has.
    #[must_use]
    pub fn wanted(&self, from_ns: u64, to_ns: u64) -> f64 {
        if matches!(self.model, LoadModel::Closed { .. }) {
            return 0.0;
        }
        let integral = |ns: u64| self.profile.integral(ns.min(self.end_ns));
        (integral(to_ns) - integral(from_ns)).max(0.0) * self.share.fraction()
    }

    /// Takes all own arrivals before an offset and says how many they were: what the schedule wanted, to the last
    /// arrival, burst and lull.
    pub fn take_due(&mut self, until_ns: u64) -> u64 {
        let mut n = 0;
        while self.peek().is_some_and(|a| a.intended_ns < until_ns) {
            self.pop();
            n += 1;
        }
        n
    }

    /// Operations in progress on this thread at most, at an offset.
    #[must_use]
    pub fn limit_at(&self, offset_ns: u64) -> u32 {
        self.means_at(offset_ns).users
    }

    /// How many users this thread is to have at an offset. Open models: as many as the phase gives it.
    #[must_use]
    pub fn users_at(&self, offset_ns: u64) -> u32 {
        let limit = self.limit_at(offset_ns);
        if !matches!(self.model, LoadModel::Closed { .. }) {
            return limit;
        }
        let own = self.active_members(offset_ns).count();
        u32::try_from(own).unwrap_or(u32::MAX).min(limit)
    }

    /// Closed models: which of the thread's users are to take turns at an offset, by their place among all it ever had.
    pub fn active_members(&self, offset_ns: u64) -> impl Iterator<Item = u32> {
        let total = self.total_users_at(offset_ns);
        let active = move |member: &Member| {
            member.number < total && (member.from_ns..member.until_ns).contains(&offset_ns)
        };
        (0_u32..).zip(&self.members).filter(move |(_, member)| active(member)).map(|(place, _)| place)
    }

    /// Whether one of these is to take another turn.
    #[must_use]
    pub fn is_active_member(&self, place: u32, offset_ns: u64) -> bool {
        let total = self.total_users_at(offset_ns);
        self.members.get(place as usize).is_some_and(|member| {
            member.number < total && (member.from_ns..member.until_ns).contains(&offset_ns)
        })
    }

    fn total_users_at(&self, offset_ns: u64) -> u64 {
        if self.ended(offset_ns) {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        let total = (self.profile.value(offset_ns) + 1e-6).floor() as u64;
        total.min(u64::from(self.total_users))
    }

    fn means_at(&self, offset_ns: u64) -> Means {
        let none = Means { from_ns: 0, connections: 0, users: 0 };
        self.means.iter().rev().find(|means| means.from_ns <= offset_ns).copied().unwrap_or(none)
    }

    /// How many transports this thread is to hold at an offset: in the chaos phase's walk its share of the present
    /// rate / 5 (at least one), else the phase's.
    #[must_use]
    pub fn connections_at(&self, offset_ns: u64) -> u32 {
        let limit = self.means_at(offset_ns).connections;
        if !matches!(self.model, LoadModel::Walk { .. }) || self.share.is_empty() {
            return limit;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        let total = (self.profile.value(offset_ns) / 5.0).ceil() as u64;
        let own = self.share.count_below(total.min(u64::from(self.total_connections)));
        u32::try_from(own).unwrap_or(u32::MAX).clamp(1, limit.max(1))
    }

    /// Turn `turn` (from 0) of this thread's `user`-th user in a closed model, due now. Its number is a function of
    /// the user's number in the run and the turn: `turn × users of the run + user`; the turns of a user that came from
    /// another worker begin with those of its epoch.
    #[must_use]
    pub fn turn(&self, user: u32, turn: u64, now_ns: u64) -> Option<Arrival> {
        let member = self.members.get(user as usize)?;
        let turn = member.first_turn.checked_add(turn)?;
        let k = turn.checked_mul(u64::from(self.total_users))?.checked_add(member.number)?;
        Some(Arrival { k, intended_ns: now_ns, scenario: self.mix.of(k) })
    }

    /// Whether arrivals are over at an offset: the phase's length, as extended or ramped down, has passed.
    #[must_use]
    pub const fn ended(&self, offset_ns: u64) -> bool {
        offset_ns >= self.end_ns
    }

    /// The offset at which arrivals are over, as it stands now.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.end_ns
    }
}

/// The users of a thread in a closed model.
fn members(spec: &PhaseSpec) -> Vec<Member> {
    if !matches!(spec.model, LoadModel::Closed { .. }) {
        return Vec::new();
    }
    spec.share.numbers_below(u64::from(spec.total_users)).map(|number| Member::new(number, 0, 0)).collect()
}

/// Scenarios by weight.
#[derive(Clone, Debug)]
struct Mix {
    key: u64,
    /// Upper bounds of the scenarios' shares of 0 to 1.
    bounds: Vec<f64>,
}

impl Mix {
    fn new(weights: &[f64], key: u64) -> Self {
        let sum: f64 = weights.iter().sum();
        let mut below = 0.0;
        let bounds = weights.iter().map(|w| {
            below += w;
            below / sum
        });
        Self { key, bounds: bounds.collect() }
    }

    #[inline]
    fn of(&self, k: u64) -> u32 {
        if self.bounds.len() < 2 {
            return 0;
        }
        let u = unit(draw::at(self.key, k));
        let i = self.bounds.partition_point(|b| *b < u);
        i.min(self.bounds.len() - 1) as u32
    }
}
