//! Who a process is.

use std::time::Duration;

use platform::identity::{ProcessId, Signal, State, members};

use crate::support::{LONG, Scripted, until};

#[test]
fn this_process_is_alive_and_the_same_after_json() {
    let id = ProcessId::current().unwrap();
    assert_eq!(id, ProcessId::of(std::process::id()).unwrap());
    let text = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<ProcessId>(&text).unwrap(), id);
    let handle = id.open().unwrap().unwrap();
    assert_eq!(handle.state().unwrap(), State::Running);
    assert!(!handle.wait(Duration::ZERO).unwrap());
    assert!(id.to_string().starts_with(&std::process::id().to_string()), "{id}");
}

#[test]
fn a_pid_that_is_anothers_is_not_mistaken() {
    let child = Scripted::start(true, "echo up; exec sleep 600");
    let id = child.id();
    for other in [
        ProcessId { started_ticks: id.started_ticks - 1, ..id.clone() },
        ProcessId { boot: "another".to_owned(), ..id.clone() },
        // Beyond the largest pid that Linux gives.
        ProcessId { pid: 1 << 23, ..id.clone() },
        ProcessId { pid: 0, ..id.clone() },
    ] {
        assert!(other.open().unwrap().is_none(), "{other:?}");
        assert!(members(&other).unwrap().is_empty(), "{other:?}");
    }
    assert!(id.is_alive().unwrap());
    assert_eq!(ProcessId::of(1 << 23).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_process_is_stopped_continued_and_ended_by_signals() {
    let mut child = Scripted::start(false, "echo up; while :; do sleep 0.01; done");
    assert_eq!(child.line(), "up");
    let id = child.id();
    let handle = id.open().unwrap().unwrap();
    assert_eq!(handle.id(), &id);
    assert!(handle.signal(Signal::STOP).unwrap());
    until("it to be stopped", || handle.state().unwrap() == State::Stopped).await;
    assert!(handle.signal(Signal::CONT).unwrap());
    until("it to run", || handle.state().unwrap() == State::Running).await;
    assert!(!handle.wait(Duration::from_millis(1)).unwrap());
    let (ended, ()) = tokio::join!(tokio::time::timeout(LONG, handle.ended()), async {
        handle.signal(Signal::KILL).unwrap();
    });
    ended.unwrap();
    // Nobody has waited for it yet: a zombie has ended.
    assert_eq!(handle.state().unwrap(), State::Ended);
    assert!(!handle.signal(Signal::TERM).unwrap());
    assert!(id.open().unwrap().is_none());
    child.end();
    assert!(!handle.signal(Signal::TERM).unwrap());
    assert_eq!(handle.state().unwrap(), State::Ended);
    handle.ended().await;
}

#[tokio::test]
async fn members_are_the_session_and_what_descends_from_it_also_without_the_leader() {
    // One child in a group of its own, one in a session of its own; then the leader ends.
    let script = "timeout 600 sh -c 'echo grouped=$$; exec sleep 600' & setsid sh -c 'echo stray=$$; exec sleep 600' & wait";
    let mut child = Scripted::start(true, script);
    let (mut grouped, mut stray) = (0, 0);
    for _ in 0..2 {
        match child.line().split_once('=').unwrap() {
            ("grouped", pid) => grouped = pid.parse().unwrap(),
            (_, pid) => stray = pid.parse().unwrap(),
        }
    }
    let id = child.id();
    let found = members(&id).unwrap();
    assert_eq!(found.first(), Some(&id));
    let member = |pid: u32| found.iter().find(|member| member.pid == pid).unwrap();
    let (grouped, stray) = (member(grouped), member(stray));
    id.open().unwrap().unwrap().signal(Signal::KILL).unwrap();
    until("the leader to end", || !id.is_alive().unwrap()).await;
    let left = members(&id).unwrap();
    for (member, is_there) in [(grouped, true), (&id, false)] {
        assert_eq!(left.contains(member), is_there, "{member:?} in {left:?}");
    }
    for member in [grouped, stray] {
        member.open().unwrap().unwrap().signal(Signal::KILL).unwrap();
    }
    until("all to end", || members(&id).unwrap().is_empty()).await;
}
