use proptest::prelude::*;

use super::*;

#[test]
fn the_defaults_are_one_in_ten_and_ten_at_once() {
    assert_eq!(Settings::default(), Settings { percent: 10, reserve: 10 });
}

#[test]
fn the_reserve_is_used_up_and_requests_pay_for_more() {
    let mut budget = Budget::new(Settings { percent: 10, reserve: 2 });
    assert_eq!([budget.retry(), budget.retry(), budget.retry()], [true, true, false]);
    (0..9).for_each(|_| budget.request());
    assert!(!budget.retry(), "nine requests pay for no whole retry");
    budget.request();
    assert!(budget.retry());
    assert_eq!((budget.refused(), budget.left()), (2, 0));
}

#[test]
fn no_more_is_saved_up_than_the_reserve() {
    let mut budget = Budget::new(Settings { percent: 100, reserve: 3 });
    (0..1_000).for_each(|_| budget.request());
    assert_eq!(budget.left(), 3);
    assert!(!Budget::new(Settings { percent: 100, reserve: 0 }).retry());
}

proptest! {
    /// In every stretch, not only from the start.
    #[test]
    fn retries_never_exceed_the_reserve_and_the_share(
        steps in prop::collection::vec(any::<bool>(), 1..300),
        percent in 0..150_u32,
        reserve in 0..20_u32,
    ) {
        let mut budget = Budget::new(Settings { percent, reserve });
        let mut made = Vec::new();
        for is_request in steps {
            if is_request {
                budget.request();
            }
            made.push((is_request, !is_request && budget.retry()));
        }
        for begin in 0..made.len() {
            let (mut requests, mut retries) = (0_u32, 0_u32);
            for (is_request, retried) in &made[begin..] {
                requests += u32::from(*is_request);
                retries += u32::from(*retried);
                prop_assert!(retries * 100 <= reserve * 100 + requests * percent);
            }
        }
    }
}
