//! Faults end by the agent's own timers, whatever the controller does not do.

use std::time::{Duration, Instant};

use fault_agent::{Action, How, Reply, Request};

use crate::session::{PATIENCE, Session};
use crate::wire::{Wire, clean, place};

#[test]
fn the_duration_ends_a_fault() {
    let (_temp, dir) = place();
    let session = Session::start();
    let mut wire = Wire::start(&dir);
    let action = Action::Pause { victims: vec![session.id.clone()] };
    let injected = wire.try_inject("p", action, 300).unwrap();
    let ended = wire.ended("p");
    assert_eq!(ended.how, How::Duration);
    assert!(ended.at_ms >= injected.at_ms + 300, "{injected:?} {ended:?}");
    assert!(session.runs());
    clean(&dir);
}

#[test]
fn the_duration_of_a_hog_counts_from_when_it_is_in_effect() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let injected = wire.try_inject("c", Action::Cpu { threads: 1 }, 200).unwrap();
    let ended = wire.ended("c");
    assert_eq!(ended.how, How::Duration);
    assert!(ended.at_ms >= injected.at_ms + 200, "{injected:?} {ended:?}");
    clean(&dir);
}

#[test]
fn a_controller_that_lives_and_is_silent_loses_its_faults() {
    let (_temp, dir) = place();
    let session = Session::start();
    let mut wire = Wire::with(&dir, &["--lease", "1000"]);
    wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    wire.inject("c", Action::Cpu { threads: 1 });
    for _ in 0..2 {
        let ended = wire.until(|reply| match reply {
            Reply::Ended(ended) => Some(ended),
            _ => None,
        });
        assert_eq!(ended.how, How::Lease);
    }
    assert!(session.runs());
    clean(&dir);
    // The agent goes on, and so could its controller.
    wire.ask(&Request::Renew);
    wire.until(|reply| (reply == Reply::Renewed).then_some(()));
}

#[test]
fn renewed_leases_hold_and_a_fault_may_have_its_own() {
    let (_temp, dir) = place();
    let mut wire = Wire::with(&dir, &["--lease", "1500"]);
    wire.inject("long", Action::Cpu { threads: 1 });
    let (id, action) = ("short".to_owned(), Action::Cpu { threads: 1 });
    wire.ask(&Request::Inject { id, action, duration_ms: 600_000, lease_ms: Some(600) });
    let began = Instant::now();
    let mut ended = Vec::new();
    while began.elapsed() < Duration::from_secs(4) {
        wire.ask(&Request::Renew);
        // Often enough for the one, not for the other.
        let pause = if ended.is_empty() { Duration::from_millis(1000) } else { Duration::from_millis(200) };
        let over = wire.within(pause, |reply| match reply {
            Reply::Ended(over) => Some(over),
            _ => None,
        });
        ended.extend(over);
    }
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!((ended[0].id.as_str(), ended[0].how), ("short", How::Lease));
    assert_eq!(wire.ended("long").how, How::Lease);
    assert!(began.elapsed() < PATIENCE);
    clean(&dir);
}
