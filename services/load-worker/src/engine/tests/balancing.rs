//! Several endpoints: which one a request goes to, and which ones are out.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plan::model::{Balance, OutlierDetection};
use protocol::v1;
use sandbox::abi;

use super::rig::{Rig, endpoint, fire, rate, target, until, wait_for};
use super::server::{Act, Server, ok};
use crate::schedule::{Stream, draw};
use crate::spec::{EngineCommand, EngineEvent, PhaseSpec, TargetSpec, ThreadSpec};

const GRACE: Duration = Duration::from_secs(20);
/// A part that is not in the way of a test.
const LONG: Duration = Duration::from_secs(600);

fn answering() -> Server {
    Server::start(|_, _| Act::Reply(ok("")))
}

/// A rig with these servers as endpoints of its target.
fn rig(servers: &[&Server], tweak: impl FnOnce(&mut ThreadSpec)) -> Rig {
    let endpoints = servers.iter().map(|server| endpoint(server.addr)).collect();
    Rig::with(endpoints, vec![fire(|_| {})], tweak)
}

fn balanced(balance: Balance) -> impl FnOnce(&mut ThreadSpec) {
    move |spec| spec.targets[0].balance = balance
}

fn open(server: &Server) -> usize {
    server.seen.open.load(Ordering::SeqCst)
}

/// Phase 1 without arrivals, until all connections are there; then phase 2 with a load.
fn run(rig: &Rig, servers: &[&Server], connections: u32, arrivals: f64) -> v1::ArrivalCounts {
    let mut spec = sized(rig, 0.001, LONG, connections);
    rig.begin(&spec);
    let each = connections as usize / servers.len();
    wait_for("all connections", || servers.iter().all(|server| open(server) == each));
    rig.end(1, GRACE);
    spec = PhaseSpec { phase: 2, ..sized(rig, arrivals / 0.4, Duration::from_millis(400), connections) };
    rig.run(&spec, GRACE)
}

fn sized(rig: &Rig, per_second: f64, duration: Duration, connections: u32) -> PhaseSpec {
    PhaseSpec {
        connections,
        total_connections: connections,
        users: connections,
        total_users: connections,
        capacity: connections,
        ..rig.phase(rate(per_second), duration)
    }
}

/// Which server each arrival went to, as the servers saw it.
fn went(servers: &[&Server]) -> BTreeMap<u64, usize> {
    let mut went = BTreeMap::new();
    for (number, server) in servers.iter().enumerate() {
        for head in server.seen.heads.lock().unwrap().iter() {
            let path = head.split(' ').nth(1).unwrap();
            let k = path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(went.insert(k, number), None, "arrival {k} came twice");
        }
    }
    went
}

#[test]
fn a_random_endpoint_follows_from_seed_and_arrival() {
    for batch in [64, 1] {
        let servers = [answering(), answering(), answering()];
        let servers: Vec<&Server> = servers.iter().collect();
        let rig = rig(&servers, |spec| {
            spec.targets[0].balance = Balance::Random;
            spec.batch = batch;
        });
        // So many that none is ever passed over.
        let counts = run(&rig, &servers, 120, 40.0);
        assert_eq!((counts.scheduled, counts.answered), (40, 40));
        let expected = (0..40).map(|k| {
            let drawn = draws::at(draw(7, 2, Stream::Endpoint, k), 0) >> 32;
            (k, usize::try_from((drawn * 3) >> 32).unwrap())
        });
        assert_eq!(went(&servers), expected.collect());
    }
}

#[test]
fn who_answers_slowly_gets_less_where_what_is_in_use_counts() {
    for balance in [Balance::LeastConnections, Balance::PowerOfTwo] {
        let (quick, slow) = (answering(), Server::start(|_, _| Act::Gate(ok(""))));
        let rig = rig(&[&quick, &slow], balanced(balance));
        let mut spec = sized(&rig, 100.0, Duration::from_millis(600), 40);
        rig.begin(&spec);
        spec.duration += Duration::from_millis(300);
        until(spec.t0 + spec.duration);
        slow.gate.open();
        let (counts, _) = rig.end(1, GRACE);
        assert_eq!((counts.scheduled, counts.answered), (60, 60));
        let (quick, slow) = (quick.requests(), slow.requests());
        assert!(slow >= 1 && slow < quick / 2, "{balance:?}: {quick} and {slow}");
    }
}

#[test]
fn an_endpoint_that_refuses_fails_its_part_of_the_load() {
    let server = answering();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = Rig::new(vec![endpoint(server.addr), endpoint(dead)], vec![fire(|_| {})]);
    rig.begin(&rig.phase(rate(0.001), LONG));
    wait_for("a refusal", || rig.samples().threads[0].connect_failures > 0);
    rig.end(1, GRACE);
    let spec = PhaseSpec { phase: 2, ..rig.phase(rate(100.0), Duration::from_millis(200)) };
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered + counts.failed), (20, 20));
    assert!((8..=12).contains(&counts.failed), "{counts:?}");
    assert_eq!(rig.samples().series[0].errors[0].class, "connect");
}

fn ejecting(base_ejection: Duration) -> impl FnOnce(&mut ThreadSpec) {
    move |spec| {
        let detection = OutlierDetection { consecutive_failures: 3, base_ejection, max_ejected: 0.5 };
        spec.targets[0] = TargetSpec {
            outlier_detection: Some(detection),
            ..target(std::mem::take(&mut spec.targets[0].endpoints))
        };
    }
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_ejected() {
    let error = || b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (well, ill) = (answering(), Server::start(move |_, _| Act::Reply(error())));
    let rig = rig(&[&well, &ill], ejecting(LONG));
    let spec = rig.phase(rate(100.0), Duration::from_millis(400));
    rig.begin(&spec);
    match rig.next() {
        EngineEvent::Ejection { target: 0, endpoint: 1, ejected: Some((3, LONG)), .. } => {}
        other => panic!("{other:?}"),
    }
    wait_for("its places to be the other's", || open(&ill) == 0 && open(&well) == 4);
    until(spec.t0 + spec.duration + Duration::from_millis(300));
    let (counts, others) = rig.end(1, GRACE);
    assert_eq!((counts.scheduled, counts.answered, others.len()), (40, 40, 0));
    // Those that were under way then may have been more.
    let (well, ill) = (well.requests(), ill.requests());
    assert!((3..=5).contains(&ill) && well + ill == 40, "{well} and {ill}");
}

#[test]
fn an_ejection_ends() {
    let failures = Arc::new(AtomicUsize::new(0));
    let so_far = Arc::clone(&failures);
    let ill = Server::start(move |_, _| {
        if so_far.fetch_add(1, Ordering::SeqCst) < 3 { Act::Reset } else { Act::Reply(ok("")) }
    });
    let well = answering();
    let rig = Rig::with(
        vec![endpoint(well.addr), endpoint(ill.addr)],
        // Such a request is not sent a second time.
        vec![fire(|request: &mut abi::Request| request.method = super::rig::POST)],
        ejecting(Duration::from_millis(200)),
    );
    rig.begin(&rig.phase(rate(100.0), LONG));
    assert!(matches!(rig.next(), EngineEvent::Ejection { endpoint: 1, ejected: Some(_), .. }));
    assert!(matches!(rig.next(), EngineEvent::Ejection { endpoint: 1, ejected: None, .. }));
    let before = ill.requests();
    wait_for("requests to it again", || ill.requests() > before + 3);
    assert_eq!((open(&well), open(&ill)), (2, 2));
    rig.end(1, GRACE);
}

#[test]
fn an_unhealthy_endpoint_is_out_until_it_is_healthy() {
    let (a, b) = (answering(), answering());
    let rig = rig(&[&a, &b], |_| {});
    rig.begin(&rig.phase(rate(200.0), LONG));
    let say = |endpoint, healthy| {
        assert!(rig.handle.send(EngineCommand::Health { target: 0, endpoint, healthy }));
    };
    wait_for("all connections", || (open(&a), open(&b)) == (2, 2));
    say(1, false);
    wait_for("the one to have all", || (open(&a), open(&b)) == (4, 0));
    let before = (a.requests(), b.requests());
    wait_for("load", || a.requests() > before.0 + 10);
    assert_eq!(b.requests(), before.1);
    // None is healthy: all are used.
    say(0, false);
    wait_for("both", || (open(&a), open(&b)) == (2, 2) && b.requests() > before.1 + 10);
    say(1, true);
    wait_for("the other", || (open(&a), open(&b)) == (0, 4));
    say(0, true);
    wait_for("both again", || (open(&a), open(&b)) == (2, 2));
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.failed, counts.cancelled), (0, 0), "{counts:?}");
}

#[test]
fn a_users_own_connection_stays_with_its_endpoint() {
    let (a, b) = (answering(), answering());
    let guest = fire(|request: &mut abi::Request| request.connection = abi::Connection::Own);
    let rig = Rig::new(vec![endpoint(a.addr), endpoint(b.addr)], vec![guest]);
    rig.begin(&rig.phase(rate(200.0), LONG));
    wait_for("all users", || a.requests() >= 10 && b.requests() >= 10);
    assert!(rig.handle.send(EngineCommand::Health { target: 0, endpoint: 1, healthy: false }));
    let before = b.requests();
    wait_for("more of them", || b.requests() > before + 10);
    assert_eq!((a.connections(), b.connections()), (2, 2));
    rig.end(1, GRACE);
}

#[test]
fn connections_are_opened_no_faster_than_the_plan_allows() {
    let server = answering();
    let rig = rig(&[&server], |spec| spec.connect_rate = 50);
    let begun = Instant::now();
    // The first 64 come at once.
    let spec = PhaseSpec { users: 4, capacity: 8, ..sized(&rig, 0.001, LONG, 164) };
    rig.begin(&spec);
    wait_for("all connections", || open(&server) == 164);
    assert!(begun.elapsed() > Duration::from_millis(1_900), "{:?}", begun.elapsed());
    rig.end(1, GRACE);
}
