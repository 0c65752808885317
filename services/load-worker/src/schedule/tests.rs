use std::time::{Duration, Instant};

use plan::model::{Arrivals, LoadModel};
use proptest::prelude::*;

use super::{Arrival, Share, Stream, Timeline, draw};
use crate::spec::{Assignment, Change, PhaseSpec};

const S: u64 = 1_000_000_000;

fn spec(model: LoadModel, duration_ns: u64, share: Share) -> PhaseSpec {
    PhaseSpec {
        phase: 2,
        t0: Instant::now(),
        duration: Duration::from_nanos(duration_ns),
        model,
        connections: u32::try_from(share.count_below(200)).unwrap(),
        total_connections: 200,
        users: u32::try_from(share.count_below(200)).unwrap(),
        total_users: 200,
        capacity: 200,
        share,
        max_waiting: 1_000,
        weights: vec![3.0, 1.0],
        scenarios: Vec::new(),
    }
}

fn open(rate: f64, arrivals: Arrivals) -> LoadModel {
    ramp(rate, rate, 0, arrivals)
}

fn ramp(start_rate: f64, rate: f64, ramp_ns: u64, arrivals: Arrivals) -> LoadModel {
    LoadModel::Open { start_rate, rate, ramp: Duration::from_nanos(ramp_ns), arrivals }
}

fn walk(floor: f64, ceiling: f64) -> LoadModel {
    LoadModel::Walk { floor, ceiling, step: Duration::from_secs(10), arrivals: Arrivals::Even }
}

fn closed(start_users: u32, users: u32, ramp_s: u64) -> LoadModel {
    LoadModel::Closed { start_users, users, ramp: Duration::from_secs(ramp_s), think: Duration::ZERO }
}

fn timeline(model: LoadModel, duration_ns: u64) -> Timeline {
    Timeline::new(&spec(model, duration_ns, Share::whole()), 7)
}

fn all(mut timeline: Timeline) -> Vec<Arrival> {
    std::iter::from_fn(|| timeline.pop()).collect()
}

fn shape() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        Just(Arrivals::Even),
        Just(Arrivals::Poisson),
        (1_u32..20).prop_map(|size| Arrivals::Burst { size }),
        Just(Arrivals::Chaotic),
    ]
}

fn any_model() -> impl Strategy<Value = LoadModel> {
    prop_oneof![
        (0.0..900.0, 0.0..900.0, 0..3 * S, shape()).prop_map(|(a, b, r, s)| ramp(a, b, r, s)),
        (0.0..300.0, 300.0..900.0).prop_map(|(f, c)| walk(f, c)),
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0.0..900.0).prop_map(Change::Rate),
        Just(Change::Pause),
        Just(Change::Resume),
        (1_u64..8).prop_map(|s| Change::ExtendTo(s * S)),
        (0_u64..2 * S).prop_map(Change::RampDown),
        (0.0..2.0).prop_map(Change::Factor),
    ]
}

proptest! {
    #[test]
    fn constant_rate_gives_exactly_the_floor(centi in 0_u64..5_000_000, millis in 0_u64..4_000) {
        let got = all(timeline(open(centi as f64 / 100.0, Arrivals::Even), millis * 1_000_000)).len() as u64;
        prop_assert_eq!(got, centi * millis / 100_000);
    }

    #[test]
    fn ramp_gives_the_floor_of_its_area(a in 0_u64..2_000, b in 0_u64..2_000, r in 0_u64..5, rest in 0_u64..5) {
        let got = all(timeline(ramp(a as f64, b as f64, r * S, Arrivals::Even), (r + rest) * S)).len() as u64;
        prop_assert_eq!(got, ((a + b) * r + 2 * b * rest) / 2);
    }

    #[test]
    fn arrivals_ascend_and_lie_inside_the_phase(model in any_model(), ms in 0_u64..5_000) {
        let arrivals = all(timeline(model, ms * 1_000_000));
        prop_assert!(arrivals.iter().enumerate().all(|(i, a)| a.k == i as u64));
        prop_assert!(arrivals.is_sorted_by_key(|a| a.intended_ns));
        prop_assert!(arrivals.iter().all(|a| a.intended_ns <= ms * 1_000_000));
    }

    #[test]
    fn shares_together_are_the_whole(
        model in any_model(), owners in prop::collection::vec(0_usize..3, 1..8), threads in 1_u32..4,
        change in any_change(), at in 0..2 * S,
    ) {
        let changed = |share: Share| {
            let mut t = Timeline::new(&spec(model.clone(), 2 * S, share), 7);
            t.change(at, change);
            t
        };
        let mut parts = Vec::new();
        for worker in 0..3 {
            let stripes: Vec<u32> = (0..).zip(&owners).filter(|(_, o)| **o == worker).map(|(i, _)| i).collect();
            for thread in 0..threads {
                parts.extend(all(changed(Share::new(owners.len() as u32, &stripes, thread, threads))));
            }
        }
        parts.sort_unstable_by_key(|a| a.k);
        prop_assert_eq!(parts, all(changed(Share::whole())));
    }

    #[test]
    fn a_share_counts_what_it_yields(count in 1_u32..9, bits in 0_u32..256, thread in 0_u32..4, threads in 1_u32..4, n in 0_u64..500) {
        let stripes: Vec<u32> = (0..count).filter(|s| bits >> s & 1 == 1).collect();
        let share = Share::new(count, &stripes, thread, threads);
        let yielded = (0..).map_while(|i| share.nth(i)).take_while(|k| *k < n).count() as u64;
        prop_assert_eq!(share.count_below(n), yielded);
    }

    #[test]
    fn changes_lose_and_repeat_nothing(model in any_model(), changes in prop::collection::vec((0..3 * S, any_change()), 0..6)) {
        let unchanged = all(timeline(model.clone(), 3 * S));
        let mut changes = changes;
        changes.sort_by_key(|(at, _)| *at);
        let mut t = timeline(model, 3 * S);
        let mut got = Vec::new();
        for (at, change) in &changes {
            while let Some(a) = t.peek().filter(|a| a.intended_ns < *at) {
                got.push(a);
                t.pop();
            }
            t.change(*at, *change);
        }
        got.extend(all(t));
        prop_assert!(got.iter().enumerate().all(|(i, a)| a.k == i as u64));
        prop_assert!(got.is_sorted_by_key(|a| a.intended_ns));
        // Before the first change nothing is different.
        let first = changes.first().map_or(u64::MAX, |(at, _)| *at);
        let before = |all: &[Arrival]| all.iter().copied().filter(|a| a.intended_ns < first).collect::<Vec<_>>();
        prop_assert_eq!(before(&got), before(&unchanged));
    }

    #[test]
    fn a_change_may_be_told_before_it_is_due(model in any_model(), at in 0..3 * S, ahead in 0..3 * S, change in any_change()) {
        // Threads hear of a change at different times; the sequence is the same.
        let mut late = timeline(model.clone(), 3 * S);
        let mut got = Vec::new();
        while let Some(a) = late.peek().filter(|a| a.intended_ns < at.min(ahead)) {
            got.push(a);
            late.pop();
        }
        late.change(at, change);
        got.extend(all(late));
        let mut early = timeline(model, 3 * S);
        early.change(at, change);
        prop_assert_eq!(got, all(early));
    }

    #[test]
    fn walks_stay_between_floor_and_ceiling(floor in 0.0..500.0, span in 0.0..1_000.0, seed in any::<u64>()) {
        let spec = spec(walk(floor, floor + span), 1_200 * S, Share::whole());
        let (t, same) = (Timeline::new(&spec, seed), Timeline::new(&spec, seed));
        for second in 0..1_200 {
            let rate = t.wanted(second * S, (second + 1) * S);
            prop_assert!(rate >= floor - 1e-6 && rate <= floor + span + 1e-6, "{} at {}", rate, second);
            prop_assert_eq!(rate.to_bits(), same.wanted(second * S, (second + 1) * S).to_bits());
        }
    }

    #[test]
    fn wanted_adds_up_to_what_is_taken(model in any_model(), cut in 0..2 * S) {
        let mut t = timeline(model.clone(), 2 * S);
        let all_wanted = t.wanted(0, cut) + t.wanted(cut, 2 * S);
        prop_assert!((all_wanted - t.wanted(0, 2 * S)).abs() < 1e-6);
        let taken = t.take_due(cut) + t.take_due(u64::MAX);
        prop_assert_eq!(taken, all(timeline(model, 2 * S)).len() as u64);
    }
}

#[test]
fn a_change_brings_no_arrival_back_that_the_total_left_out() {
    // 11.46 wanted: ⌊11.46⌋ come, and a twelfth at position 11 does not, though a change lies behind it.
    let model = open(3.82, Arrivals::Even);
    let at = 2_900_000_000;
    let mut slower = timeline(model.clone(), 3 * S);
    slower.change(at, Change::Rate(0.0));
    assert_eq!(all(slower).len(), 11);
    // What a later change asks for comes after it.
    let mut longer = timeline(model, 3 * S);
    longer.change(at, Change::ExtendTo(6 * S));
    let arrivals = all(longer);
    assert_eq!((arrivals.len(), arrivals[11].intended_ns), (22, at));
}

#[test]
fn a_billionth_arrival_has_not_drifted() {
    let share = Share::new(1_000_000_000, &[0], 0, 1);
    let mut t = Timeline::new(&spec(open(99_999.0, Arrivals::Even), 20_000 * S, share), 7);
    t.pop();
    let a = t.pop().unwrap();
    assert_eq!(a.k, 1_000_000_000);
    let exact = 1_000_000_000_u128 * u128::from(S) / 99_999;
    assert!(exact.abs_diff(u128::from(a.intended_ns)) < 1_000, "{} ns, expected {exact}", a.intended_ns);
}

#[test]
fn even_arrivals_are_spaced_by_the_rate() {
    let times: Vec<u64> = all(timeline(open(4.0, Arrivals::Even), S)).iter().map(|a| a.intended_ns).collect();
    assert_eq!(times, [0, S / 4, S / 2, 3 * S / 4]);
}

#[test]
fn bursts_come_at_one_instant_and_keep_the_rate() {
    let arrivals = all(timeline(open(10.0, Arrivals::Burst { size: 4 }), S));
    let times: Vec<u64> = arrivals.iter().map(|a| a.intended_ns / 1_000_000).collect();
    assert_eq!(times, [0, 0, 0, 0, 400, 400, 400, 400, 800, 800]);
}

/// Mean and variance of the gaps, in units of the mean gap.
fn moments(arrivals: Arrivals) -> (f64, f64) {
    let times: Vec<f64> =
        all(timeline(open(1_000.0, arrivals), 200 * S)).iter().map(|a| a.intended_ns as f64 / 1e6).collect();
    let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    (mean, gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64)
}

#[test]
fn poisson_gaps_are_exponential() {
    let (mean, variance) = moments(Arrivals::Poisson);
    assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
}

#[test]
fn chaotic_gaps_keep_the_rate_and_spread_wider() {
    let (mean, variance) = moments(Arrivals::Chaotic);
    assert!((mean - 1.0).abs() < 0.03 && variance > 3.0, "{mean} {variance}");
}

#[test]
fn another_seed_gives_another_sequence() {
    let spec = spec(open(100.0, Arrivals::Poisson), 2 * S, Share::whole());
    let times = |seed| all(Timeline::new(&spec, seed)).iter().map(|a| a.intended_ns).collect::<Vec<_>>();
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
}

#[test]
fn scenarios_follow_their_weights() {
    let arrivals = all(timeline(open(10_000.0, Arrivals::Even), 4 * S));
    let first = arrivals.iter().filter(|a| a.scenario == 0).count() as f64 / arrivals.len() as f64;
    assert!((first - 0.75).abs() < 0.01, "{first}");
}

#[test]
fn draws_of_a_seed_never_change() {
    let got: Vec<u64> = (0..3).map(|n| draw(7, 2, Stream::Gap, n)).collect();
    assert_eq!(got, GOLDEN, "what a seed reproduces is part of the contract with users");
}
const GOLDEN: [u64; 3] = [12_094_554_582_491_782_127, 5_747_967_845_037_432_358, 1_032_841_413_336_295_524];

#[test]
fn a_pause_is_not_caught_up() {
    let mut t = timeline(open(10.0, Arrivals::Even), 3 * S);
    t.change(S, Change::Pause);
    assert_eq!(all(t.clone()).len(), 10);
    t.change(2 * S, Change::Resume);
    let times: Vec<u64> = all(t).iter().map(|a| a.intended_ns / 1_000_000).collect();
    assert_eq!(times.len(), 20);
    assert_eq!((times[9], times[10], times[19]), (900, 2_000, 2_900));
}

#[test]
fn a_ramp_down_ends_the_phase() {
    let mut t = timeline(open(100.0, Arrivals::Even), 60 * S);
    t.change(S, Change::RampDown(2 * S));
    assert!(t.ended(3 * S) && !t.ended(3 * S - 1));
    t.change(S, Change::ExtendTo(90 * S));
    assert!(t.ended(3 * S), "nothing changes after a ramp-down");
    assert_eq!(all(t).len(), 200);
}

#[test]
fn rate_factor_and_extension_act_from_their_offset() {
    let mut t = timeline(open(10.0, Arrivals::Even), 2 * S);
    t.change(S, Change::Rate(20.0));
    assert_eq!(all(t.clone()).len(), 30);
    t.change(S, Change::Factor(0.5));
    assert_eq!(all(t.clone()).len(), 20);
    t.change(S, Change::ExtendTo(4 * S));
    assert_eq!(all(t.clone()).len(), 40);
    t.change(3 * S, Change::Factor(1.0));
    assert_eq!(all(t).len(), 50);
}

#[test]
fn an_extended_walk_walks_on() {
    let mut t = timeline(walk(0.0, 100.0), 30 * S);
    let before = t.wanted(0, 30 * S);
    t.change(25 * S, Change::ExtendTo(100 * S));
    assert!((t.wanted(0, 30 * S) - before).abs() < 1e-6);
    let rates: Vec<f64> = (3..10).map(|n| t.wanted(n * 10 * S, (n + 1) * 10 * S)).collect();
    assert!(rates.windows(2).any(|w| (w[0] - w[1]).abs() > 1.0), "{rates:?}");
}

#[test]
fn walks_hold_a_fifth_of_their_rate_in_connections() {
    let t = timeline(walk(0.0, 500.0), 60 * S);
    for n in 0..60 {
        let rate = t.wanted(n * S, n * S + S / 2) * 2.0;
        let expected = ((rate / 5.0 - 1e-9).ceil() as u32).clamp(1, 200);
        assert!(t.connections_at(n * S).abs_diff(expected) <= 1);
    }
    assert_eq!(timeline(open(10.0, Arrivals::Even), S).connections_at(0), 200);
}

#[test]
fn users_of_a_closed_model_ramp_and_are_shared() {
    let mut whole = timeline(closed(10, 110, 10), 20 * S);
    let got: Vec<u32> = [0, 5, 10, 19, 20].iter().map(|s| whole.users_at(s * S)).collect();
    assert_eq!(got, [10, 60, 110, 110, 0]);
    let halves = [0, 1]
        .map(|i| Timeline::new(&spec(closed(10, 110, 10), 20 * S, Share::new(1, &[0], i, 2)), 7).users_at(S));
    assert_eq!(halves, [10, 10]);
    whole.change(12 * S, Change::Rate(500.0));
    assert_eq!(whole.users_at(13 * S), 200, "no more than the phase has");
    whole.change(14 * S, Change::RampDown(2 * S));
    assert!((90..=110).contains(&whole.users_at(15 * S).min(110)));
    assert_eq!(whole.users_at(16 * S), 0);
    assert!(whole.peek().is_none());
}

#[test]
fn turns_are_numbered_by_user_and_turn_alone() {
    let numbers = |threads: u32| {
        let mut k: Vec<u64> = (0..threads)
            .flat_map(|i| {
                let t = Timeline::new(&spec(closed(200, 200, 0), S, Share::new(1, &[0], i, threads)), 7);
                (0..t.users_at(0)).flat_map(move |u| [t.turn(u, 0, 0).unwrap().k, t.turn(u, 1, 0).unwrap().k])
            })
            .collect();
        k.sort_unstable();
        k
    };
    assert_eq!(numbers(1), (0..400).collect::<Vec<_>>());
    assert_eq!(numbers(1), numbers(3));
}

fn assignment(epoch: u32, share: Share) -> Assignment {
    let own = u32::try_from(share.count_below(200)).unwrap();
    Assignment { epoch, share, connections: own, users: own }
}

proptest! {
    #[test]
    fn a_share_that_changes_hands_is_sent_once_whenever_it_is_heard_of(
        model in any_model(),
        at in 0..5 * S,
        heard_before in 0..2 * S,
        back_after in 0..2 * S,
    ) {
        let thirds = |stripes: &[u32]| Share::new(3, stripes, 0, 1);
        let whole = all(timeline(model.clone(), 5 * S));
        let mut workers: Vec<Timeline> =
            (0..3).map(|i| Timeline::new(&spec(model.clone(), 5 * S, thirds(&[i])), 7)).collect();
        let mut sent: Vec<Arrival> = Vec::new();
        let until = |timeline: &mut Timeline, ns: u64, sent: &mut Vec<Arrival>| {
            while timeline.peek().is_some_and(|arrival| arrival.intended_ns < ns) {
                sent.extend(timeline.pop());
            }
        };
        // Each hears at another time, but none after it takes effect.
        for (i, timeline) in workers.iter_mut().enumerate() {
            until(timeline, at.saturating_sub(heard_before / (i as u64 + 1)), &mut sent);
        }
        // The third worker's stripe goes to the others by halves, and comes back.
        let [mut first, mut second, mut third]: [Timeline; 3] = workers.try_into().unwrap();
        let back = at + back_after;
        for (epoch, at, shares) in [
            (1, at, [Share::new(6, &[0, 3, 2], 0, 1), Share::new(6, &[1, 4, 5], 0, 1), Share::new(1, &[], 0, 1)]),
            (2, back, [thirds(&[0]), thirds(&[1]), thirds(&[2])]),
        ] {
            for (timeline, share) in [&mut first, &mut second, &mut third].into_iter().zip(shares) {
                timeline.reassign(at, &assignment(epoch, share));
            }
        }
        for timeline in [first, second, third] {
            sent.extend(all(timeline));
        }
        sent.sort_by_key(|arrival| arrival.k);
        prop_assert_eq!(sent, whole);
    }
}

#[test]
fn users_of_a_lost_worker_go_on_with_turns_that_nobody_had() {
    let third = |stripe: u32| Share::new(3, &[stripe], 0, 1);
    let mut t = Timeline::new(&spec(closed(9, 9, 0), 20 * S, third(0)), 7);
    let active = |t: &Timeline, at: u64| t.active_members(at).collect::<Vec<_>>();
    assert_eq!(active(&t, 0), [0, 1, 2]);
    t.reassign(5 * S, &assignment(1, Share::new(6, &[0, 3, 2], 0, 1)));
    assert_eq!(active(&t, 4 * S), [0, 1, 2]);
    // 67 of the 200 that may be are its own; those that come stand behind them.
    assert_eq!(active(&t, 5 * S), [0, 1, 2, 67, 68], "users 2 and 8 have come");
    let number = |t: &Timeline, place: u32, turn: u64| t.turn(place, turn, 0).unwrap().k;
    assert_eq!((number(&t, 1, 4), number(&t, 67, 0) % 200), (4 * 200 + 3, 2));
    let first = number(&t, 67, 0);
    assert!(first > 200 << 20 && first < 1 << 40);
    t.reassign(8 * S, &assignment(2, third(0)));
    assert_eq!(active(&t, 9 * S), [0, 1, 2], "and have gone back");
    t.reassign(10 * S, &assignment(3, Share::new(6, &[0, 3, 2], 0, 1)));
    assert_eq!(active(&t, 11 * S), [0, 1, 2, 67, 68], "and come again, to the same places");
    assert!(number(&t, 67, 0) > first);
}

proptest! {
    /// Weights 1, 2 and 3, each on two threads, until the lightest leaves: each arrival is sent once, and in any stretch of
    /// arrivals in between each worker has its share within two, in any six exactly.
    #[test]
    fn weighted_shares_hold_in_every_stretch_and_change_hands_without_loss(
        shape in shape(),
        rate in 1.0..2_000.0_f64,
        at in 0..2 * S,
    ) {
        let before = [&[3][..], &[1, 4], &[0, 2, 5]].map(|stripes| (6, stripes, stripes.len() as u64));
        let after = [(5, &[][..], 0), (5, &[1, 3], 2), (5, &[0, 2, 4], 3)];
        let whole = all(timeline(open(rate, shape), 2 * S));
        let mut owned: Vec<(u64, usize)> = Vec::new();
        let border = {
            let mut counted = timeline(open(rate, shape), 2 * S);
            counted.take_due(at)
        };
        for (worker, ((count, stripes, _), (later_count, later, _))) in before.iter().zip(&after).enumerate() {
            for thread in 0..2 {
                let mut own = Timeline::new(&spec(open(rate, shape), 2 * S, Share::new(*count, stripes, thread, 2)), 7);
                own.reassign(at, &assignment(1, Share::new(*later_count, later, thread, 2)));
                owned.extend(all(own).into_iter().map(|arrival| (arrival.k, worker)));
            }
        }
        owned.sort_unstable();
        prop_assert_eq!(owned.iter().map(|(k, _)| *k).collect::<Vec<_>>(), whole.iter().map(|a| a.k).collect::<Vec<_>>());
        let workers: Vec<usize> = owned.into_iter().map(|(_, worker)| worker).collect();
        // A burst at the border itself is of either side.
        let border = usize::try_from(border).unwrap();
        let first = &workers[..border.saturating_sub(20)];
        let second = workers.get(border + 20..).unwrap_or_default();
        for (stretch, weights) in [(first, before.map(|(.., w)| w)), (second, after.map(|(.., w)| w))] {
            let all: u64 = weights.iter().sum();
            for length in [1, 5, 6, 30, 100] {
                for window in stretch.windows(length) {
                    for (worker, weight) in weights.iter().enumerate() {
                        let had = window.iter().filter(|of| **of == worker).count() as u64 * all;
                        let off = had.abs_diff(weight * length as u64);
                        let allowed = if (length as u64).is_multiple_of(all) { 0 } else { 2 * all - 1 };
                        prop_assert!(off <= allowed, "worker {worker}: {had} in {length}");
                    }
                }
            }
        }
    }
}
