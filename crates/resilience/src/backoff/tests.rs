use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn waits(settings: Settings, draw: u64) -> Vec<u128> {
    let mut backoff = Backoff::new(settings);
    std::iter::from_fn(|| backoff.next(None, draw)).map(|wait| wait.as_millis()).collect()
}

#[test]
fn the_defaults_are_three_retries_with_full_jitter() {
    let expected = Settings { base: MS * 500, cap: MS * 8_000, jitter: Jitter::Full, retries: 3 };
    assert_eq!(Settings::default(), expected);
}

#[test]
fn ceilings_double_up_to_the_cap() {
    let settings = Settings { base: MS * 100, cap: MS * 1_000, retries: 6, ..Settings::default() };
    let (least, most) = (0, u64::MAX);
    assert_eq!(waits(settings, most), [100, 200, 400, 800, 1_000, 1_000]);
    assert_eq!(waits(settings, least), [0; 6]);
    let equal = Settings { jitter: Jitter::Equal, ..settings };
    assert_eq!(waits(equal, most), [100, 200, 400, 800, 1_000, 1_000]);
    assert_eq!(waits(equal, least), [50, 100, 200, 400, 500, 500]);
    let decorrelated = Settings { jitter: Jitter::Decorrelated, ..settings };
    assert_eq!(waits(decorrelated, most), [300, 900, 1_000, 1_000, 1_000, 1_000]);
    assert_eq!(waits(decorrelated, least), [100; 6]);
}

#[test]
fn what_the_callee_asks_for_is_a_floor_with_the_drawn_wait_on_top() {
    let settings = Settings { base: MS * 100, cap: MS * 100, ..Settings::default() };
    let asked = Duration::from_secs(45);
    assert_eq!(Backoff::new(settings).next(Some(asked), 0), Some(asked));
    assert_eq!(Backoff::new(settings).next(Some(asked), u64::MAX), Some(asked + MS * 100));
}

#[test]
fn no_retries_is_none_at_all() {
    let mut backoff = Backoff::new(Settings { retries: 0, ..Settings::default() });
    assert_eq!((backoff.next(None, 1), backoff.retried()), (None, 0));
}

#[test]
fn full_jitter_is_even() {
    let settings = Settings { base: MS * 10, cap: MS * 10, ..Settings::default() };
    let mut tenths = [0_u32; 10];
    for n in 0..10_000 {
        let wait = Backoff::new(settings).next(None, draws::at(7, n)).unwrap();
        tenths[usize::try_from(wait.as_nanos() / 1_000_001).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
}

proptest! {
    #[test]
    fn waits_stay_within_their_bounds_and_are_a_function_of_the_draws(
        base_ms in 0..5_000_u32,
        cap_ms in 0..60_000_u32,
        retries in 0..70_u32,
        jitter in prop_oneof![Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::Decorrelated)],
        key in any::<u64>(),
        asked in prop::option::of(0..100_000_u32),
    ) {
        let settings = Settings { base: MS * base_ms, cap: MS * cap_ms, jitter, retries };
        let asked = asked.map(|milliseconds| MS * milliseconds);
        let floor = asked.unwrap_or_default();
        let mut backoff = Backoff::new(settings);
        let mut again = Backoff::new(settings);
        for n in 0..retries {
            let wait = backoff.next(asked, draws::at(key, u64::from(n))).unwrap();
            prop_assert!(floor <= wait && wait <= floor + settings.cap, "{wait:?}");
            if jitter == Jitter::Equal {
                let ceiling = settings.cap.min(settings.base * 2_u32.pow(n.min(16)));
                prop_assert!(wait >= floor + ceiling / 2);
            }
            prop_assert_eq!(Some(wait), again.next(asked, draws::at(key, u64::from(n))));
        }
        prop_assert_eq!(backoff.next(asked, 0), None);
        prop_assert_eq!(backoff.retried(), retries);
    }
}
