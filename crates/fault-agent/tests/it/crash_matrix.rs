//! Whatever is killed at whatever moment: after a lease and five seconds, nothing of ours is in effect.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use fault_agent::{Action, CheckOptions, Clock, Take, check};
use platform::identity::Signal;

use crate::actions::with_clock;
use crate::controller::{Controller, Orders, ours};
use crate::session::{Session, pass, signal, state};
use crate::wire::place;

const LEASE: Duration = Duration::from_secs(1);
/// What the issue grants beyond the lease.
const GRANTED: Duration = Duration::from_secs(5);
/// How long faults are held if nothing happens.
const HOLD: Duration = Duration::from_millis(700);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Controller,
    ControllerHangs,
    Agent,
    AgentHangs,
    Guardian,
    GuardianHangs,
    AgentAndGuardian,
    AgentHangsAndGuardian,
    ControllerAndAgent,
    ControllerAndGuardian,
}

const KINDS: [Kind; 10] = [
    Kind::Controller,
    Kind::ControllerHangs,
    Kind::Agent,
    Kind::AgentHangs,
    Kind::Guardian,
    Kind::GuardianHangs,
    Kind::AgentAndGuardian,
    Kind::AgentHangsAndGuardian,
    Kind::ControllerAndAgent,
    Kind::ControllerAndGuardian,
];

#[test]
fn crash_matrix() {
    let moments =
        std::env::var("GAUNTLET_CRASH_MOMENTS").ok().map_or(KINDS.len(), |text| text.parse().unwrap());
    let seed = std::env::var("GAUNTLET_CRASH_SEED").ok().map_or(4, |text| text.parse().unwrap());
    let mut draw = Draw(seed);
    let mut worst: BTreeMap<Kind, (usize, Duration)> = BTreeMap::new();
    for moment in 0..moments {
        let kind = KINDS[moment % KINDS.len()];
        let step = ["inject", "hold", "undo"][draw.below(3) as usize];
        let after = Duration::from_millis(draw.below(250));
        println!("{moment}: {kind:?} {} ms after {step}", after.as_millis());
        let took = one(kind, step, after).unwrap_or_else(|left| {
            panic!("{moment}: {kind:?} {after:?} after {step} (seed {seed}) left {left:#?}")
        });
        let entry = worst.entry(kind).or_default();
        *entry = (entry.0 + 1, entry.1.max(took));
    }
    let figures: Vec<String> = worst
        .iter()
        .map(|(kind, (count, worst))| format!("{kind:?} {count} × ≤ {} ms", worst.as_millis()))
        .collect();
    println!(
        "crash matrix: {moments} of {moments} moments clean, lease {} ms: {}",
        LEASE.as_millis(),
        figures.join(", ")
    );
}

/// One moment; returns how long after it nothing was left, or what was.
fn one(kind: Kind, step: &str, after: Duration) -> Result<Duration, Vec<String>> {
    let (temp, dir) = place();
    let (paused, killed, clock) = (Session::start(), Session::start(), temp.path().join("clock"));
    let skewed = with_clock(temp.path(), &clock);
    let target = temp.path().join("target");
    fs::create_dir(&target).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = vec![
        ("pause", Action::Pause { victims: vec![paused.id.clone()] }),
        ("cpu", Action::Cpu { threads: 1 }),
        ("kill", Action::Kill { victims: vec![killed.id.clone()] }),
        ("memory", Action::Memory { bytes: 24 << 20 }),
        (
            "clock",
            Action::Clock {
                clocks: vec![Clock { victim: skewed.id.clone(), file: Some(clock.clone()) }],
                offset_ms: 3_600_000,
            },
        ),
        ("disk", Action::Disk { directory: target.clone(), take: Take::Bytes(4 << 20) }),
        ("pause-too", Action::Pause { victims: vec![skewed.id.clone()] }),
        ("connections", Action::Connections { address: listener.local_addr().unwrap(), count: 8 }),
    ];
    let mut orders =
        Orders::new(&dir, faults.into_iter().map(|(id, action)| (id.to_owned(), action)).collect());
    orders.lease_ms = u64::try_from(LEASE.as_millis()).unwrap();
    orders.hold_ms = u64::try_from(HOLD.as_millis()).unwrap();
    let mut controller = Controller::start(&orders);
    controller.until(step);
    pass(after);
    let (agent, guardian) = controller.processes();
    let began = Instant::now();
    match kind {
        Kind::Controller => controller.kill(),
        Kind::ControllerHangs => signal(&controller.id(), Signal::STOP),
        Kind::Agent => signal(&agent, Signal::KILL),
        Kind::AgentHangs => signal(&agent, Signal::STOP),
        Kind::Guardian => signal(&guardian, Signal::KILL),
        Kind::GuardianHangs => signal(&guardian, Signal::STOP),
        Kind::AgentAndGuardian => {
            signal(&guardian, Signal::KILL);
            signal(&agent, Signal::KILL);
        }
        Kind::AgentHangsAndGuardian => {
            signal(&agent, Signal::STOP);
            signal(&guardian, Signal::KILL);
        }
        Kind::ControllerAndAgent => {
            signal(&agent, Signal::KILL);
            controller.kill();
        }
        Kind::ControllerAndGuardian => {
            signal(&guardian, Signal::KILL);
            controller.kill();
        }
    }
    let options = CheckOptions {
        disks: vec![target.clone(), temp.path().to_owned()],
        victims: vec![paused.id.clone(), skewed.id.clone()],
        clocks: vec![clock.clone()],
    };
    let look = || {
        let mut left: Vec<String> = check(&dir, &options).unwrap().iter().map(ToString::to_string).collect();
        // And once more without any of the checker's code.
        left.extend(ours(&dir).into_iter().filter(|(_, line)| line.contains(" hog ")).map(|(_, line)| line));
        // An agent or guardian that hangs is to be replaced.
        left.extend(
            ours(&dir).into_iter().filter(|(id, _)| state(id.pid) == Some('T')).map(|(_, line)| line),
        );
        let stopped = [&paused, &skewed].map(Session::states).concat().contains('T');
        left.extend(stopped.then(|| "a victim is stopped".to_owned()));
        let skew = fs::read_to_string(&clock).unwrap();
        left.extend((skew != "+0\n").then(|| format!("the clock is {skew}")));
        left.extend((fs::read_dir(&target).unwrap().count() > 0).then(|| "the disk has a file".to_owned()));
        left
    };
    let took = until_nothing(began, look)?;
    // A controller that woke up, or lives, ends; so does all that worked for it.
    if kind == Kind::ControllerHangs {
        signal(&controller.id(), Signal::KILL);
    } else {
        controller.end();
    }
    until_nothing(Instant::now(), || {
        let mut left = look();
        left.extend(ours(&dir).into_iter().map(|(_, line)| line));
        left
    })?;
    Ok(took)
}

/// How long after `began` nothing is left for the first time, if that is in time.
fn until_nothing(began: Instant, look: impl Fn() -> Vec<String>) -> Result<Duration, Vec<String>> {
    let mut last = Vec::new();
    loop {
        let left = look();
        let took = began.elapsed();
        if left.is_empty() {
            println!("  {} ms, last: {last:?}", took.as_millis());
            return Ok(took);
        }
        last.clone_from(&left);
        if took > LEASE + GRANTED {
            return Err(left);
        }
        pass(Duration::from_millis(10));
    }
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
