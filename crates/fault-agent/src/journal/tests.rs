use super::*;
use std::path::Path;

fn entry(id: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        action: Action::Cpu { threads: 1 },
        undo: Undo::EndHog { filler: None },
        victims: Vec::new(),
        expires_ms: 1,
        boot: "b".to_owned(),
    }
}

fn done(id: &str) -> Done {
    Done { id: id.to_owned(), how: How::Asked, at_ms: 2, undo_ms: 3, verified: "seen".to_owned() }
}

fn victim(pid: u32) -> ProcessId {
    ProcessId { pid, started_ticks: 7, boot: "b".to_owned() }
}

fn journal(dir: &Path) -> (StateDir, Journal) {
    let dir = StateDir::make(dir).unwrap();
    let (journal, _) = Journal::open(&dir).unwrap();
    (dir, journal)
}

#[test]
fn what_was_appended_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, mut journal) = journal(temp.path());
    assert_eq!(read(&dir).unwrap(), Replayed::default());
    for record in [
        Record::Begin(entry("a")),
        Record::Begin(entry("b")),
        Record::More { id: "b".to_owned(), victims: vec![victim(5)] },
        Record::Done(done("a")),
    ] {
        journal.append(&record).unwrap();
    }
    let replayed = read(&dir).unwrap();
    let expected =
        vec![(entry("a"), Some(done("a"))), (Entry { victims: vec![victim(5)], ..entry("b") }, None)];
    assert_eq!(replayed.faults, expected);
    assert!(replayed.damaged.is_empty());
    // A name may be used anew.
    journal.append(&Record::Begin(entry("a"))).unwrap();
    assert_eq!(read(&dir).unwrap().faults.last(), Some(&(entry("a"), None)));
    journal.keep_only(&[entry("b")]).unwrap();
    journal.append(&Record::Begin(entry("c"))).unwrap();
    assert_eq!(read(&dir).unwrap().faults, [(entry("b"), None), (entry("c"), None)]);
}

#[test]
fn a_torn_last_line_is_as_if_it_was_not_there() {
    let whole = [
        serde_json::to_vec(&Record::Begin(entry("a"))).unwrap(),
        b"\n".to_vec(),
        serde_json::to_vec(&Record::Done(done("a"))).unwrap(),
    ]
    .concat();
    let temp = tempfile::tempdir().unwrap();
    let (dir, journal) = journal(temp.path());
    drop(journal);
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for zeros in [0, 3] {
        for length in (0..=whole.len()).filter(|length| length % 7 == 0 || length.abs_diff(first) < 2) {
            let bytes = [&whole[..length], &vec![0; zeros]].concat();
            fs::write(dir.journal(), bytes).unwrap();
            let (mut journal, replayed) = Journal::open(&dir).unwrap();
            assert!(replayed.damaged.is_empty(), "{length}: {replayed:?}");
            let expected = if length < first { vec![] } else { vec![(entry("a"), None)] };
            assert_eq!(replayed.faults, expected, "{length}");
            // What comes next is not spoiled by what was torn.
            journal.append(&Record::Begin(entry("b"))).unwrap();
            let replayed = read(&dir).unwrap();
            assert!(replayed.damaged.is_empty(), "{length}: {replayed:?}");
            assert_eq!(replayed.faults.len(), expected.len() + 1, "{length}");
        }
    }
}

#[test]
fn a_line_in_the_middle_that_cannot_be_read_is_told_and_hides_nothing_else() {
    let begin = |id| serde_json::to_string(&Record::Begin(entry(id))).unwrap();
    let text = format!("{}\nnonsense\n{}\n", begin("a"), begin("b"));
    let replayed = replay(text.as_bytes());
    assert_eq!(replayed.faults.len(), 2);
    assert_eq!(replayed.damaged.len(), 1);
    assert!(replayed.damaged[0].starts_with("line 2 is no record: "), "{:?}", replayed.damaged);
}
