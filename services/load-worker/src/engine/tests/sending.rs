//! Requests that become due together, written together or one by one.

use std::collections::BTreeSet;
use std::time::Duration;

use plan::model::{Arrivals, LoadModel};

use super::rig::{Rig, endpoint, fire};
use super::server::{Act, Server, ok};

const GRACE: Duration = Duration::from_secs(20);

#[test]
fn what_is_due_together_is_sent_once_each_with_io_uring_and_without() {
    for io_uring in [true, false] {
        // A third of the connections does not take a second request.
        let server = Server::start(|connection, n| match (connection % 3, n) {
            (0, 1) => Act::Reset,
            _ => Act::Reply(ok("")),
        });
        let mut rig =
            Rig::with(vec![endpoint(server.addr)], vec![fire(|_| {})], |spec| spec.io_uring = io_uring);
        let burst = Arrivals::Burst { size: 50 };
        let model = LoadModel::Open { start_rate: 200.0, rate: 200.0, ramp: Duration::ZERO, arrivals: burst };
        let mut phase = rig.phase(model, Duration::from_secs(1));
        (phase.connections, phase.total_connections) = (50, 50);
        (phase.users, phase.total_users, phase.capacity) = (50, 50, 50);
        let counts = rig.run(&phase, GRACE);
        assert_eq!((counts.scheduled, counts.dropped, counts.waiting, counts.cancelled), (200, 0, 0, 0));
        let sample = rig.samples();
        assert_eq!(sample.series[0].requests, 200, "io_uring {io_uring}: each is counted as sent once");
        let heads = server.seen.heads.lock().unwrap();
        let lines: Vec<&str> = heads.iter().filter_map(|head| head.lines().next()).collect();
        assert!(lines.iter().all(|line| line.starts_with("GET /") && line.ends_with(" HTTP/1.1")));
        let numbers: BTreeSet<&str> = lines.iter().filter_map(|line| line.rsplit('/').nth(1)).collect();
        assert_eq!(numbers.len(), 200, "io_uring {io_uring}: {lines:?}");
        // Some were sent again, on another connection, after a reset.
        let again = lines.len() - 200;
        assert!(
            counts.failed as usize + again > 0 && counts.failed as usize + again <= 60,
            "{counts:?}, {again}"
        );
    }
}
