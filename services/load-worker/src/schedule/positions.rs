//! Positions of arrivals in unit-rate space.

use plan::model::Arrivals;

use super::Share;
use super::draw::Stream;
use super::draw::{at, key, unit};

/// Shape and scale of the chaotic gaps: a Lomax (Pareto II) distribution with mean σ / (α − 1) = 1 and variance 5,
/// five times that of Poisson arrivals: most gaps are short, and a few are very long.
const CHAOTIC_ALPHA: f64 = 2.5;
const CHAOTIC_SIGMA: f64 = CHAOTIC_ALPHA - 1.0;

/// The positions of a share's own arrivals, in order.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    shape: Arrivals,
    share: Share,
    key: u64,
    /// How many own arrivals lie behind.
    own: u64,
    /// All arrivals below this number, own or not, lie behind.
    behind: u64,
    /// Gapped shapes: how many gaps of the whole sequence are in `sum`.
    gaps: u64,
    sum: f64,
    /// Counted shapes: arrivals below this number came, or come, before the latest change.
    settled_count: u64,
    /// Gapped shapes: arrivals below this position did.
    settled: f64,
}

/// Whether an arrival comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existence {
    /// Before the latest change, whatever that did to the total.
    Settled,
    /// The rate asks for it as it stands now.
    Wanted,
    None,
}

/// How far positions had come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    behind: u64,
    gaps: u64,
    sum: f64,
}

impl Positions {
    pub(super) fn new(shape: Arrivals, share: Share, seed: u64, phase: u32) -> Self {
        Self {
            shape,
            share,
            key: key(seed, phase, Stream::Gap),
            own: 0,
            behind: 0,
            gaps: 0,
            sum: 0.0,
            settled_count: 0,
            settled: 0.0,
        }
    }

    /// Number and position of the next own arrival. Goes on for ever unless the share is empty.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(u64, f64)> {
        let k = self.share.nth(self.own)?;
        self.own += 1;
        self.behind = k + 1;
        let n = match self.shape {
            Arrivals::Even => k as f64,
            Arrivals::Burst { size } => {
                let size = u64::from(size.max(1));
                (k / size * size) as f64
            }
            Arrivals::Poisson => self.sum_to(k, |u| -u.ln()),
            Arrivals::Chaotic => self.sum_to(k, |u| CHAOTIC_SIGMA * (u.powf(-1.0 / CHAOTIC_ALPHA) - 1.0)),
        };
        Some((k, n))
    }

    /// A place to come back to: what [`Self::hand_over`] goes on from.
    #[inline]
    pub(super) const fn mark(&self) -> Mark {
        Mark { behind: self.behind, gaps: self.gaps, sum: self.sum }
    }

    /// From a position on, the numbers of another share are own. `mark` was taken before the first own arrival at or beyond
    /// it. Numbers at the position itself are the new share's.
    pub(super) fn hand_over(&mut self, mark: Mark, share: Share, position: f64) -> Option<(u64, f64)> {
        let mut behind = mark.behind;
        if matches!(self.shape, Arrivals::Even | Arrivals::Burst { .. }) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative, and saturates"
            )]
            let whole = position.floor() as u64;
            // No number below its position comes at it or later.
            behind = behind.max(whole);
        }
        self.own = share.count_below(behind);
        (self.behind, self.gaps, self.sum) = (behind, mark.gaps, mark.sum);
        self.share = share;
        loop {
            let next = self.next()?;
            if next.1 >= position {
                return Some(next);
            }
        }
    }

    /// Adds all gaps up to arrival k's, other shares' too: everybody adds the same numbers in the same order.
    #[inline]
    fn sum_to(&mut self, k: u64, gap: impl Fn(f64) -> f64) -> f64 {
        while self.gaps <= k {
            self.sum += gap(unit(at(self.key, self.gaps)));
            self.gaps += 1;
        }
        self.sum
    }

    /// Whether an arrival exists when the rate asks for `total` arrivals in all. Counted shapes have exactly
    /// ⌊total⌋ arrivals; the others those whose position is reached.
    #[inline]
    pub(super) fn exists(&self, k: u64, n: f64, total: f64) -> Existence {
        let (settled, wanted) = match self.shape {
            Arrivals::Even | Arrivals::Burst { .. } => {
                (k < self.settled_count, (k + 1) as f64 <= whole(total))
            }
            Arrivals::Poisson | Arrivals::Chaotic => (n < self.settled, n < total),
        };
        if settled {
            Existence::Settled
        } else if wanted {
            Existence::Wanted
        } else {
            Existence::None
        }
    }

    /// What comes before a position, given the total until now, comes whatever the total becomes. A counted shape leaves
    /// out what would begin in the last fraction of an arrival, even before the position.
    pub(super) fn settle(&mut self, position: f64, total: f64) {
        self.settled = self.settled.max(position);
        let size = match self.shape {
            Arrivals::Burst { size } => f64::from(size.max(1)),
            Arrivals::Even | Arrivals::Poisson | Arrivals::Chaotic => 1.0,
        };
        let before = (position / size).ceil() * size;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        let count = before.min(whole(total)).floor() as u64;
        self.settled_count = self.settled_count.max(count);
    }
}

/// `rate × duration` of decimal numbers misses its whole number by the last bit now and then.
#[inline]
fn whole(total: f64) -> f64 {
    total.mul_add(1.0 + 1e-12, 1e-9)
}
