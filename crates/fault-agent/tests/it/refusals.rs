//! What is refused, with the reason and what would help, and nothing touched.

use std::fs;

use fault_agent::{Action, Reply, Request, Take};
use platform::identity::ProcessId;

use crate::session::Session;
use crate::wire::{PROGRAM, Wire, clean, findings, place, serve_nothing};

#[test]
fn a_name_a_duration_or_a_lease_that_makes_no_sense_is_refused() {
    let (_temp, dir) = place();
    let mut wire = Wire::with(&dir, &["--lease", "600000", "--longest", "600000"]);
    let cpu = || Action::Cpu { threads: 1 };
    for id in ["", ".x", "a/b", "a b", "ä", &"x".repeat(101)] {
        let refused = wire.refused(id, cpu());
        assert!(refused.problem.contains("is no name of a fault"), "{refused:?}");
    }
    for duration in [0, 600_001, u64::MAX] {
        let refused = wire.try_inject("c", cpu(), duration).unwrap_err();
        assert!(refused.problem.contains("is not from 1 to 600000 ms"), "{refused:?}");
    }
    for lease_ms in [Some(0), Some(99), Some(600_001), Some(u64::MAX)] {
        wire.ask(&Request::Inject { id: "c".to_owned(), action: cpu(), duration_ms: 1, lease_ms });
        let refused = wire.until(|reply| match reply {
            Reply::Refused(refused) => Some(refused),
            _ => None,
        });
        assert!(refused.problem.contains("is not from 100 to 600000 ms"), "{refused:?}");
    }
    assert_eq!(findings(&dir), []);
    wire.inject("c", cpu());
    assert_eq!(wire.refused("c", cpu()).problem, "fault c is held already");
    wire.end("c");
    clean(&dir);
}

#[test]
fn who_has_ended_or_carries_the_agent_is_not_hit() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let ended = {
        let session = Session::start();
        session.id.clone()
    };
    let stranger = ProcessId { started_ticks: 1, ..Session::start().id.clone() };
    let of_another_boot =
        ProcessId { boot: "another".to_owned(), ..ProcessId::of(std::process::id()).unwrap() };
    for victim in [ended, stranger, of_another_boot] {
        for action in
            [Action::Pause { victims: vec![victim.clone()] }, Action::Kill { victims: vec![victim.clone()] }]
        {
            let refused = wire.refused("x", action);
            assert!(refused.problem.ends_with("has ended"), "{refused:?}");
        }
    }
    // This process is in nobody's session but perhaps a shell's: the agent and its guardian lead sessions.
    for victim in [wire.agent.clone(), wire.guardian.clone(), ProcessId::of(1).unwrap()] {
        for action in
            [Action::Pause { victims: vec![victim.clone()] }, Action::Kill { victims: vec![victim.clone()] }]
        {
            let refused = wire.refused("x", action);
            assert!(refused.problem.contains("which this agent hangs on"), "{refused:?}");
        }
    }
    assert_eq!(wire.refused("x", Action::Kill { victims: vec![] }).problem, "no victim is named");
    clean(&dir);
}

#[test]
fn more_than_there_is_is_refused_with_figures() {
    let (temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let directory = temp.path().to_owned();
    for (action, expected) in [
        (Action::Cpu { threads: 0 }, "0 threads are not from 1 to "),
        (Action::Memory { bytes: u64::MAX }, "bytes of memory are available, of which 536870912 stay"),
        (Action::Connections { address: "127.0.0.1:1".parse().unwrap(), count: u32::MAX }, "open files"),
        (
            Action::Disk { directory: directory.clone(), take: Take::Bytes(u64::MAX) },
            "at least 16777216 must stay",
        ),
        (
            Action::Disk { directory: directory.clone(), take: Take::AllBut(1) },
            "leaves 1, and at least 16777216",
        ),
        (Action::Disk { directory: directory.join("absent"), take: Take::Bytes(1) }, "is no directory"),
        (Action::Disk { directory: dir.join("lock"), take: Take::Bytes(1) }, "is no directory"),
    ] {
        let refused = wire.refused("x", action);
        assert!(refused.problem.contains(expected), "{refused:?}");
        assert!(!refused.mend.is_empty());
    }
    assert_eq!(findings(&dir), []);
}

#[test]
fn what_is_no_request_is_told_and_the_agent_goes_on() {
    let (_temp, dir) = place();
    let mut wire = Wire::start(&dir);
    let lines =
        ["", "nonsense", r#"{"ask":"explode"}"#, r#"{"ask":"end"}"#, r#"{"ask":"end","id":"x","more":1}"#];
    for line in lines {
        wire.line(line);
        let refused = wire.until(|reply| match reply {
            Reply::Refused(refused) => Some(refused),
            _ => None,
        });
        assert!(
            refused.id.is_empty() && refused.problem.starts_with("the line is no request: "),
            "{refused:?}"
        );
    }
    wire.ask(&Request::End { id: "x".to_owned() });
    let refused = wire.until(|reply| match reply {
        Reply::Refused(refused) => Some(refused),
        _ => None,
    });
    assert_eq!((refused.id.as_str(), refused.problem.as_str()), ("x", "fault x is not held"));
    assert_eq!(wire.hang_up(), Some(0));
}

#[test]
fn a_journal_that_cannot_be_written_lets_nothing_begin() {
    let (_temp, dir) = place();
    fs::create_dir_all(dir.join("journal")).unwrap();
    let (status, text) = serve_nothing(&dir);
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("there is no journal in ") && text.contains("name another state directory"),
        "{text}"
    );
}

#[test]
fn two_agents_in_one_directory_are_one_too_many() {
    let (_temp, dir) = place();
    let _wire = Wire::start(&dir);
    let (status, text) = serve_nothing(&dir);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains(" works in ") && text.contains("name another state directory"), "{text}");
}

#[test]
fn arguments_that_make_no_sense_are_bad_input() {
    for arguments in [&["serve"][..], &["serve", "--state", "x", "--lease", "99"], &["explode"], &[]] {
        let output = std::process::Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
