//! A worker on a network of its own, between which and NATS the cable is pulled.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::link::Link;
use gauntlet_tests::network::{self, Network, Side};
use gauntlet_tests::suite::{Parts, Suite};
use test_servers::nats::Nats;
use test_servers::postgres::{Postgres, Settings};

use crate::deployed::{arrivals, assert_cut_off, finished, numbered, pass, running_history, until_in_phase};

#[test]
fn a_worker_whose_cable_to_nats_is_pulled_sends_nothing_that_others_send_and_comes_back() {
    match Network::new() {
        Ok(network) => network.inside(Side::Near, || pulled(&network)),
        Err(why) => network::skipped("the partition by network namespaces (run as root)", &why),
    }
}

fn pulled(network: &Network) {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    // The target stays in reach of all workers: what stops the one that is cut off is its lease alone.
    let target = Link::between(network::KEPT, core.port, None);
    let nats = Nats::configured(|home, listen| {
        // On all addresses, of which none is known outside the two namespaces; who was cut off is told of no other way.
        let (port, cut, home) = (listen.port(), network::CUT, home.display());
        format!(
            "listen: \"0.0.0.0:{port}\"\nclient_advertise: \"{cut}:{port}\"\njetstream {{ store_dir: \"{home}/jetstream\" }}\n"
        )
    });
    let postgres = Some(Postgres::start(Settings::default()));
    let mut suite = Suite::of(dir.path(), 2, Parts { nats: Some(nats), postgres, ..Parts::default() });
    let url = format!("--nats-url=nats://{}:{}", network::CUT, suite.nats.port());
    network.inside(Side::Far, || suite.add("worker-3", &["--threads=1", &url]));
    let target_url = format!("http://{}:{}", network::KEPT, target.port);
    let plan = numbered(&target_url, "rate = 300\nduration = \"18s\"\nconnections = 30").text();
    let running = suite.start_run(dir.path(), &plan);
    until_in_phase(&running, Duration::from_secs(3));
    network.cut();
    pass(Duration::from_secs(10));
    network.mend();
    let summary = finished(&suite, &running.wait(Duration::from_secs(60)), 0);
    assert_cut_off(&summary, &arrivals(core), 18 * 300, &running_history(dir.path()));
}
