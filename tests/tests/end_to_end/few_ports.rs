//! A host whose local ports do not suffice: that is foreseen where it can be, and never blamed on the target.

use std::net::TcpStream;
use std::time::Duration;

use gauntlet_tests::core::Core;
use gauntlet_tests::network::{self, Network, Side};
use gauntlet_tests::{Beside, gauntlet};

use crate::plans::{OnePhase, assert_closes, phase};

/// Does something in a network namespace of its own that has so many local ports.
fn with_ports(ports: u16, work: impl FnOnce()) {
    match Network::new() {
        Ok(network) => network.inside(Side::Near, || {
            let range = format!("40000 {}", 40_000 + ports - 1);
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
            work();
        }),
        Err(why) => network::skipped("few local ports, by a network namespace (run as root)", &why),
    }
}

#[test]
fn more_connections_than_local_ports_are_refused_with_the_sum() {
    with_ports(60, || {
        let dir = Beside::new();
        let core = Core::start(dir.path(), "{}");
        let plan = OnePhase::new(&core.url(), "rate = 50\nduration = \"2s\"\nconnections = 90").text();
        let ended = gauntlet::start_run(dir.path(), &plan, &[]).wait(Duration::from_secs(60)).expect(3);
        let said = &ended.stderr;
        assert!(said.contains("baseline holds 90 connections to 127.0.0.1:"), "{said}");
        assert!(said.contains("this host has 60 ports"), "{said}");
        assert!(said.contains("sysctl -w net.ipv4.ip_local_port_range"), "{said}");
    });
}

#[test]
fn requests_without_a_local_port_are_the_generators_fault() {
    with_ports(60, || {
        let dir = Beside::new();
        // Answers of half a second, so that more than half of the connections are wanted.
        let core = Core::start(dir.path(), r#"{ "latency": { "kind": "fixed", "ms": 500 } }"#);
        let others = (0..30).map(|_| TcpStream::connect(("127.0.0.1", core.port)).unwrap());
        let _others: Vec<TcpStream> = others.collect();
        let mut plan = OnePhase::new(&core.url(), "rate = 100\nduration = \"3s\"\nconnections = 60");
        plan.step = r#"{ name = "home", get = "/items/1" }"#.to_owned();
        plan.validity = String::new();
        let ended =
            gauntlet::start_run(dir.path(), &plan.text(), &[]).wait(Duration::from_secs(60)).expect(98);
        let summary = ended.summary();
        let phase = phase(&summary);
        let failures = phase["failures"].to_string();
        assert!(failures.contains("exhausted") && !failures.contains("connect"), "{failures}");
        let rules = phase["validity"].to_string();
        assert!(rules.contains("that failed for want of a port"), "{rules}");
        assert_closes(phase);
    });
}
