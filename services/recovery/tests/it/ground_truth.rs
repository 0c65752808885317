//! Seeded faults with healthy stretches between them: each is found, with its cause, and nothing else is.
//!
//! `GAUNTLET_GROUND_TRUTH_FAULTS=50` makes it fifty faults at probes of one second and of five.

use std::time::Duration;

use fault_proxy::ToxicInput;
use fault_proxy::toxic::{Attributes, Stream, Timeout};
use platform::Platform as _;
use protocol::event::Event;

use crate::rig::{Rig, Setup, id, name, opened, unix_ns};

/// What was measured of one fault, milliseconds.
struct Found {
    recipe: &'static str,
    /// From the fault to the incident.
    detected: u64,
    /// From the fault to the first good probe.
    healthy: u64,
}

/// A seeded generator: that of Steele, Lea and Flood.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ground_truth() {
    match std::env::var("GAUNTLET_GROUND_TRUTH_FAULTS") {
        Ok(faults) => {
            let faults = faults.parse().unwrap();
            measure(faults, 1, Duration::from_secs(2)).await;
            measure(faults, 5, Duration::from_secs(6)).await;
        }
        Err(_) => measure(3, 1, Duration::from_secs(60)).await,
    }
}

/// So many faults at probes of so many seconds; 95 of 100 are to be found within `most`.
async fn measure(faults: u64, seconds: u64, most: Duration) {
    let recovery = format!("interval = \"{seconds}s\"\nrestarts = 1000");
    let rig = Rig::start(Setup { instances: 2, proxy: true, recovery, ..Setup::default() }).await;
    let mut draws = Draws(seconds);
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for number in 0..faults {
        // All kinds come, also where there are few.
        let recipe = ["kill", "pause", "partition"][usize::try_from((number + draws.below(2)) % 3).unwrap()];
        let victim = usize::try_from(draws.below(2)).unwrap();
        // A healthy stretch, so that the fault comes anywhere between two probes.
        let stretch = Duration::from_millis(seconds * 1_000 + draws.below(seconds * 1_000));
        let stretch_ends = tokio::time::Instant::now() + stretch;
        rig.until("a healthy stretch", |view| {
            tokio::time::Instant::now() >= stretch_ends && view.targets[0].healthy
        })
        .await;
        let fault = format!("{recipe}#{number}");
        match one(&rig, &fault, recipe, victim).await {
            Ok(measured) => found.push(measured),
            Err(why) => wrong.push(why),
        }
    }
    rig.until("all is well", |view| view.targets[0].healthy).await;
    rig.end_phase(1).await;
    let told = rig.told();
    let incidents = opened(&told).len();
    let explained =
        told.iter().filter(|told| matches!(&told.event, Event::IncidentClosed { fault: Some(_), .. }));
    let false_ones = incidents - explained.count();
    let detected = percentiles(found.iter().map(|found| found.detected));
    let healthy = percentiles(found.iter().filter(|found| found.recipe == "kill").map(|found| found.healthy));
    println!(
        "probes of {seconds} s: {} of {faults} faults found with the right cause, {incidents} incidents, {false_ones} false; \
         detection p50/p95/max {detected:?} ms; kill to healthy p50/p95/max {healthy:?} ms",
        found.len()
    );
    assert_eq!(wrong, [""; 0]);
    assert!(false_ones <= 1, "{false_ones} incidents without a fault: {told:#?}");
    assert!(u128::from(detected[1]) < most.as_millis(), "95 of 100 within {most:?}: {detected:?}");
    assert!(healthy[1] < 10_000, "kill to healthy: {healthy:?}");
    rig.end().await;
}

/// One fault, from its beginning until the target is well again.
async fn one(rig: &Rig, fault: &str, recipe: &'static str, victim: usize) -> Result<Found, String> {
    let process = id(&name(victim));
    let url = format!("http://127.0.0.1:{}", rig.ports[victim]);
    let known_as = if recipe == "partition" { url } else { name(victim) };
    let client = rig.proxy.as_ref().unwrap().client();
    let proxy = format!("shop-{victim}");
    rig.beginning(fault, recipe, &known_as).await;
    let before = rig.told().len();
    match recipe {
        "kill" => {
            rig.platform.kill(&process).await.unwrap();
        }
        "pause" => rig.platform.pause(&process).await.unwrap(),
        _ => {
            let toxic = ToxicInput::new("cut", &Attributes::Timeout(Timeout { timeout: 0 })).on(Stream::Both);
            client.add_toxic(&proxy, &toxic).await.unwrap();
        }
    }
    let injected = unix_ns();
    rig.injected(fault).await;
    let (at, incident, detected) = rig
        .wait_for(&format!("an incident for {fault}"), |told| {
            told.iter().skip(before).find_map(|told| match &told.event {
                Event::IncidentOpened { incident, detected_after_ms, .. } => {
                    Some((told.at_unix_ns, incident.clone(), *detected_after_ms))
                }
                _ => None,
            })
        })
        .await;
    if recipe == "partition" {
        client.remove_toxic(&proxy, "cut").await.unwrap();
        rig.ended(fault).await;
    }
    let closed = rig.closed(&incident).await;
    if recipe != "partition" {
        rig.ended(fault).await;
    }
    let Event::IncidentClosed { fault: cause, recovered_after_ms, .. } = closed else { unreachable!() };
    if cause.as_deref() != Some(fault) {
        let told = rig.told();
        return Err(format!("{fault}: the cause of {incident} is said to be {cause:?}: {told:#?}"));
    }
    let since = u64::try_from(at.saturating_sub(injected) / 1_000_000).unwrap_or(0);
    Ok(Found { recipe, detected: detected.unwrap_or(since), healthy: since + recovered_after_ms })
}

/// p50, p95 and the largest; 0 of none.
fn percentiles(values: impl Iterator<Item = u64>) -> [u64; 3] {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0)
    };
    [at(50), at(95), at(100)]
}
