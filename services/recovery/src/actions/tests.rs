//! Which step comes next.

use super::*;

const ALL: [Strategy; 3] = [Strategy::Restart, Strategy::Failover, Strategy::ShedLoad];

fn facts() -> Facts {
    Facts {
        restartable: vec![0, 1],
        has_process: true,
        restarts_left: 5,
        leadable: vec![0, 1],
        led: false,
        in_phase: true,
        pause: Duration::from_secs(1),
    }
}

#[test]
fn strategies_come_in_the_plans_order_and_restarts_again_ever_later() {
    let (mut progress, now) = (Progress::default(), Instant::now());
    let at = |ms| now + Duration::from_millis(ms);
    let act = |strategy, instances: &[usize]| vec![Step::Act(strategy, instances.to_vec())];
    assert_eq!(progress.next(&ALL, &facts(), at(0)), act(Strategy::Restart, &[0, 1]));
    assert_eq!(progress.next(&ALL, &facts(), at(1)), act(Strategy::Failover, &[0, 1]));
    assert_eq!(progress.next(&ALL, &facts(), at(2)), act(Strategy::ShedLoad, &[]));
    assert_eq!(progress.next(&ALL, &facts(), at(999)), []);
    assert_eq!(progress.next(&ALL, &facts(), at(1_000)), act(Strategy::Restart, &[0, 1]));
    assert_eq!(progress.next(&ALL, &facts(), at(2_999)), []);
    assert_eq!(progress.next(&ALL, &facts(), at(3_000)), act(Strategy::Restart, &[0, 1]));
}

#[test]
fn what_is_not_possible_is_told_once() {
    let (mut progress, now) = (Progress::default(), Instant::now());
    let cut = Facts { restartable: Vec::new(), leadable: Vec::new(), in_phase: false, ..facts() };
    let steps = progress.next(&ALL, &cut, now);
    assert_eq!(steps.len(), 3);
    assert!(
        matches!(&steps[0], Step::NotPossible(Strategy::Restart, why) if why.starts_with("the instance answers directly"))
    );
    assert_eq!(progress.next(&ALL, &cut, now), []);
    // Once it does not answer directly any more, it is restarted after all.
    let act = Step::Act(Strategy::Restart, vec![0]);
    assert_eq!(progress.next(&ALL, &Facts { restartable: vec![0], ..cut }, now), [act]);
}

#[test]
fn a_restart_loop_ends_with_the_last_restart_that_is_left() {
    let (mut progress, now) = (Progress::default(), Instant::now());
    let one = Facts { restarts_left: 1, ..facts() };
    assert_eq!(progress.next(&[Strategy::Restart], &one, now), [Step::Act(Strategy::Restart, vec![0])]);
    let none = Facts { restarts_left: 0, ..facts() };
    let steps = progress.next(&[Strategy::Restart], &none, now + LONGEST_PAUSE);
    assert!(
        matches!(steps.as_slice(), [Step::NotPossible(Strategy::Restart, why)] if why.starts_with("no restart is left"))
    );
    let foreign = Facts { has_process: false, ..facts() };
    let steps = Progress::default().next(&[Strategy::Restart], &foreign, now);
    assert!(
        matches!(steps.as_slice(), [Step::NotPossible(Strategy::Restart, why)] if why.starts_with("no process of the plan"))
    );
}
