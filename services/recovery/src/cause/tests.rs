//! Which fault is the cause.

use super::*;

const MS: i64 = 1_000_000;

fn planned(fault: &str, recipe: &str, target: &str, victims: &[&str]) -> PlannedFault {
    PlannedFault {
        fault: fault.to_owned(),
        recipe: recipe.to_owned(),
        target: target.to_owned(),
        phase: 0,
        at_ms: 0,
        duration_ms: 1_000,
        victims: victims.iter().map(|victim| (*victim).to_owned()).collect(),
        parameters: String::new(),
        stop: "none".to_owned(),
        by: "plan".to_owned(),
    }
}

/// A fault from `began` to `ended`, milliseconds.
fn tell(journal: &mut Journal, fault: PlannedFault, began: i64, ended: Option<i64>) {
    let id = fault.fault.clone();
    journal.told(began * MS, &Event::FaultBeginning { fault });
    let injected = Event::FaultInjected { fault: id.clone(), backend: String::new(), seen: String::new() };
    journal.told((began + 5) * MS, &injected);
    if let Some(ended) = ended {
        let how = String::new();
        let event =
            Event::FaultEnded { fault: id, how, held_ms: None, undo_ms: None, verified: String::new() };
        journal.told(ended * MS, &event);
    }
}

/// Instance `a` of the shop was well at `well` and not at `detected`, milliseconds.
fn onset(well: i64, detected: i64) -> Onset {
    Onset {
        target: "shop".to_owned(),
        names: vec!["a".to_owned(), "http://a".to_owned()],
        well_ns: well * MS,
        detected_ns: detected * MS,
        way_alone: false,
        linger_ns: 1_000 * MS,
    }
}

fn cause(journal: &Journal, onset: &Onset) -> Option<String> {
    journal.explain(onset).map(|cause| cause.fault)
}

#[test]
fn a_fault_explains_what_began_while_it_was_there() {
    let mut journal = Journal::default();
    tell(&mut journal, planned("kill", "kill", "shop", &["a"]), 5_000, Some(7_000));
    let found = |well, detected| cause(&journal, &onset(well, detected));
    assert_eq!(found(4_000, 4_800), None, "before it");
    assert_eq!(found(4_900, 5_010).as_deref(), Some("kill"), "as it begins");
    assert_eq!(found(6_900, 7_900).as_deref(), Some("kill"), "at its end");
    assert_eq!(found(8_000, 9_000).as_deref(), Some("kill"), "an interval later");
    assert_eq!(found(8_200, 9_000), None, "it was well after that");
    assert!(journal.is_over("kill"));
    let found = journal.explain(&onset(4_900, 5_205)).unwrap();
    assert_eq!((found.ms_until(5_205 * MS), found.ms_until(0)), (200, 0));
}

#[test]
fn a_fault_explains_only_what_it_can_do() {
    let mut journal = Journal::default();
    tell(&mut journal, planned("cut", "partition", "shop", &["http://a"]), 0, None);
    let direct = onset(0, 100);
    let way = Onset { way_alone: true, ..direct.clone() };
    assert_eq!(cause(&journal, &direct), None, "who asks directly is not hit by it");
    assert_eq!(cause(&journal, &way).as_deref(), Some("cut"));
    assert!(!journal.is_over("cut") && journal.is_over("never heard of"));
    tell(&mut journal, planned("pause", "pause", "shop", &["a"]), 50, None);
    assert_eq!(cause(&journal, &direct).as_deref(), Some("pause"));
    assert_eq!(cause(&journal, &way).as_deref(), Some("cut"), "it fits better, although it began earlier");
}

#[test]
fn other_victims_and_targets_are_not_explained() {
    let mut journal = Journal::default();
    tell(&mut journal, planned("other", "kill", "shop", &["b"]), 0, None);
    tell(&mut journal, planned("elsewhere", "kill", "store", &["a"]), 0, None);
    assert_eq!(cause(&journal, &onset(0, 100)), None);
    let whole = Onset { names: Vec::new(), ..onset(0, 100) };
    assert_eq!(cause(&journal, &whole).as_deref(), Some("other"), "the target as a whole");
}

#[test]
fn a_fault_of_the_host_explains_any_target_if_none_of_its_own_does() {
    let mut journal = Journal::default();
    tell(&mut journal, planned("hog", "cpu", "store", &[]), 0, None);
    assert_eq!(cause(&journal, &onset(0, 100)).as_deref(), Some("hog"));
    tell(&mut journal, planned("own", "cpu", "shop", &[]), 10, None);
    tell(&mut journal, planned("hog#2", "memory", "store", &[]), 20, None);
    assert_eq!(cause(&journal, &onset(0, 100)).as_deref(), Some("own"));
}

#[test]
fn of_several_the_latest_is_the_cause_and_a_skipped_one_is_none() {
    let mut journal = Journal::default();
    tell(&mut journal, planned("kill", "kill", "shop", &["a"]), 0, None);
    tell(&mut journal, planned("pause", "pause", "shop", &["a"]), 50, None);
    assert_eq!(cause(&journal, &onset(40, 100)).as_deref(), Some("pause"));
    let reason = String::new();
    let (recipe, target) = (String::new(), String::new());
    journal.told(60 * MS, &Event::FaultSkipped { fault: "pause".to_owned(), recipe, target, reason });
    assert_eq!(cause(&journal, &onset(40, 100)).as_deref(), Some("kill"));
}
