//! A thread whose lease ends, and what it sends when it is assigned a share again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rig::{Rig, endpoint, fire, rate, stalling, until, wait_for};
use super::server::{Act, Server, ok};
use crate::lease::Lease;
use crate::schedule::Share;
use crate::spec::{Assignment, EngineCommand, EngineEvent};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_lease_that_ends_cuts_off_once_and_an_assignment_ends_that() {
    let requests = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&requests);
    let server = Server::start(move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
        Act::Reply(ok(""))
    });
    let lease = Lease::for_now(MS(20));
    let kept = lease.clone();
    let rig = Rig::with(vec![endpoint(server.addr)], vec![fire(|_| {})], |spec| spec.lease = lease);
    // It ended once before the phase.
    until(kept.base() + MS(30));
    kept.renew(Instant::now(), MS(400), Instant::now());
    let spec = rig.phase(rate(500.0), Duration::from_secs(60));
    rig.begin(&spec);
    let EngineEvent::CutOff { phase: 1, epoch: 0, offset_ns, .. } = rig.next() else { panic!("not cut off") };
    let ended = kept.base() + Duration::from_nanos(kept.term().until);
    assert_eq!(offset_ns, u64::try_from((ended - spec.t0).as_nanos()).unwrap());
    // Long after, and renewed, it neither sends nor is cut off anew.
    until(ended + MS(100));
    let sent = requests.load(Ordering::SeqCst);
    kept.renew(Instant::now(), Duration::from_secs(60), Instant::now());
    until(ended + MS(200));
    assert_eq!(requests.load(Ordering::SeqCst), sent);
    let assignment = Assignment { epoch: 3, share: Share::whole(), connections: 4, users: 4 };
    let at_offset_ns = u64::try_from((spec.t0.elapsed() + MS(50)).as_nanos()).unwrap();
    assert!(rig.handle.send(EngineCommand::Reassign { phase: 1, at_offset_ns, assignment }));
    wait_for("requests again", || requests.load(Ordering::SeqCst) > sent + 50);
    let (counts, others) = rig.end(1, MS(100));
    assert!(others.is_empty(), "{others:?}");
    // What was due in between is nobody's: not counted as scheduled here.
    assert!(counts.scheduled <= requests.load(Ordering::SeqCst) + 4, "{counts:?}");
}

#[test]
fn a_lease_that_ends_while_the_thread_is_away_leaves_it_what_was_due_before() {
    // Away from 100 to 700 ms of the phase; the lease ends in between.
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let lease = Lease::for_now(MS(500));
    let ends = lease.base() + MS(500);
    let guest = stalling(100, MS(600), &Arc::default());
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| spec.lease = lease);
    let mut spec = rig.phase(rate(1_000.0), Duration::from_secs(60));
    spec.t0 = ends - MS(400);
    (spec.connections, spec.users, spec.capacity) = (64, 512, 512);
    rig.begin(&spec);
    let EngineEvent::CutOff { offset_ns, .. } = rig.next() else { panic!("not cut off") };
    assert_eq!(offset_ns, 400_000_000);
    wait_for("what was due before", || server.requests() == 400);
    // Twice as long as catching up takes.
    until(spec.t0 + MS(1_300));
    let (counts, _) = rig.end(1, Duration::from_secs(20));
    assert_eq!((counts.scheduled, counts.answered, server.requests()), (400, 400, 400));
}
