//! A rate (or a number of users) over time, as linear pieces, with its integral and the inverse of that.

use plan::model::LoadModel;

use super::draw::{self, Stream};

const NS: f64 = 1e9;

/// A piece: from `start_ns` until the next piece's start, or for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) start_ns: u64,
    /// Value at the start, per second; never negative.
    pub(super) value: f64,
    /// Change of the value per second.
    pub(super) slope: f64,
    /// The integral up to the start.
    pub(super) integral: f64,
}

impl Piece {
    fn value_after(&self, ns: u64) -> f64 {
        (self.value + self.slope * (ns as f64 / NS)).max(0.0)
    }

    fn integral_after(&self, ns: u64) -> f64 {
        let s = ns as f64 / NS;
        self.value.mul_add(s, self.slope * s * s / 2.0)
    }
}

/// Pieces in order of their starts; the first starts at 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile(Vec<Piece>);

impl Profile {
    /// The plan's load over a phase of this length, unchanged.
    pub(super) fn planned(model: &LoadModel, seed: u64, phase: u32, duration_ns: u64) -> Self {
        let mut profile = Self(Vec::new());
        match *model {
            LoadModel::None => profile.push(0, 0.0, 0.0),
            LoadModel::Open { start_rate, rate, ramp, .. } => profile.ramp(start_rate, rate, ramp),
            LoadModel::Closed { start_users, users, ramp, .. } => {
                profile.ramp(f64::from(start_users), f64::from(users), ramp);
            }
            LoadModel::Walk { floor, ceiling, step, .. } => {
                let step_ns = nanos(step).max(1);
                let steps = duration_ns.div_ceil(step_ns).max(1);
                let mut walk = Walk::new(floor, ceiling, draw::key(seed, phase, Stream::Walk));
                for n in 0..steps {
                    profile.push(n * step_ns, walk.step(n), 0.0);
                }
            }
        }
        profile
    }

    fn ramp(&mut self, from: f64, to: f64, ramp: std::time::Duration) {
        let ramp_ns = nanos(ramp);
        if ramp_ns > 0 {
            self.push(0, from, (to - from) / (ramp_ns as f64 / NS));
        }
        self.push(ramp_ns, to, 0.0);
    }

    /// Adds a piece at or after the start of the last; one of no length is replaced.
    fn push(&mut self, start_ns: u64, value: f64, slope: f64) {
        let integral = self.integral(start_ns);
        while self.0.last().is_some_and(|p| p.start_ns >= start_ns) {
            self.0.pop();
        }
        self.0.push(Piece { start_ns, value: value.max(0.0), slope, integral });
    }

    /// Number of the piece that covers an offset.
    fn find(&self, ns: u64) -> usize {
        self.0.partition_point(|p| p.start_ns <= ns).saturating_sub(1)
    }

    /// The value at an offset.
    pub(super) fn value(&self, ns: u64) -> f64 {
        self.0.get(self.find(ns)).map_or(0.0, |p| p.value_after(ns - p.start_ns.min(ns)))
    }

    /// The integral from 0 to an offset.
    pub(super) fn integral(&self, ns: u64) -> f64 {
        self.0.get(self.find(ns)).map_or(0.0, |p| p.integral + p.integral_after(ns - p.start_ns.min(ns)))
    }

    /// From an offset on, this constant value.
    pub(super) fn hold_from(&mut self, ns: u64, value: f64) {
        self.push(ns, value, 0.0);
    }

    /// From an offset on, another profile times a factor.
    pub(super) fn follow_from(&mut self, ns: u64, other: &Self, factor: f64) {
        let first = other.find(ns);
        for (i, p) in other.0.iter().enumerate().skip(first) {
            let start = if i == first { ns } else { p.start_ns };
            self.push(start, p.value_after(start - p.start_ns.min(start)) * factor, p.slope * factor);
        }
    }

    /// From an offset on, linear to zero over a length, then zero.
    pub(super) fn ramp_down_from(&mut self, ns: u64, length_ns: u64) {
        let value = self.value(ns);
        if length_ns > 0 {
            self.push(ns, value, -value / (length_ns as f64 / NS));
        }
        self.push(ns.saturating_add(length_ns), 0.0, 0.0);
    }

    /// When the integral reaches `n`; `None` when it never does. `hint` is the piece where the search begins, moved
    /// forward as far as `n` asks: positions ascend, so mostly nothing is searched.
    #[inline]
    pub(super) fn when(&self, n: f64, hint: &mut usize) -> Option<u64> {
        while let Some(next) = self.0.get(*hint + 1)
            && n >= next.integral
        {
            *hint += 1;
        }
        let p = self.0.get(*hint)?;
        let rest = (n - p.integral).max(0.0);
        let s = if p.slope == 0.0 {
            if p.value <= 0.0 {
                return None;
            }
            rest / p.value
        } else {
            // The stable form of the quadratic's root; the discriminant is negative beyond a falling ramp's end only.
            let root = p.value.mul_add(p.value, 2.0 * p.slope * rest).max(0.0).sqrt();
            let divisor = p.value + root;
            if divisor <= 0.0 {
                // At the foot of a rising ramp the value is 0, and so is the rest.
                0.0
            } else {
                2.0 * rest / divisor
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        let ns = (s * NS).round() as u64;
        Some(p.start_ns.saturating_add(ns))
    }
}

fn nanos(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// The random walk of requirement R1.4: it begins anywhere between floor and ceiling, moves by at most a quarter of
/// the span each step, and is reflected at both ends.
struct Walk {
    floor: f64,
    span: f64,
    key: u64,
    /// 0 = floor, 1 = ceiling.
    at: f64,
}

impl Walk {
    fn new(floor: f64, ceiling: f64, key: u64) -> Self {
        Self { floor: floor.max(0.0), span: (ceiling - floor).max(0.0), key, at: 0.0 }
    }

    fn step(&mut self, n: u64) -> f64 {
        let u = draw::unit(draw::at(self.key, n));
        self.at = if n == 0 { u } else { reflect(self.at + (u - 0.5) / 2.0) };
        self.at.mul_add(self.span, self.floor)
    }
}

fn reflect(x: f64) -> f64 {
    let x = x.abs();
    if x > 1.0 { 2.0 - x } else { x }
}
