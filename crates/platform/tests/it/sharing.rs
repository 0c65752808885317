//! State that several processes of the operating system share, and owners that die.

use std::sync::Arc;

use platform::processes::Processes;
use platform::{InstanceState, Platform as _, PlatformError, Stopped};
use tempfile::TempDir;

use crate::another::{process, said};
use crate::lab::{Lab, alive, shop, spec};
use crate::support::until;

#[tokio::test]
async fn another_process_stops_and_starts_what_we_started() {
    let lab = Lab::new();
    let first = lab.shop("echo up; exec sleep 600").await;
    let mut other = process("stop", lab.dir.path());
    let stopped = Stopped { status: "signal 15".to_owned(), killed: false };
    assert_eq!(said(&mut other), format!("{stopped:?}"), "we reaped it, and said how it ended");
    assert_eq!(lab.seen().await.state, InstanceState::Exited);

    let mut other = process("start", lab.dir.path());
    let answer = said(&mut other);
    let seen = lab.seen().await;
    assert_eq!((seen.state, seen.generation), (InstanceState::Running, 2));
    let restarted = seen.process.unwrap();
    assert_eq!(answer, format!("true {}", restarted.pid));
    assert_ne!(Some(&restarted), first.process.as_ref());
    other.wait();
    assert!(alive(&restarted), "it runs for us, not for who started it");
    // Nobody is left who was told how it ended.
    let stopped = Stopped { status: "ended with unknown status".to_owned(), killed: true };
    assert_eq!(lab.processes.kill(&shop()).await.unwrap(), stopped);
    assert!(!alive(&restarted));
}

#[tokio::test]
async fn what_another_process_started_ends_with_its_owner() {
    let lab = Lab::new();
    lab.define(&spec("echo up; exec sleep 600")).await.unwrap();
    let mut other = process("start", lab.dir.path());
    said(&mut other);
    other.wait();
    let restarted = lab.seen().await.process.unwrap();
    assert!(alive(&restarted));
    drop(lab);
    until("it to end", || !alive(&restarted)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_start_it_at_once_start_one() {
    let lab = Arc::new(Lab::new());
    lab.define(&spec("echo started; exec sleep 600")).await.unwrap();
    for round in 1..=5 {
        let mut others = [process("start", lab.dir.path()), process("start", lab.dir.path())];
        let starts = (0..6).map(|_| {
            let handle = lab.open();
            async move { handle.start(&shop()).await.unwrap() }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for start in starts {
            tasks.spawn(start);
        }
        let started = tasks.join_all().await;
        let answers = others.each_mut().map(said);
        let by_us = started.iter().filter(|started| started.by_us).count();
        let by_them = answers.iter().filter(|answer| answer.starts_with("true")).count();
        assert_eq!(by_us + by_them, 1, "{started:?} {answers:?}");
        let seen = lab.seen().await;
        assert_eq!(seen.generation, round);
        assert!(started.iter().all(|started| started.instance.process == seen.process), "{started:?}");
        lab.processes.kill(&shop()).await.unwrap();
    }
}

#[tokio::test]
async fn the_orphans_of_an_owner_that_was_killed_are_ended() {
    let place = TempDir::new().unwrap();
    let mut owner = process("own", place.path());
    assert_eq!(said(&mut owner), "owned");
    let state = place.path().join("state");
    let handle = Processes::open(&state).unwrap();
    let members = handle.members(&shop()).unwrap();
    assert!(Processes::end_orphans(&state).await.unwrap().is_empty(), "its owner lives");
    let error = Processes::create(&state, platform::identity::ProcessId::current().unwrap()).unwrap_err();
    assert!(matches!(error, PlatformError::InUse { .. }), "{error}");

    owner.kill();
    assert!(members.iter().all(alive), "nobody ends it with the owner: {members:?}");
    let error = handle.kill(&shop()).await.and(handle.start(&shop()).await.map(|_| ())).unwrap_err();
    assert!(matches!(error, PlatformError::OwnerEnded { .. }), "{error}");
    assert!(!members.iter().any(alive), "{members:?}");
    assert!(Processes::end_orphans(&state).await.unwrap().is_empty(), "it did not run any more");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "all is forgotten");
}

#[tokio::test]
async fn orphans_that_run_are_named_and_others_stay() {
    let place = TempDir::new().unwrap();
    let state = place.path().join("state");
    let mut owner = process("own", place.path());
    said(&mut owner);
    let members = Processes::open(&state).unwrap().members(&shop()).unwrap();
    owner.kill();
    assert_eq!(Processes::end_orphans(&state).await.unwrap(), [shop()]);
    assert!(!members.iter().any(alive), "{members:?}");
    assert!(Processes::end_orphans(&place.path().join("absent")).await.unwrap().is_empty());

    let lab = Lab::new();
    let process = lab.shop("echo up; exec sleep 600").await.process.unwrap();
    assert!(Processes::end_orphans(&lab.state_dir()).await.unwrap().is_empty());
    assert!(alive(&process));
    assert_eq!(Processes::sweep(&lab.state_dir()).await.unwrap(), [shop()]);
    assert!(!alive(&process));
}

#[tokio::test]
async fn what_was_spawned_by_one_who_died_before_he_noted_it_is_found_by_its_mark() {
    let lab = Lab::new();
    let process = lab.shop("echo up; exec sleep 600").await.process.unwrap();
    // As the record is between the spawn and the note of its process.
    let path = lab.state_dir().join("shop.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["process"] = serde_json::Value::Null;
    std::fs::write(&path, record.to_string()).unwrap();
    assert_eq!(lab.seen().await.state, InstanceState::Exited);
    assert_eq!(lab.processes.members(&shop()).unwrap(), std::slice::from_ref(&process));
    let next = lab.processes.start(&shop()).await.unwrap();
    assert!(next.by_us && !alive(&process));
}

#[tokio::test]
async fn a_pid_that_is_anothers_by_now_is_left_alone() {
    let lab = Lab::new();
    lab.shop("echo up; exec sleep 600").await;
    let mut stranger = crate::support::Scripted::start(true, "echo up; exec sleep 600");
    stranger.line();
    let path = lab.state_dir().join("shop.json");
    lab.processes.kill(&shop()).await.unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["process"]["pid"] = stranger.pid().into();
    // Both may have been started within one tick of the clock.
    record["process"]["started_ticks"] = (stranger.id().started_ticks - 1).into();
    std::fs::write(&path, record.to_string()).unwrap();
    assert_eq!(lab.seen().await.state, InstanceState::Exited);
    lab.processes.kill(&shop()).await.unwrap();
    lab.processes.stop(&shop()).await.unwrap();
    assert!(matches!(lab.processes.pause(&shop()).await, Err(PlatformError::NotRunning { .. })));
    assert!(alive(&stranger.id()));
}
