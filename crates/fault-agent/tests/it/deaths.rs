//! Controller, agent and guardian die or hang: what was held is undone, by whoever is left.

use std::fs;

use fault_agent::{Action, CheckOptions, Clock, How, Reply, Take, check};
use platform::identity::Signal;

use crate::actions::with_clock;
use crate::controller::{Controller, Orders, ours};
use crate::session::{Session, eventually, signal, state};
use crate::wire::{Wire, clean, findings, place};

/// Pauses, hogs and a clock; what is left of them is looked for in three ways.
struct Held {
    temp: tempfile::TempDir,
    dir: std::path::PathBuf,
    paused: Session,
    skewed: Session,
}

impl Held {
    fn new() -> Self {
        let (temp, dir) = place();
        let skewed = with_clock(temp.path(), &temp.path().join("clock"));
        Self { temp, dir, paused: Session::start(), skewed }
    }

    fn inject(&self, wire: &mut Wire) {
        wire.inject("pause", Action::Pause { victims: vec![self.paused.id.clone()] });
        let file = Some(self.temp.path().join("clock"));
        let clocks = vec![Clock { victim: self.skewed.id.clone(), file }];
        wire.inject("clock", Action::Clock { clocks, offset_ms: 60_000 });
        wire.inject("cpu", Action::Cpu { threads: 1 });
        wire.inject("memory", Action::Memory { bytes: 1 << 20 });
        let directory = self.temp.path().to_owned();
        wire.inject("disk", Action::Disk { directory, take: Take::Bytes(1 << 20) });
        assert_eq!(self.paused.states(), "TTT");
    }

    fn clean(&self) {
        clean(&self.dir);
        assert!(self.paused.runs());
        assert_eq!(fs::read_to_string(self.temp.path().join("clock")).unwrap(), "+0\n");
        let options = CheckOptions {
            disks: vec![self.temp.path().to_owned()],
            victims: vec![self.paused.id.clone(), self.skewed.id.clone()],
            clocks: vec![self.temp.path().join("clock")],
        };
        assert_eq!(check(&self.dir, &options).unwrap(), []);
    }
}

#[test]
fn the_controller_hangs_up() {
    let held = Held::new();
    let mut wire = Wire::start(&held.dir);
    held.inject(&mut wire);
    assert_eq!(wire.hang_up(), Some(0));
    assert_eq!(findings(&held.dir), []);
    held.clean();
    // Nobody heard how they ended: the next controller does.
    let next = Wire::start(&held.dir);
    let mut told: Vec<_> = next
        .before
        .iter()
        .map(|reply| match reply {
            Reply::Ended(ended) => (ended.id.as_str(), ended.how),
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort_unstable_by_key(|(id, _)| *id);
    let expected = ["clock", "cpu", "disk", "memory", "pause"].map(|id| (id, How::ControllerGone));
    assert_eq!(told, expected);
}

#[test]
fn the_agent_is_killed() {
    for deadly in [Signal::KILL, Signal::TERM, Signal::ABORT] {
        let held = Held::new();
        let mut wire = Wire::start(&held.dir);
        held.inject(&mut wire);
        signal(&wire.agent, deadly);
        held.clean();
        // Dead and undone: the next agent tells it.
        let next = Wire::start(&held.dir);
        let pause = next.before.iter().find_map(|reply| match reply {
            Reply::Ended(ended) if ended.id == "pause" => Some(ended),
            _ => None,
        });
        assert_eq!(pause.map(|ended| ended.how), Some(How::AgentGone));
        assert_eq!(pause.unwrap().verified, "3 processes run");
    }
}

#[test]
fn the_agent_hangs() {
    let held = Held::new();
    let mut wire = Wire::with(&held.dir, &["--lease", "2000"]);
    held.inject(&mut wire);
    signal(&wire.agent, Signal::STOP);
    held.clean();
    assert!(!wire.agent.is_alive().unwrap(), "it may not wake up and go on");
    eventually("the guardian has ended", || (!wire.guardian.is_alive().unwrap()).then_some(()));
}

#[test]
fn the_guardian_dies_or_hangs_and_another_watches() {
    let held = Held::new();
    let mut wire = Wire::with(&held.dir, &["--lease", "600000"]);
    held.inject(&mut wire);
    let first = wire.guardian.clone();
    signal(&first, Signal::KILL);
    let second = wire.until(|reply| match reply {
        Reply::Guardian { guardian, why } => {
            assert!(why.starts_with("it died (signal: 9"), "{why}");
            Some(guardian)
        }
        _ => None,
    });
    assert_ne!(second, first);
    assert_eq!(held.paused.states(), "TTT", "nothing had to end");
    signal(&wire.agent, Signal::KILL);
    held.clean();

    let held = Held::new();
    let mut wire = Wire::with(&held.dir, &["--lease", "1500"]);
    signal(&wire.guardian, Signal::STOP);
    let (second, why) = wire.until(|reply| match reply {
        Reply::Guardian { guardian, why } => Some((guardian, why)),
        _ => None,
    });
    assert!(why.starts_with("it hung"), "{why}");
    assert!(!wire.guardian.is_alive().unwrap());
    wire.guardian = second;
    held.inject(&mut wire);
    signal(&wire.agent, Signal::KILL);
    held.clean();
}

#[test]
fn agent_and_guardian_are_killed_and_the_next_start_cleans() {
    let held = Held::new();
    let mut wire = Wire::start(&held.dir);
    held.inject(&mut wire);
    // The agent may not start another in between.
    signal(&wire.agent, Signal::STOP);
    signal(&wire.guardian, Signal::KILL);
    signal(&wire.agent, Signal::KILL);
    eventually("both are dead", || {
        (!wire.agent.is_alive().unwrap() && !wire.guardian.is_alive().unwrap()).then_some(())
    });
    // What is in processes of ours ends with them; what is not stays, and the checker says so.
    let left = eventually("hogs have ended", || {
        let left: Vec<String> = findings(&held.dir).iter().map(ToString::to_string).collect();
        (!left.iter().any(|finding| finding.contains("carries out"))).then_some(left)
    });
    assert_eq!(
        left.iter().filter(|finding| finding.contains("is stopped, as fault pause had it")).count(),
        3,
        "{left:?}"
    );
    assert!(left.iter().any(|finding| finding.contains("holds 60000 ms")), "{left:?}");
    let next = Wire::start(&held.dir);
    assert_eq!(next.before.len(), 5, "{:?}", next.before);
    for reply in &next.before {
        assert!(matches!(reply, Reply::Ended(ended) if ended.how == How::LeftOver), "{reply:?}");
    }
    held.clean();
}

#[test]
fn an_agent_that_hangs_without_a_guardian_is_replaced_only_when_its_controller_is_gone() {
    let held = Held::new();
    let mut wire = Wire::with(&held.dir, &["--lease", "1000"]);
    held.inject(&mut wire);
    signal(&wire.agent, Signal::STOP);
    signal(&wire.guardian, Signal::KILL);
    eventually("hogs have ended by themselves, for want of beats", || {
        (!ours(&held.dir).iter().any(|(_, line)| line.contains(" hog "))).then_some(())
    });
    assert_eq!(state(wire.agent.pid), Some('T'));
    let (status, text) = crate::wire::serve_nothing(&held.dir);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains(" works in "), "{text}");
    signal(&wire.agent, Signal::KILL);
    let next = Wire::start(&held.dir);
    assert_eq!(next.before.len(), 5, "{:?}", next.before);
    held.clean();
    drop(next);

    let held = Held::new();
    let faults = vec![("pause".to_owned(), Action::Pause { victims: vec![held.paused.id.clone()] })];
    let mut controller = Controller::start(&Orders::new(&held.dir, faults));
    controller.until("hold");
    let (agent, guardian) = controller.processes();
    signal(&agent, Signal::STOP);
    signal(&guardian, Signal::KILL);
    controller.kill();
    assert_eq!(held.paused.states(), "TTT");
    let (status, text) = crate::wire::serve_nothing(&held.dir);
    assert_eq!(status, Some(0), "{text}");
    assert!(!agent.is_alive().unwrap());
    held.clean();
}
