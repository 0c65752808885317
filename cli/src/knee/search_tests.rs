//! The search against synthetic targets whose knee is known.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { start: 10.0, max: 100_000.0, precision: 0.05 };

/// Runs a search to its end against a target.
fn search(limits: &Limits, mut target: impl FnMut(Purpose, f64) -> Found) -> Vec<Tried> {
    let mut tried = Vec::new();
    while let Next::Stage { purpose, rate } = next(limits, &tried) {
        tried.push(Tried { purpose, rate, found: target(purpose, rate) });
        assert!(tried.len() <= most_stages(limits) + CONFIRMATIONS, "{tried:?}");
    }
    tried
}

/// Keeps everything up to `knee`.
fn up_to(knee: f64) -> impl FnMut(Purpose, f64) -> Found {
    move |_, rate| if rate <= knee { Found::Kept } else { Found::Broken }
}

fn rates(tried: &[Tried], purpose: Purpose) -> Vec<f64> {
    tried.iter().filter(|one| one.purpose == purpose).map(|one| one.rate).collect()
}

/// The rate that the last stage confirmed.
fn confirmed(tried: &[Tried]) -> Option<f64> {
    let last = tried.last()?;
    (last.purpose == Purpose::Confirm && last.found == Found::Kept).then_some(last.rate)
}

#[test]
fn it_rises_fails_twice_narrows_and_confirms() {
    let tried = search(&LIMITS, up_to(200.0));
    assert_eq!(rates(&tried, Purpose::Rise), [10.0, 20.0, 40.0, 80.0, 160.0, 320.0]);
    assert_eq!(rates(&tried, Purpose::Again), [320.0, 210.0]);
    assert_eq!(rates(&tried, Purpose::Narrow), [240.0, 200.0, 220.0, 210.0]);
    assert_eq!(rates(&tried, Purpose::Confirm), [200.0]);
    assert_eq!(Bounds::of(&tried), Bounds { kept: Some(200.0), failed: Some(210.0) });
    assert_eq!(contradictions(&tried), []);
}

#[test]
fn the_highest_rate_is_asked_for_and_none_above() {
    let limits = Limits { max: 500.0, ..LIMITS };
    let tried = search(&limits, up_to(1e9));
    assert_eq!(rates(&tried, Purpose::Rise), [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 500.0]);
    assert_eq!(confirmed(&tried), Some(500.0));
    assert_eq!(Bounds::of(&tried).failed, None);
}

#[test]
fn a_start_rate_that_fails_twice_ends_it() {
    let tried = search(&LIMITS, up_to(5.0));
    let found: Vec<(Purpose, f64)> = tried.iter().map(|one| (one.purpose, one.rate)).collect();
    assert_eq!(found, [(Purpose::Rise, 10.0), (Purpose::Again, 10.0)]);
    assert_eq!(Bounds::of(&tried), Bounds { kept: None, failed: Some(10.0) });
}

#[test]
fn one_bad_stage_in_the_rise_does_not_hide_the_knee() {
    let mut spoilt = false;
    let tried = search(&LIMITS, |_, rate| {
        if rate == 40.0 && !std::mem::replace(&mut spoilt, true) {
            return Found::Broken;
        }
        if rate <= 1_000.0 { Found::Kept } else { Found::Broken }
    });
    let knee = confirmed(&tried).unwrap();
    assert!((950.0..=1_000.0).contains(&knee), "{knee}");
    // Told, and by index: the stage that failed, and the one that passed at that rate.
    assert_eq!(contradictions(&tried), [(2, 3)]);
}

#[test]
fn a_bound_that_passes_when_tried_again_is_a_contradiction_and_the_search_goes_on_above() {
    // 210 is where the search ends for a knee of 200; its first failure was noise.
    let mut spoilt = false;
    let tried = search(&LIMITS, |_, rate| {
        if rate == 210.0 && !std::mem::replace(&mut spoilt, true) {
            return Found::Broken;
        }
        if rate <= 212.0 { Found::Kept } else { Found::Broken }
    });
    assert_eq!(confirmed(&tried), Some(210.0));
    assert_eq!(contradictions(&tried).len(), 1);
}

#[test]
fn a_longer_stage_that_fails_is_stepped_down_from_in_growing_steps() {
    let tried = search(&LIMITS, |purpose, rate| match purpose {
        Purpose::Confirm if rate > 150.0 => Found::Broken,
        _ if rate > 200.0 => Found::Broken,
        _ => Found::Kept,
    });
    assert_eq!(rates(&tried, Purpose::Confirm), [200.0, 191.0, 174.0, 145.0]);
    assert_eq!(Bounds::of(&tried), Bounds { kept: Some(160.0), failed: Some(174.0) });
    assert_eq!(contradictions(&tried), [], "a longer stage asks for more");
    let never = search(&LIMITS, |purpose, rate| {
        if purpose != Purpose::Confirm && rate <= 200.0 { Found::Kept } else { Found::Broken }
    });
    assert_eq!(rates(&never, Purpose::Confirm).len(), CONFIRMATIONS);
    assert_eq!(confirmed(&never), None);
}

#[test]
fn a_stage_that_the_generator_spoilt_is_repeated_at_once() {
    let mut spoilt = 0;
    let tried = search(&LIMITS, |purpose, rate| {
        // Of every rate, the first stage in the narrowing and in the confirmation.
        if matches!(purpose, Purpose::Narrow) || (purpose == Purpose::Confirm && spoilt < 1) {
            spoilt += usize::from(purpose == Purpose::Confirm);
            return Found::Generator;
        }
        if rate <= 200.0 { Found::Kept } else { Found::Broken }
    });
    assert_eq!(confirmed(&tried), Some(200.0));
    assert_eq!(contradictions(&tried), [], "a stage without a measurement contradicts nothing");
}

#[test]
fn a_generator_that_can_no_more_bounds_the_search() {
    let tried = search(&LIMITS, |_, rate| if rate <= 5_000.0 { Found::Kept } else { Found::Generator });
    let Bounds { kept: Some(kept), failed: Some(failed) } = Bounds::of(&tried) else { panic!("{tried:?}") };
    assert!(kept <= 5_000.0 && failed > 5_000.0 && close(&LIMITS, kept, failed), "{kept} {failed}");
    assert!(fails(&tried, failed) >= 2);
}

#[test]
fn a_generator_that_is_disturbed_is_given_time() {
    // 240 lies under 320, which was measured: it is repeated until it is, too.
    let mut spoilt = 0;
    let tried = search(&LIMITS, |_, rate| {
        if rate == 240.0 && spoilt < 3 {
            spoilt += 1;
            return Found::Generator;
        }
        if rate <= 250.0 { Found::Kept } else { Found::Broken }
    });
    assert_eq!(confirmed(&tried), Some(250.0));
    assert_eq!(spoilt, 3);
    // Without end, it is given up.
    let never = search(&LIMITS, |_, rate| match rate {
        240.0 => Found::Generator,
        rate if rate <= 250.0 => Found::Kept,
        _ => Found::Broken,
    });
    assert_eq!(spoilt_at(&never, 240.0), 4);
    assert!(confirmed(&never).unwrap() < 240.0);
}

fn spoilt_at(tried: &[Tried], rate: f64) -> usize {
    tried.iter().filter(|one| one.rate == rate && one.found == Found::Generator).count()
}

#[test]
fn a_target_that_fails_in_the_middle_only_is_told() {
    // 40/s fails always, 20/s and 80/s never: the rise ends at 40, so nothing above is seen. A start above sees nothing of it.
    let odd = |_, rate: f64| if rate == 40.0 || rate > 300.0 { Found::Broken } else { Found::Kept };
    let tried = search(&LIMITS, odd);
    assert!(confirmed(&tried).unwrap() < 40.0);
    // Where the failure lies under rates that were kept, it is named.
    let mut stages =
        vec![Tried { purpose: Purpose::Rise, rate: 80.0, found: Found::Kept }, tried[2], tried[3]];
    stages.push(Tried { purpose: Purpose::Confirm, rate: 80.0, found: Found::Kept });
    assert_eq!(contradictions(&stages), [(1, 0), (2, 0)]);
}

#[test]
fn rates_are_easily_read() {
    assert_eq!(between(160.0, 320.0), 240.0);
    assert_eq!(between(187.0, 190.0), 189.0);
    assert_eq!(between(100.0, 101.0), 100.5, "no whole number lies between");
    assert_eq!(readable(0.123_456), 0.1235);
    assert_eq!(readable(12.345_6), 12.35);
    assert_eq!(readable(387.5), 388.0);
}

/// Splitmix64 as a share, from a seed and a number.
fn draw(seed: u64, n: u64) -> f64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

proptest! {
    /// Without noise: the knee is under the hidden one by no more than the precision, in as many stages as are promised.
    #[test]
    fn it_finds_a_hidden_knee(
        start in 0.5_f64..200.0, above in 1.0_f64..2_000.0, top in 1.0_f64..5_000.0, precision in 0.01_f64..0.5,
    ) {
        let limits = Limits { start, max: start * top, precision };
        let knee = start * above;
        let tried = search(&limits, up_to(knee));
        prop_assert!(tried.iter().all(|one| one.rate > 0.0 && one.rate <= limits.max));
        let found = confirmed(&tried).unwrap();
        prop_assert!(found <= knee.min(limits.max));
        match Bounds::of(&tried).failed {
            Some(failed) => {
                prop_assert!(failed > knee && close(&limits, found, failed));
                prop_assert_eq!(fails(&tried, failed), 2, "the bound was seen twice");
            }
            None => prop_assert_eq!(found, limits.max),
        }
        prop_assert!(contradictions(&tried).is_empty());
    }

    /// With noise: a stage near the knee comes out by chance, and one in thirty anywhere does, too. The search ends within its
    /// promise, asks for nothing above the highest rate, and what it confirms lies within the noise.
    #[test]
    fn noise_moves_it_by_no_more_than_the_noise(
        seed in any::<u64>(), knee in 50.0_f64..50_000.0, width in 0.0_f64..0.2,
    ) {
        let mut n = 0;
        let mut outliers = 0;
        let tried = search(&LIMITS, |_, rate| {
            n += 1;
            let edge = knee * (1.0 + width * (draw(seed, 2 * n) - 0.5));
            let held = rate <= edge;
            let outlier = draw(seed, 2 * n + 1) < 1.0 / 30.0;
            outliers += usize::from(outlier);
            if held != outlier { Found::Kept } else { Found::Broken }
        });
        prop_assert!(tried.iter().all(|one| one.rate > 0.0 && one.rate <= LIMITS.max));
        if outliers == 0
            && let Some(found) = confirmed(&tried)
        {
            prop_assert!(found <= knee * (1.0 + width / 2.0), "{} for {}", found, knee);
            prop_assert!(found >= knee * (1.0 - width / 2.0) * 0.6, "{} for {}", found, knee);
        }
    }

    /// Whatever comes out, it ends, with every rate between nothing and the highest.
    #[test]
    fn it_ends_whatever_comes_out(seed in any::<u64>(), precision in 0.01_f64..0.5, top in 1.0_f64..10_000.0) {
        let limits = Limits { start: 10.0, max: 10.0 * top, precision };
        let mut n = 0;
        let tried = search(&limits, |_, _| {
            n += 1;
            match draw(seed, n) {
                x if x < 0.6 => Found::Kept,
                x if x < 0.85 => Found::Broken,
                _ => Found::Generator,
            }
        });
        prop_assert!(tried.iter().all(|one| one.rate > 0.0 && one.rate <= limits.max));
    }

    /// One outlier anywhere before the confirmation does not halve what is found.
    #[test]
    fn one_outlier_is_no_catastrophe(knee in 100.0_f64..50_000.0, at in 0_usize..30) {
        let mut n = 0;
        let tried = search(&LIMITS, |purpose, rate| {
            n += 1;
            let outlier = n == at && rate < knee && purpose != Purpose::Confirm;
            if rate <= knee && !outlier { Found::Kept } else { Found::Broken }
        });
        let found = confirmed(&tried).unwrap();
        prop_assert!(found <= knee && found >= 0.5 * knee, "{} for {}", found, knee);
    }
}
