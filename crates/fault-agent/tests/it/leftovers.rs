//! A start with a journal that others have left, as after a crash of the machine.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use fault_agent::{How, Reply};
use platform::identity::{ProcessId, Signal};
use serde_json::{Value, json};

use crate::session::{Session, eventually, signal, state};
use crate::wire::{Wire, clean, findings, place};

/// A line of the journal, as its format has been since the first version.
fn begin(id: &str, action: &Value, undo: &Value, victims: &[ProcessId], boot: &str) -> String {
    let entry = json!({
        "id": id, "action": action, "undo": undo, "victims": victims, "expires_ms": 0, "boot": boot,
    });
    json!({ "begin": entry }).to_string()
}

fn pause(id: &str, victims: &[ProcessId]) -> String {
    let boot = &victims.first().unwrap().boot;
    begin(id, &json!({ "kind": "pause", "victims": victims }), &json!("continue"), victims, boot)
}

fn write(dir: &Path, lines: &[String], torn: &str) {
    fs::create_dir_all(dir).unwrap();
    let mut file = fs::File::create(dir.join("journal")).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.write_all(torn.as_bytes()).unwrap();
}

fn stop_all(session: &Session) {
    for member in session.members() {
        signal(&member, Signal::STOP);
    }
    eventually("all are stopped", || (session.states() == "TTT").then_some(()));
}

fn hows(wire: &Wire) -> Vec<(&str, How)> {
    let told = wire.before.iter().map(|reply| match reply {
        Reply::Ended(ended) => (ended.id.as_str(), ended.how),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_full_journal_is_undone_first_and_a_torn_line_is_none() {
    let (temp, dir) = place();
    let (session, other) = (Session::start(), Session::start());
    stop_all(&session);
    stop_all(&other);
    let file = temp.path().join("clock");
    fs::write(&file, "+99\n").unwrap();
    let boot = session.id.boot.clone();
    let restore = json!({ "restore": [{ "file": file, "content": "+0\n" }] });
    let filler = temp.path().join(".gauntlet-fault-filler-disk");
    fs::write(&filler, "x").unwrap();
    let lines = [
        pause("pause", &session.members()),
        begin("clock", &json!({ "kind": "clock", "clocks": [], "offset_ms": 99_000 }), &restore, &[], &boot),
        begin(
            "disk",
            &json!({ "kind": "disk", "directory": temp.path(), "take": { "bytes": 1 } }),
            &json!({ "end-hog": { "filler": filler } }),
            &[],
            &boot,
        ),
    ];
    write(&dir, &lines, &pause("torn", &other.members())[..200]);
    // Three stopped, a clock, a file, three entries.
    assert_eq!(findings(&dir).len(), 8, "{:?}", findings(&dir));
    let wire = Wire::start(&dir);
    assert_eq!(hows(&wire), ["pause", "clock", "disk"].map(|id| (id, How::LeftOver)));
    assert!(session.runs());
    assert_eq!(fs::read_to_string(&file).unwrap(), "+0\n");
    assert!(!filler.exists());
    // Whatever the torn line was to announce has not happened: that these are stopped is somebody else's doing.
    assert_eq!(other.states(), "TTT");
    clean(&dir);
    drop(wire);
    assert!(Wire::start(&dir).before.is_empty());
}

#[test]
fn processes_of_another_boot_or_with_a_pid_used_anew_are_strangers() {
    let (temp, dir) = place();
    let session = Session::start();
    stop_all(&session);
    let before: Vec<ProcessId> = session
        .members()
        .into_iter()
        .map(|member| ProcessId { boot: "00000000-0000-0000-0000-000000000000".to_owned(), ..member })
        .collect();
    let anew: Vec<ProcessId> = session
        .members()
        .into_iter()
        .map(|member| ProcessId { started_ticks: member.started_ticks - 1, ..member })
        .collect();
    // A file is no process: it is removed, whichever boot it is of.
    let filler = temp.path().join(".gauntlet-fault-filler-disk");
    fs::write(&filler, "x").unwrap();
    let disk = begin(
        "disk",
        &json!({ "kind": "disk", "directory": temp.path(), "take": { "all-but": 1 } }),
        &json!({ "end-hog": { "filler": filler } }),
        &[],
        "00000000-0000-0000-0000-000000000000",
    );
    write(&dir, &[pause("before", &before), pause("anew", &anew), disk], "");
    let wire = Wire::start(&dir);
    assert_eq!(hows(&wire), ["before", "anew", "disk"].map(|id| (id, How::LeftOver)));
    assert_eq!(session.states(), "TTT", "they are not those that were stopped");
    assert!(!filler.exists());
    clean(&dir);
}

#[test]
fn lines_that_cannot_be_read_are_unrecovered_until_somebody_looked() {
    let (_temp, dir) = place();
    let session = Session::start();
    stop_all(&session);
    write(&dir, &["nonsense".to_owned(), pause("pause", &session.members())], "");
    let mut wire = Wire::start(&dir);
    assert!(session.runs(), "what can be read is undone");
    let told = wire.before.iter().find_map(|reply| match reply {
        Reply::Unrecovered(unrecovered) if unrecovered.id == "journal" => Some(unrecovered.detail.clone()),
        _ => None,
    });
    assert!(told.as_ref().is_some_and(|detail| detail.contains("line 1 is no record")), "{told:?}");
    let refused = wire.refused("c", fault_agent::Action::Cpu { threads: 1 });
    assert!(refused.problem.contains("the journal was damaged"), "{refused:?}");
    assert_eq!(wire.hang_up(), Some(97));
    let mut next = Wire::start(&dir);
    assert!(matches!(&next.before[..], [.., Reply::Unrecovered(_)]), "{:?}", next.before);
    fs::remove_file(dir.join("journal.damaged")).unwrap();
    next.inject("c", fault_agent::Action::Cpu { threads: 1 });
    next.end("c");
    assert_eq!(next.hang_up(), Some(0));
    clean(&dir);
}

#[test]
fn what_cannot_be_undone_is_unrecovered_and_tried_until_it_is() {
    let (temp, dir) = place();
    // A directory in the place of the file: it cannot be removed as one.
    let filler = temp.path().join(".gauntlet-fault-filler-disk");
    fs::create_dir(&filler).unwrap();
    let boot = ProcessId::of(std::process::id()).unwrap().boot;
    let action = json!({ "kind": "disk", "directory": temp.path(), "take": { "bytes": 1 } });
    let undo = json!({ "end-hog": { "filler": filler } });
    write(&dir, &[begin("disk", &action, &undo, &[], &boot)], "");
    let mut wire = Wire::start(&dir);
    let detail = match &wire.before[..] {
        [Reply::Unrecovered(unrecovered)] => unrecovered.detail.clone(),
        other => panic!("{other:?}"),
    };
    assert!(detail.contains("cannot be removed") && detail.contains("remove it"), "{detail}");
    let refused = wire.refused("c", fault_agent::Action::Cpu { threads: 1 });
    assert!(refused.problem.starts_with("fault disk is not undone: "), "{refused:?}");
    fs::remove_dir(&filler).unwrap();
    assert_eq!(wire.ended("disk").how, How::LeftOver);
    wire.inject("c", fault_agent::Action::Cpu { threads: 1 });
    wire.end("c");
    clean(&dir);
    assert_eq!(state(wire.agent.pid).map(|_| ()), Some(()));
}

#[test]
fn what_is_not_undone_at_the_end_is_exit_code_97() {
    let (temp, dir) = place();
    let filler = temp.path().join(".gauntlet-fault-filler-disk");
    fs::create_dir(&filler).unwrap();
    let boot = ProcessId::of(std::process::id()).unwrap().boot;
    let action = json!({ "kind": "disk", "directory": temp.path(), "take": { "bytes": 1 } });
    let undo = json!({ "end-hog": { "filler": filler } });
    write(&dir, &[begin("disk", &action, &undo, &[], &boot)], "");
    let mut wire = Wire::start(&dir);
    assert_eq!(wire.hang_up(), Some(97));
    fs::remove_dir(&filler).unwrap();
    drop(Wire::start(&dir));
    clean(&dir);
}
