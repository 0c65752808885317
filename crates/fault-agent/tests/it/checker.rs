//! The checker as a program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fault_agent::{Action, Take};
use platform::identity::Signal;

use crate::session::{Session, eventually, signal};
use crate::wire::{PROGRAM, Wire, clean, place};

fn check(dir: &Path, flags: &[&str]) -> Output {
    Command::new(PROGRAM).args(["check", "--state"]).arg(dir).args(flags).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn it_names_what_is_in_effect_and_says_nothing_when_nothing_is() {
    let (temp, dir) = place();
    let session = Session::start();
    let mut wire = Wire::start(&dir);
    let nothing = check(&dir, &[]);
    assert_eq!((nothing.status.code(), lines(&nothing)), (Some(0), vec![]));
    wire.inject("p", Action::Pause { victims: vec![session.id.clone()] });
    wire.inject("d", Action::Disk { directory: temp.path().to_owned(), take: Take::Bytes(4096) });
    let found = check(&dir, &[]);
    let lines = lines(&found);
    assert_eq!(found.status.code(), Some(97), "{lines:?}");
    // Two entries, three stopped processes, one that fills the disk.
    assert_eq!(lines.len(), 6, "{lines:?}");
    for expected in [
        format!("fault p is not undone: pause of {}", session.id.pid),
        format!("process {} is stopped, as fault p had it", session.id),
        format!("fault d is not undone: 4096 bytes of the disk under {}", temp.path().display()),
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {lines:?}");
    }
    assert!(lines.iter().any(|line| line.ends_with("carries out fault d")), "{lines:?}");
    wire.end("p");
    wire.end("d");
    assert_eq!(check(&dir, &[]).status.code(), Some(0));
}

#[test]
fn it_looks_where_it_is_told_to() {
    let (temp, dir) = place();
    fs::create_dir_all(&dir).unwrap();
    let session = Session::start();
    for member in session.members() {
        signal(&member, Signal::STOP);
    }
    eventually("all are stopped", || (session.states() == "TTT").then_some(()));
    let clock = temp.path().join("clock");
    fs::write(&clock, "+5").unwrap();
    fs::write(temp.path().join(".gauntlet-fault-filler-x"), "x").unwrap();
    assert_eq!(check(&dir, &[]).status.code(), Some(0), "nobody told it where");
    let (disk, clock) = (temp.path().to_str().unwrap(), clock.to_str().unwrap());
    let victim = session.id.pid.to_string();
    let found = check(&dir, &["--disk", disk, "--clock", clock, "--victim", &victim]);
    assert_eq!(found.status.code(), Some(97));
    assert_eq!(lines(&found).len(), 5, "{:?}", lines(&found));
    fs::write(clock, "+0").unwrap();
    assert_eq!(check(&dir, &["--clock", clock]).status.code(), Some(0));
}

#[test]
fn a_guardian_without_its_agent_is_found() {
    let (_temp, dir) = place();
    let wire = Wire::start(&dir);
    signal(&wire.guardian, Signal::STOP);
    signal(&wire.agent, Signal::KILL);
    eventually("the checker finds the guardian", || {
        let found = lines(&check(&dir, &[]));
        found.iter().any(|line| line == &format!("guardian {} works for nobody", wire.guardian)).then_some(())
    });
    signal(&wire.guardian, Signal::CONT);
    clean(&dir);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_not_nothing() {
    let (_temp, dir) = place();
    let output = check(&dir, &[]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("the state directory ") && text.contains("cannot be used"), "{text}");
}
