//! How an instance is, by what was seen of it so far.

use tokio::time::Instant;

use crate::health::Round;
use crate::options::Moment;
use crate::trouble::Trouble;

/// What is known of an instance.
#[derive(Debug)]
pub(crate) struct Condition {
    /// It was looked at.
    pub(crate) seen: bool,
    /// Looks in a row at which it was not well.
    pub(crate) bad: u32,
    /// Looks in a row at which it was.
    pub(crate) good: u32,
    /// It was well when a look began at this stamp.
    pub(crate) well_ns: i64,
    /// The first of the looks in a row at which it was well.
    pub(crate) well_since: Option<Moment>,
    /// What was wrong with it at the last look.
    pub(crate) trouble: Option<Trouble>,
    /// Looks in a row at which it answered by itself, whatever load sees.
    pub(crate) well_itself: u32,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Something is done to it, or was until then: looks that began before are of no account.
    acted_until: Option<Instant>,
}

impl Condition {
    /// An instance that is taken to be well now.
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            seen: false,
            bad: 0,
            good: 0,
            well_ns: now.unix_ns,
            well_since: None,
            trouble: None,
            well_itself: 0,
            pid: None,
            acted_until: None,
        }
    }

    /// Whether it is not well.
    pub(crate) const fn is_bad(&self) -> bool {
        self.trouble.is_some()
    }

    /// Takes a look into account; `false` = it began before something was done to the instance, and says nothing.
    pub(crate) fn saw(&mut self, round: Round) -> bool {
        if self.acted_until.is_some_and(|until| round.begun.monotonic < until) {
            return false;
        }
        self.seen = true;
        self.pid = round.pid;
        self.well_itself = if round.well_itself { self.well_itself.saturating_add(1) } else { 0 };
        match round.trouble {
            Some(trouble) => self.fell(trouble),
            None => {
                self.well_since.get_or_insert(round.ended);
                self.well_ns = round.begun.unix_ns;
                self.good = self.good.saturating_add(1);
                (self.bad, self.trouble) = (0, None);
            }
        }
        true
    }

    /// It is not well.
    pub(crate) fn fell(&mut self, trouble: Trouble) {
        self.bad = self.bad.saturating_add(1);
        (self.good, self.well_since, self.trouble) = (0, None, Some(trouble));
    }

    /// Something was done to it until now: what was seen before counts no more.
    pub(crate) fn acted(&mut self, until: Instant) {
        self.acted_until = Some(until);
        (self.bad, self.good, self.well_since, self.trouble, self.well_itself) = (0, 0, None, None, 0);
    }
}
