//! `[[chaos]]`: what is broken, where, when and for how long.

use std::time::Duration;

use serde::Serialize;

use super::{PhaseName, Recipe};
use crate::threshold::Check;
use crate::units::print_share;

/// How many instances of a target may be taken away at once (see [`Recipe::takes_away`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Most {
    /// All of them.
    All,
    /// This many; at least 1.
    Fixed(u32),
    /// This many of a hundred, rounded down, but at least one instance; 1 to 100.
    Percent(u32),
}

impl Most {
    /// How many of so many instances; never more than there are.
    #[must_use]
    pub fn of(self, instances: usize) -> usize {
        match self {
            Self::All => instances,
            Self::Fixed(count) => instances.min(count as usize),
            Self::Percent(percent) => instances.min((instances * percent as usize / 100).max(1)),
        }
    }
}

/// How many instances a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One.
    One,
    /// This many, or all where there are fewer; at least 1.
    Fixed(u32),
    /// This many of a hundred, rounded up; 1 to 100.
    Percent(u32),
    /// All of them.
    All,
}

impl Mode {
    /// How many of so many instances; never more than there are.
    #[must_use]
    pub fn of(self, instances: usize) -> usize {
        match self {
            Self::One => instances.min(1),
            Self::Fixed(count) => instances.min(count as usize),
            Self::Percent(percent) => instances.min((instances * percent as usize).div_ceil(100)),
            Self::All => instances,
        }
    }
}

/// When a fault ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// It does not: the plan says `none`.
    None,
    /// As soon as this holds.
    When {
        /// What is measured, and compared with what.
        check: Check,
        /// Sliding window of the measurement; real time.
        over: Duration,
    },
}

/// What is broken in one place, or in several at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Its name, of its own in the plan.
    pub name: String,
    /// What is done.
    pub recipe: Recipe,
    /// Share of connections that a network fault on connections hits, 0 to 1; 1 for all other recipes.
    pub toxicity: f64,
    /// The target that it hits, by name.
    pub target: String,
    /// The phase in which it comes; one that runs.
    pub phase: PhaseName,
    /// How many of the target's instances it hits.
    pub mode: Mode,
    /// How long it lasts; real time, not scaled; over zero.
    pub duration: Duration,
    /// When it ends before that.
    pub stop: Stop,
    /// When it comes, from the phase's start, real time; `None` = drawn by [`crate::chaos::schedule`].
    pub at: Option<Duration>,
    /// How often it comes in the phase; 1 to 1 000, and 1 where `at` is given.
    pub times: u32,
}

impl Fault {
    /// What it does, in words: `latency 200ms ± 50ms from the target on 50% of connections`.
    #[must_use]
    pub fn describe(&self) -> String {
        let what = self.recipe.describe();
        if self.toxicity == 1.0 {
            return what;
        }
        format!("{what} on {} of connections", print_share(self.toxicity))
    }
}
