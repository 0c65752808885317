//! The same seed breaks the same.

use protocol::event::Event;
use protocol::faults::PlannedFault;

use crate::lab::{Lab, fault};
use crate::target::ask;

const CONNECTIONS: usize = 12;

/// What a run planned and did, and which connections its toxic hit.
async fn run(seed: u64) -> (Vec<PlannedFault>, Vec<String>, Vec<(u64, bool)>) {
    let lines = "latency = \"1ms\"\nshare = 0.5\nmode = \"all\"";
    let faults = [
        fault("slow", "latency", "100ms", "20s", lines),
        fault("hangs", "pause", "200ms", "1s", ""),
        fault("drawn", "pause", "", "1s", "times = 3"),
    ];
    let lab = Lab::seeded(seed, &faults.concat()).await;
    let opened = lab.open().await;
    lab.begin().await;
    lab.injected("slow").await;
    lab.ended("hangs").await;
    let way = &opened.detours[0].address;
    for _ in 0..CONNECTIONS {
        ask(way, std::time::Duration::from_secs(20)).unwrap();
    }
    let client = fault_proxy::client::Client::new(&opened.proxy_url, Some(&opened.proxy_token)).unwrap();
    let draws = client.draws("shop-0").await.unwrap();
    assert_eq!(draws.seed, seed);
    let hits = draws.connections.iter().map(|one| (one.number, one.toxics["slow"].hits)).collect();
    lab.end("enough").await;
    let (mut planned, mut told) = (Vec::new(), Vec::new());
    for event in lab.events() {
        match event {
            Event::FaultsPlanned { faults, .. } => planned.extend(faults),
            Event::FaultBeginning { fault } => {
                told.push(format!("{} hits {}", fault.fault, fault.victims.len()));
            }
            _ => {}
        }
    }
    for fault in &mut planned {
        // Ports are the system's to choose; which of the two it is, is not.
        for victim in &mut fault.victims {
            let index = lab.targets.iter().position(|target| victim.contains(target.as_str()));
            if let Some(index) = index {
                *victim = index.to_string();
            }
        }
    }
    lab.close().await;
    (planned, told, hits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_breaks_the_same() {
    let (first, second, another) = (run(7).await, run(7).await, run(8).await);
    assert_eq!(first, second);
    assert_eq!(first.0.len(), 5);
    assert_eq!(first.2.len(), CONNECTIONS);
    assert_ne!(first.0, another.0);
    assert_ne!(first.2, another.2);
}
