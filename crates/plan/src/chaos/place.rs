//! The times of faults that have none in the plan.

use std::time::Duration;

use crate::model::Fault;
use crate::units::print_duration;

/// Before the first drawn fault of a phase of this length load runs undisturbed for so long: 5 %, at least 1 s.
#[must_use]
pub fn lead_in(phase: Duration) -> Duration {
    (phase / 20).max(Duration::from_secs(1))
}

/// At the end of a phase of this length there is no drawn fault for so long, so that recovery can be validated: 10 %,
/// at least 5 s.
#[must_use]
pub fn validation(phase: Duration) -> Duration {
    (phase / 10).max(Duration::from_secs(5))
}

/// What sets these draws apart from others of the same seed.
const CHAOS: u64 = 0x6661_756c_7473;

/// The key of all draws about one coming of a fault.
pub(super) fn key(seed: u64, name: &str, time: u32) -> u64 {
    draws::at(draws::at(seed, CHAOS) ^ draws::text(name), u64::from(time))
}

/// The seed of the draws within a fault. Victims are drawn by the key itself, numbered from 0: this is far from them.
pub(super) const fn draw_of(key: u64) -> u64 {
    draws::at(key, u64::MAX - 1)
}

/// A coming that has no time yet, in whole milliseconds.
struct Waiting {
    fault: usize,
    time: u32,
    /// Its length, rounded up.
    long: u64,
    /// With the healthy stretch behind it.
    need: u64,
    key: u64,
}

/// A stretch of the phase without faults that the plan has placed, in milliseconds.
struct Gap {
    from: u64,
    /// What `waiting` does not need of it.
    left: u64,
    waiting: Vec<Waiting>,
}

/// The times of `drawn` (by index in the plan, number of the coming, start) in a phase of this length in which `taken`
/// (start, length) are; or why they do not fit.
pub(super) fn draw(
    seed: u64,
    phase: Duration,
    taken: &[(Duration, Duration)],
    drawn: &[(usize, &Fault)],
) -> Result<Vec<(usize, u32, Duration)>, String> {
    let mut gaps = gaps(phase, taken);
    let room: u64 = gaps.iter().map(|gap| gap.left).sum();
    let widest = gaps.iter().map(|gap| gap.left).max().unwrap_or(0);
    let mut waiting: Vec<Waiting> = drawn
        .iter()
        .flat_map(|(index, fault)| (0..fault.times).map(|time| (*index, *fault, time)))
        .map(|(index, fault, time)| {
            let long = millis_up(fault.duration);
            let key = key(seed, &fault.name, time);
            Waiting { fault: index, time, long, need: long.saturating_add(long.div_ceil(4)), key }
        })
        .collect();
    let count = waiting.len();
    let sum = waiting.iter().fold(0_u64, |sum, waiting| sum.saturating_add(waiting.long));
    let need = waiting.iter().fold(0_u64, |sum, waiting| sum.saturating_add(waiting.need));
    // The largest first, each where most room is left: with one gap, this fits whenever it can.
    waiting.sort_by_key(|waiting| (std::cmp::Reverse(waiting.need), waiting.order(), waiting.fault));
    for waiting in waiting {
        let most = gaps.iter_mut().rev().max_by_key(|gap| gap.left).filter(|gap| gap.left >= waiting.need);
        let Some(gap) = most else {
            let text = |ms: u64| print_duration(Duration::from_millis(ms));
            let pieces =
                if widest < room { format!(", {} of it in one piece", text(widest)) } else { String::new() };
            return Err(format!(
                "{count} of together {}, with the healthy stretches between them {}; the phase of {} has room for \
                 {}{pieces}, beside {} before the first and {} without faults at its end",
                text(sum),
                text(need),
                print_duration(phase),
                text(room),
                print_duration(lead_in(phase)),
                print_duration(validation(phase)),
            ));
        };
        gap.left -= waiting.need;
        gap.waiting.push(waiting);
    }
    let mut found: Vec<_> = gaps.into_iter().flat_map(spread).collect();
    // All comings of a fault are alike: they are numbered in the order in which they come.
    found.sort_by_key(|(fault, _, at)| (*fault, *at));
    let mut last = (usize::MAX, 0);
    for (fault, time, _) in &mut found {
        last = (*fault, if last.0 == *fault { last.1 + 1 } else { 0 });
        *time = last.1;
    }
    Ok(found)
}

impl Waiting {
    /// Its place in the shuffled order.
    const fn order(&self) -> u64 {
        draws::at(self.key, u64::MAX - 2)
    }
}

/// Cuts a gap in slots and draws the times in them.
fn spread(mut gap: Gap) -> Vec<(usize, u32, Duration)> {
    let extra = gap.left / (gap.waiting.len().max(1) as u64);
    gap.waiting.sort_by_key(|waiting| (waiting.order(), waiting.fault));
    let mut from = gap.from;
    let mut found = Vec::new();
    for waiting in gap.waiting {
        let slot = waiting.need + extra;
        let latest = (slot / 5 * 4 + slot % 5 * 4 / 5).saturating_sub(waiting.long);
        let at = from + draws::up_to(latest, draws::at(waiting.key, u64::MAX - 3));
        found.push((waiting.fault, waiting.time, Duration::from_millis(at)));
        from += slot;
    }
    found
}

fn gaps(phase: Duration, taken: &[(Duration, Duration)]) -> Vec<Gap> {
    let end = millis(phase.saturating_sub(validation(phase)));
    let mut taken: Vec<(u64, u64)> = taken
        .iter()
        .map(|(at, long)| (millis(*at), millis_up(at.saturating_add(*long).saturating_add(*long / 4))))
        .collect();
    taken.sort_unstable();
    let mut from = millis_up(lead_in(phase));
    let mut gaps = Vec::new();
    for (start, until) in taken.into_iter().chain([(end, end)]) {
        let to = start.min(end);
        if to > from {
            gaps.push(Gap { from, left: to - from, waiting: Vec::new() });
        }
        from = from.max(until);
    }
    gaps
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
