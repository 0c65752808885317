use super::*;

const SECOND: u64 = 1_000_000_000;

fn call(breaker: &Breaker, ok: bool, now_ns: u64) -> bool {
    match breaker.admit(now_ns) {
        Ok(permit) => {
            permit.done(ok, now_ns);
            true
        }
        Err(_) => false,
    }
}

fn opened() -> Breaker {
    let breaker = Breaker::new(Settings::default());
    (0..5).for_each(|_| assert!(call(&breaker, false, 0)));
    breaker
}

#[test]
fn the_defaults_are_those_of_the_requirements() {
    let settings = Settings::default();
    assert_eq!((settings.failures, settings.probes), (5, 3));
    assert_eq!(settings.open_for, Duration::from_secs(30));
}

#[test]
fn five_failures_in_a_row_open_it() {
    let breaker = Breaker::new(Settings::default());
    for _ in 0..3 {
        (0..4).for_each(|_| assert!(call(&breaker, false, 0)));
        assert!(call(&breaker, true, 0), "a success starts the count anew");
    }
    assert_eq!((breaker.state(), breaker.opened()), (0, 0));
    (0..5).for_each(|_| assert!(call(&breaker, false, 0)));
    assert_eq!((breaker.state(), breaker.opened()), (1, 1));
}

#[test]
fn open_it_refuses_for_thirty_seconds() {
    let breaker = opened();
    assert_eq!(breaker.admit(10 * SECOND).unwrap_err(), Duration::from_secs(20));
    assert!(!call(&breaker, true, 30 * SECOND - 1));
    assert_eq!(breaker.refused(), 2);
    assert!(call(&breaker, true, 30 * SECOND));
}

#[test]
fn three_good_probes_close_it() {
    let breaker = opened();
    for probe in 0..3 {
        assert_eq!(breaker.closed(), 0, "closed after {probe} probes");
        assert!(call(&breaker, true, 31 * SECOND));
    }
    assert_eq!((breaker.state(), breaker.closed()), (0, 1));
}

#[test]
fn one_bad_probe_opens_it_again() {
    let breaker = opened();
    assert!(call(&breaker, true, 31 * SECOND));
    assert!(call(&breaker, false, 31 * SECOND));
    assert_eq!((breaker.state(), breaker.opened()), (1, 2));
    assert!(!call(&breaker, true, 60 * SECOND));
}

#[test]
fn half_open_it_lets_three_probes_through_at_once() {
    let breaker = opened();
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(31 * SECOND).unwrap()).collect();
    assert_eq!(breaker.admit(31 * SECOND).unwrap_err(), Duration::ZERO);
    drop(probes);
    assert!(breaker.admit(31 * SECOND).is_ok(), "abandoned probes give their places back");
}

#[test]
fn answers_to_old_calls_change_nothing() {
    let breaker = Breaker::new(Settings::default());
    let old = breaker.admit(0).unwrap();
    (0..5).for_each(|_| assert!(call(&breaker, false, 0)));
    old.done(true, SECOND);
    assert_eq!(breaker.state(), 1);
}

#[test]
fn zero_failures_switch_it_off() {
    let breaker = Breaker::new(Settings { failures: 0, ..Settings::default() });
    (0..100).for_each(|_| assert!(call(&breaker, false, 0)));
    assert_eq!(breaker.opened(), 0);
}
