//! How load is divided among workers: what each is good for, which share of the arrivals that gives it, and which arrivals
//! these are.

use protocol::v1;

/// What is known of a worker's strength.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Strength {
    /// Its load threads; 0 = not known yet, and counted as one.
    pub(crate) load_threads: u32,
    /// What its settings say.
    pub(crate) weight: Option<f64>,
    /// Rounds a second of one load thread, where it measured.
    pub(crate) thread_speed: Option<f64>,
}

impl Strength {
    /// What a heartbeat says.
    pub(crate) fn of(beat: &v1::Heartbeat) -> Self {
        let said = |number: f64| Some(number).filter(|number| number.is_finite() && *number > 0.0);
        Self {
            load_threads: beat.load_threads,
            weight: said(beat.weight),
            thread_speed: said(beat.thread_speed),
        }
    }
}

/// By how much two speeds may differ and count as one: the faster is at most so many times the slowest of its group.
///
/// Measured on one host of two cores, two load threads each time: 200 calibrations on the host nearly at rest lay within 26 %
/// of each other, nine in ten of them within 15 %. Below that, unequal shares would be noise, and another noise in each run.
/// Beside compilers on both cores the fastest was more than that, up to 57 %, faster than one in twenty of 300: more tolerance
/// would hide hosts that differ.
const ALIKE: f64 = 1.25;
/// A load thread is told to be at most so many times as fast as the slowest: beyond, somebody measured something else.
const FASTEST: f64 = 64.0;
/// Weights are whole numbers of hundredths.
const HUNDREDTHS: f64 = 100.0;
/// The largest weight, in hundredths.
const HEAVIEST: f64 = 1e8;
/// So many stripes are enough for every share: with more, each is rounded to one of so many parts.
const STRIPES: u64 = 4_096;

/// The weight of each worker, in hundredths of a load thread of the slowest that measured. What settings say holds as it is;
/// a measured one is load threads times their speed against the slowest's, to a quarter.
pub(crate) fn weights(strengths: &[Strength]) -> Vec<u32> {
    let measured = |strength: &Strength| strength.thread_speed.filter(|_| strength.weight.is_none());
    let mut speeds: Vec<f64> = strengths.iter().filter_map(measured).collect();
    speeds.sort_unstable_by(f64::total_cmp);
    let groups = groups(&speeds);
    let slowest = groups.first().map_or(1.0, |group| group.mean);
    let times_as_fast = |speed: f64| {
        let group = groups.iter().find(|group| speed <= group.fastest).map_or(slowest, |group| group.mean);
        ((group / slowest).min(FASTEST) * 4.0).round() / 4.0
    };
    let weight = |strength: &Strength| {
        let threads = f64::from(strength.load_threads.max(1));
        // Who did not measure counts as the slowest.
        let own = || threads * measured(strength).map_or(1.0, times_as_fast);
        let hundredths = (strength.weight.unwrap_or_else(own) * HUNDREDTHS).round().clamp(1.0, HEAVIEST);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 10^8")]
        let hundredths = hundredths as u32;
        hundredths
    };
    strengths.iter().map(weight).collect()
}

/// Speeds that count as one.
struct Group {
    fastest: f64,
    mean: f64,
}

fn groups(ascending: &[f64]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut rest = ascending;
    while let Some(slowest) = rest.first() {
        let (alike, faster) = rest.split_at(rest.partition_point(|speed| *speed <= slowest * ALIKE));
        #[expect(clippy::cast_precision_loss, reason = "workers are few")]
        let mean = alike.iter().sum::<f64>() / alike.len() as f64;
        groups.push(Group { fastest: alike.last().copied().unwrap_or(mean), mean });
        rest = faster;
    }
    groups
}

/// The stripes of each worker: as many as its weight against the others', each of one worker.
///
/// They are laid so that among the first n arrivals, whatever n, each worker has its share of them within one (the chairman
/// assignment of Tijdeman: of those who are due a stripe, the one whose time runs out first gets it). Among any `stripe_count`
/// that follow each other each has its share exactly, and among any others within two.
pub(crate) fn segments(weights: &[u32]) -> Vec<v1::Segment> {
    let counts = stripe_counts(weights);
    let (all, workers) = (counts.iter().sum::<i64>(), counts.len());
    let mut stripes: Vec<Vec<u32>> = vec![Vec::new(); workers];
    // By how much nobody is ever off his share, as a part of 1: 1 − 1 / slack.
    let slack = i64::try_from(workers).unwrap_or(i64::MAX).saturating_mul(2).saturating_sub(2).max(1);
    let mut behind = vec![0_i64; workers];
    for stripe in 0..u32::try_from(all).unwrap_or(u32::MAX) {
        let mut next: Option<(usize, i64, i64)> = None;
        for (worker, (behind, count)) in behind.iter_mut().zip(&counts).enumerate() {
            // Stripes that it should have more than it has, times `all`.
            *behind += count;
            if workers > 1 && *behind * slack < all {
                continue;
            }
            // How long it can wait: `left` / (`count` × `slack`).
            let left = all * (slack - 1) - *behind * slack;
            if next.is_none_or(|(_, least, of)| left * of < least * count) {
                next = Some((worker, left, *count));
            }
        }
        if let Some((worker, ..)) = next {
            behind[worker] -= all;
            stripes[worker].push(stripe);
        }
    }
    let stripe_count = u32::try_from(all).unwrap_or(u32::MAX).max(1);
    stripes.into_iter().map(|stripes| v1::Segment { stripe_count, stripes }).collect()
}

/// How many stripes each worker has: the smallest numbers that stand to each other as the weights, or where these are many,
/// rounded, and at least one.
fn stripe_counts(weights: &[u32]) -> Vec<i64> {
    let weights: Vec<u64> = weights.iter().map(|weight| u64::from((*weight).max(1))).collect();
    let divisor = weights.iter().copied().reduce(greatest_common_divisor).unwrap_or(1);
    let all: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let most = STRIPES.max(weights.len() as u64);
    let count = |weight: &u64| {
        let exact = weight / divisor;
        let count = if all <= most { exact } else { ((exact * most + all / 2) / all).max(1) };
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    weights.iter().map(count).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[path = "division_tests.rs"]
mod tests;
