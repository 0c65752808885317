use proptest::prelude::*;

use super::*;

/// Load threads, and what one of them does.
const fn measured(load_threads: u32, thread_speed: f64) -> Strength {
    Strength { load_threads, weight: None, thread_speed: Some(thread_speed) }
}

const fn set(weight: f64) -> Strength {
    Strength { load_threads: 1, weight: Some(weight), thread_speed: None }
}

fn counts(weights: &[u32]) -> Vec<usize> {
    segments(weights).iter().map(|segment| segment.stripes.len()).collect()
}

#[test]
fn one_worker_owns_the_only_stripe() {
    assert_eq!(segments(&[700]), vec![v1::Segment { stripe_count: 1, stripes: vec![0] }]);
    assert_eq!(segments(&[]), Vec::new());
}

#[test]
fn shares_follow_weights_and_stripes_interleave() {
    let parts = segments(&[400, 200, 200]);
    assert_eq!(
        parts.iter().map(|part| part.stripes.clone()).collect::<Vec<_>>(),
        [vec![0, 3], vec![1], vec![2]]
    );
    assert!(parts.iter().all(|part| part.stripe_count == 4));
    assert_eq!(counts(&[100, 300]), [1, 3]);
    assert_eq!(counts(&[125, 100, 250]), [5, 4, 10]);
}

#[test]
fn speeds_that_differ_by_noise_are_one_speed() {
    // An even fleet stays even, in each run, however the measurements come out.
    let even = [measured(2, 480e3), measured(2, 430e3), measured(2, 495e3), measured(2, 530e3)];
    assert_eq!(weights(&even), [200; 4]);
    // Load threads count as ever.
    assert_eq!(weights(&[measured(1, 480e3), measured(3, 430e3)]), [100, 300]);
    // Beyond noise, in quarters of the slowest: 2.08, 2.5 and 1.25 times as fast.
    assert_eq!(weights(&[measured(1, 480e3), measured(2, 1_000e3)]), [100, 400]);
    assert_eq!(weights(&[measured(1, 200e3), measured(1, 500e3), measured(1, 255e3)]), [100, 250, 125]);
}

#[test]
fn what_settings_say_holds_and_who_did_not_measure_counts_as_the_slowest() {
    assert_eq!(weights(&[set(1.0), set(3.0), set(0.25)]), [100, 300, 25]);
    let silent = Strength { load_threads: 4, ..Strength::default() };
    assert_eq!(weights(&[silent, measured(1, 300e3), measured(1, 900e3), set(2.5)]), [400, 100, 300, 250]);
    assert_eq!(weights(&[Strength::default(), measured(1, f64::MIN_POSITIVE)]), [100, 100]);
    assert_eq!(weights(&[measured(1, 1.0), measured(1, 1e9)]), [100, 6_400]);
    assert_eq!(weights(&[set(1e300), set(1e-300)]), [100_000_000, 1]);
}

#[test]
fn heartbeats_that_say_nothing_or_nonsense_say_nothing() {
    let beat = |weight, thread_speed| {
        Strength::of(&v1::Heartbeat { load_threads: 2, weight, thread_speed, ..v1::Heartbeat::default() })
    };
    let nothing = Strength { load_threads: 2, ..Strength::default() };
    assert_eq!(beat(0.0, 0.0), nothing);
    assert_eq!(beat(f64::NAN, f64::INFINITY), nothing);
    assert_eq!(beat(-1.0, 5.0), Strength { thread_speed: Some(5.0), ..nothing });
}

#[test]
fn many_stripes_are_rounded_and_everybody_keeps_one() {
    let parts = segments(&[100_000_000, 1, 33_333_333]);
    let counts: Vec<_> = parts.iter().map(|part| part.stripes.len()).collect();
    assert_eq!(counts, [3_072, 1, 1_024]);
    assert_eq!(parts[0].stripe_count, 4_097);
    assert_eq!(segments(&vec![1; 5_000]).len(), 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each stripe has one owner; among the first n numbers each has its share within one, so within two among any that
    /// follow each other, and exactly among `stripe_count` of them.
    #[test]
    fn every_number_has_one_owner_and_shares_hold_at_any_length(
        weights in prop::collection::vec(prop_oneof![1_u32..=4, 1_u32..=40, Just(100), Just(300)], 1..12),
    ) {
        let parts = segments(&weights);
        let all = parts[0].stripe_count as usize;
        let mut owner = vec![usize::MAX; all];
        for (worker, part) in parts.iter().enumerate() {
            prop_assert_eq!(part.stripe_count as usize, all);
            for stripe in &part.stripes {
                prop_assert_eq!(std::mem::replace(&mut owner[*stripe as usize], worker), usize::MAX);
            }
        }
        prop_assert!(owner.iter().all(|worker| *worker != usize::MAX));
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut had = vec![0_u64; weights.len()];
        for n in 0..2 * all {
            had[owner[n % all]] += 1;
            for (worker, weight) in weights.iter().enumerate() {
                // |had − share × n| < 1, in whole numbers.
                let (had, due) = (had[worker] * sum, u64::from(*weight) * (n as u64 + 1));
                prop_assert!(had.abs_diff(due) < sum, "{weights:?}: worker {worker} at {n}");
            }
        }
    }
}
