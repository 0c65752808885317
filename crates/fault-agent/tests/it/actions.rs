//! Each action: in effect as the kernel has it, and gone again.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use fault_agent::{Action, Clock, How, Reply, Request, Take};
use platform::identity::Signal;

use crate::controller::ours;
use crate::session::{Session, eventually, signal, state};
use crate::wire::{Wire, clean, findings, place};

#[test]
fn pause_stops_the_whole_session_and_lets_it_go_on() {
    let (_temp, dir) = place();
    let session = Session::start();
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    assert_eq!(session.states(), "TTT");
    assert_eq!(injected.seen, "3 of 3 processes are stopped");
    assert!(injected.began_ms <= injected.at_ms);
    // An entry that is not done, and three stopped processes.
    assert_eq!(findings(&dir).len(), 4, "{:?}", findings(&dir));
    let ended = wire.end("p");
    assert_eq!((ended.how, ended.verified.as_str()), (How::Asked, "3 processes run"));
    assert!(session.runs());
    clean(&dir);
}

#[test]
fn what_somebody_else_has_stopped_stays_stopped() {
    let (_temp, dir) = place();
    let session = Session::start();
    let other = session.members().pop().unwrap();
    signal(&other, Signal::STOP);
    eventually("it is stopped", || (state(other.pid) == Some('T')).then_some(()));
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    assert_eq!(injected.seen, "2 of 2 processes are stopped");
    wire.end("p");
    assert_eq!(state(other.pid), Some('T'));
    clean(&dir);
    signal(&other, Signal::CONT);
}

#[test]
fn newcomers_are_caught_while_the_session_is_held() {
    let (_temp, dir) = place();
    let session = Session::running("while :; do sleep 1000; done", 2, &[]);
    let mut wire = Wire::start(&dir);
    wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    // As if the shell had started one more right before it was stopped.
    let known = session.members();
    signal(&session.id, Signal::CONT);
    signal(known.last().unwrap(), Signal::KILL);
    let new = eventually("the shell starts another", || {
        session.members().into_iter().find(|member| !known.contains(member))
    });
    eventually("the new one is stopped", || (state(new.pid) == Some('T')).then_some(()));
    wire.end("p");
    assert!(!session.states().contains('T'));
    clean(&dir);
}

#[test]
fn a_session_that_never_stops_forking_is_stopped_all_the_same() {
    let (_temp, dir) = place();
    let session =
        Session::running("while :; do sh -c 'true; true'; done & while :; do true | cat; done", 2, &[]);
    let mut wire = Wire::start(&dir);
    for _ in 0..5 {
        wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
        let still = session.members();
        for _ in 0..20 {
            assert!(session.states().bytes().all(|state| state == b'T'), "{}", session.states());
        }
        assert_eq!(session.members(), still);
        wire.end("p");
        eventually("it goes on", || (session.members() != still).then_some(()));
    }
    clean(&dir);
}

#[test]
fn a_pause_ends_when_its_victims_have() {
    let (_temp, dir) = place();
    let session = Session::start();
    let mut wire = Wire::start(&dir);
    wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    for member in session.members() {
        signal(&member, Signal::KILL);
    }
    assert_eq!(wire.ended("p").how, How::VictimsGone);
    clean(&dir);
}

#[test]
fn kill_ends_the_whole_session_and_leaves_nothing_to_undo() {
    let (_temp, dir) = place();
    let (session, spared) = (Session::start(), Session::start());
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("k", Action::Kill { victims: vec![session.id.clone()] });
    assert!(session.is_gone());
    assert_eq!(injected.seen, "all 3 processes have ended");
    assert_eq!(spared.members().len(), 3);
    assert_eq!(wire.end("k").verified, "nothing is to be undone");
    clean(&dir);
}

/// A session with a clock file, which loads a library of libfaketime's name: what it does with the file is not ours.
pub(crate) fn with_clock(temp: &Path, file: &Path) -> Session {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().last());
    let library = paths.find(|path| path.contains("libgcc_s")).unwrap();
    let preload = temp.join("libfaketime.so.1");
    fs::copy(library, &preload).unwrap();
    fs::write(file, "+0\n").unwrap();
    let env = [("LD_PRELOAD", preload.as_path()), ("FAKETIME_TIMESTAMP_FILE", file)];
    Session::running("sleep 1000 & wait", 2, &env)
}

#[test]
fn clock_writes_the_file_that_the_process_reads_and_restores_it() {
    let (temp, dir) = place();
    let file = temp.path().join("clock");
    let session = with_clock(temp.path(), &file);
    let clock = |id: &Session| Clock { victim: id.id.clone(), file: Some(file.clone()) };
    let mut wire = Wire::start(&dir);
    let clocks = vec![clock(&session)];
    let injected = wire.inject("c", Action::Clock { clocks: clocks.clone(), offset_ms: -30_500 });
    assert_eq!(fs::read_to_string(&file).unwrap(), "-30.500\n");
    assert_eq!(injected.seen, "1 clock files read -30.500");
    assert_eq!(findings(&dir).len(), 2, "{:?}", findings(&dir));
    let refused = wire.refused("d", Action::Clock { clocks, offset_ms: 1 });
    assert!(refused.problem.starts_with("fault c holds the same"), "{refused:?}");
    assert_eq!(wire.end("c").verified, "1 clock files read as before");
    assert_eq!(fs::read_to_string(&file).unwrap(), "+0\n");
    clean(&dir);
    let other = Session::start();
    for (clocks, expected) in [
        (vec![Clock { file: None, ..clock(&session) }], "was not started with a clock that can be adjusted"),
        (vec![clock(&other)], "its environment names no clock file"),
        (vec![Clock { file: Some(dir.join("lock")), ..clock(&session) }], "does not hold an offset"),
        (vec![], "no victim is named"),
    ] {
        let refused = wire.refused("e", Action::Clock { clocks, offset_ms: 1 });
        assert!(refused.problem.contains(expected), "{refused:?}");
    }
    clean(&dir);
}

#[test]
fn cpu_is_used_up_by_our_own_threads() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("c", Action::Cpu { threads: 2 });
    assert!(injected.seen.starts_with("2 threads of process "), "{}", injected.seen);
    let pid: u32 = injected.seen.split(' ').nth(4).unwrap().parse().unwrap();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat[stat.rfind(')').unwrap()..].split(' ').nth(12).unwrap().parse::<u64>().unwrap()
    };
    let before = ticks();
    eventually("CPU time is used", || (ticks() > before + 5).then_some(()));
    assert_eq!(wire.end("c").verified, "no process of the fault is left");
    assert_eq!(state(pid), None, "not even a zombie");
    clean(&dir);
}

#[test]
fn memory_is_taken_by_a_process_that_the_kernel_would_end_first() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("m", Action::Memory { bytes: 40 << 20 });
    let mut words = injected.seen.split(' ');
    let pid: u32 = words.nth(1).unwrap().parse().unwrap();
    let bytes: u64 = words.nth(1).unwrap().parse().unwrap();
    assert!(bytes >= 40 << 20, "{}", injected.seen);
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "1000");
    wire.end("m");
    assert_eq!(state(pid), None);
    clean(&dir);
}

#[test]
fn connections_are_held_and_opened_again() {
    let (_temp, dir) = place();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut wire = Wire::start(&dir);
    let injected = wire.inject("c", Action::Connections { address, count: 12 });
    assert!(injected.seen.contains(" has 12 sockets connected to "), "{}", injected.seen);
    let held: Vec<_> = (0..12).map(|_| listener.accept().unwrap().0).collect();
    drop(held);
    let mut again: Vec<_> = (0..12).map(|_| listener.accept().unwrap().0).collect();
    wire.end("c");
    for stream in &mut again {
        // Closed: by its end, or by a reset.
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }
    clean(&dir);
    drop(listener);
    let refused = wire.refused("d", Action::Connections { address, count: 1 });
    assert!(refused.problem.contains("does not take a connection"), "{refused:?}");
    clean(&dir);
}

#[test]
fn disk_space_is_taken_by_a_file_without_a_name() {
    let (temp, dir) = place();
    let target = temp.path().join("target");
    fs::create_dir(&target).unwrap();
    let mut wire = Wire::start(&dir);
    let action = Action::Disk { directory: target.clone(), take: Take::Bytes(8 << 20) };
    let injected = wire.inject("d", action);
    let bytes: u64 = injected.seen.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(bytes >= 8 << 20, "{}", injected.seen);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "the file has no name on this file system");
    let verified = wire.end("d").verified;
    assert!(verified.starts_with("no process of the fault is left, no file of it is in "), "{verified}");
    clean(&dir);
}

#[test]
fn agent_guardian_and_hogs_are_out_of_a_terminals_reach() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    wire.inject("c", Action::Cpu { threads: 1 });
    let ours = ours(&dir);
    assert_eq!(ours.len(), 3, "{ours:?}");
    for (id, line) in ours {
        assert_eq!(platform::proc_fs::stat(id.pid).unwrap().session, id.pid, "{line}");
    }
}

#[test]
fn a_hog_that_dies_ends_its_fault_and_that_is_told() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    wire.inject("c", Action::Cpu { threads: 1 });
    let hog = findings(&dir).into_iter().find_map(|finding| match finding {
        fault_agent::Finding::Hog { process, .. } => Some(process),
        _ => None,
    });
    signal(&hog.unwrap(), Signal::KILL);
    assert_eq!(wire.ended("c").how, How::BrokeOff);
    clean(&dir);
}

#[test]
fn all_at_once_and_quit_undoes_all() {
    let (temp, dir) = place();
    let (paused, killed) = (Session::start(), Session::start());
    let file = temp.path().join("clock");
    let skewed = with_clock(temp.path(), &file);
    let mut wire = Wire::start(&dir);
    wire.inject("pause", Action::Pause { victims: vec![paused.id.clone()] });
    wire.inject("kill", Action::Kill { victims: vec![killed.id.clone()] });
    let clocks = vec![Clock { victim: skewed.id.clone(), file: Some(file.clone()) }];
    wire.inject("clock", Action::Clock { clocks, offset_ms: 3_600_000 });
    wire.inject("cpu", Action::Cpu { threads: 1 });
    wire.inject("memory", Action::Memory { bytes: 16 << 20 });
    wire.inject("disk", Action::Disk { directory: temp.path().to_owned(), take: Take::Bytes(1 << 20) });
    wire.ask(&Request::List);
    let listed = wire.until(|reply| match reply {
        Reply::Faults { faults } => Some(faults),
        _ => None,
    });
    assert_eq!(
        listed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        ["clock", "cpu", "disk", "kill", "memory", "pause"]
    );
    wire.ask(&Request::Quit);
    for id in ["clock", "cpu", "disk", "kill", "memory", "pause"] {
        assert_eq!(wire.ended(id).how, How::Quit);
    }
    assert_eq!(wire.exit_code(), Some(0));
    // At once, guardian and all.
    assert_eq!(findings(&dir), []);
    assert!(paused.runs());
    assert_eq!(fs::read_to_string(&file).unwrap(), "+0\n");
    assert!(wire.within(Duration::ZERO, |_| Some(())).is_none(), "each end is told once");
    assert!(Wire::start(&dir).before.is_empty(), "what was heard is not told again");
}
