//! Addresses, versions, logs and events.

use std::net::SocketAddr;
use std::path::Path;

use platform::{Asked, Event, EventKind, Platform as _};

use crate::lab::{Lab, shop, spec};
use crate::support::LONG;

#[tokio::test]
async fn its_listeners_are_found_also_those_of_its_children() {
    let lab = Lab::new();
    // A child that listens: only scripting languages that every machine has could do it without a program of ours.
    let script = "import socket, os, sys, time
listener = socket.create_server(('127.0.0.1', 0))
print('port=%d' % listener.getsockname()[1], flush=True)
print('up', flush=True)
time.sleep(600)";
    let mut spec = spec("\"$PYTHON\" -c \"$SCRIPT\" & wait");
    let Some(python) = python() else {
        println!("SKIPPED: python3 is not in PATH");
        return;
    };
    spec.env.extend([("PYTHON".to_owned(), python), ("SCRIPT".to_owned(), script.to_owned())]);
    lab.try_start(&spec).await.unwrap();
    lab.until_logged("up").await;
    let text = lab.text();
    let port = text.lines().find_map(|line| line.strip_prefix("port=")).unwrap().parse().unwrap();
    let expected = [SocketAddr::from(([127, 0, 0, 1], port))];
    assert_eq!(lab.processes.addresses(&shop()).await.unwrap(), expected);
}

fn python() -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join("python3")).find(|path| path.is_file())?;
    found.to_str().map(str::to_owned)
}

#[tokio::test]
async fn its_version_is_the_digest_of_what_it_executes() {
    let lab = Lab::new();
    let find = |name: &str| {
        let places = ["/bin", "/usr/bin"].map(|dir| format!("{dir}/{name}"));
        places.into_iter().find(|path| Path::new(path).is_file()).unwrap()
    };
    let program = lab.program("my-sleep", &find("sleep"), false, "755");
    let mut spec = spec("");
    spec.command = vec!["./my-sleep".to_owned(), "600".to_owned()];
    lab.try_start(&spec).await.unwrap();
    let version = lab.processes.version(&shop()).await.unwrap();
    assert!(version.starts_with("my-sleep sha256:") && version.len() == 16 + 64, "{version}");
    // What is put in its place is not what runs.
    std::fs::remove_file(&program).unwrap();
    lab.program("my-sleep", &find("sh"), false, "755");
    assert_eq!(lab.processes.version(&shop()).await.unwrap(), version);
    lab.processes.kill(&shop()).await.unwrap();
    spec.command = vec!["./my-sleep".to_owned(), "-c".to_owned(), "sleep 600 & wait".to_owned()];
    lab.try_start(&spec).await.unwrap();
    assert_ne!(lab.processes.version(&shop()).await.unwrap(), version);
}

#[tokio::test]
async fn logs_begin_with_the_present_generation() {
    let lab = Lab::new();
    lab.define(&spec("echo up $$; exit 0")).await.unwrap();
    assert!(lab.processes.logs(&shop(), 10).await.unwrap().is_empty());
    for _ in 0..2 {
        let started = lab.processes.start(&shop()).await.unwrap();
        lab.processes.exited(&shop()).await.unwrap();
        let pid = started.instance.process.unwrap().pid;
        assert_eq!(lab.processes.logs(&shop(), 10).await.unwrap(), [format!("up {pid}")]);
    }
    assert_eq!(lab.text().lines().count(), 2, "the file has both");
}

#[tokio::test]
async fn events_tell_of_every_start_and_end_in_order() {
    let lab = Lab::new();
    lab.define(&spec("echo up; exec sleep 600")).await.unwrap();
    let mut events = lab.open().events().unwrap();
    lab.processes.start(&shop()).await.unwrap();
    let mut next = async || tokio::time::timeout(LONG, events.next()).await.expect("an event").unwrap();
    let event = |generation, kind| Event { instance: shop(), generation, kind };
    assert_eq!(next().await, event(1, EventKind::Started));
    lab.seen()
        .await
        .process
        .unwrap()
        .open()
        .unwrap()
        .unwrap()
        .signal(platform::identity::Signal::TERM)
        .unwrap();
    let by_itself = EventKind::Exited { status: Some("signal 15".to_owned()), asked: None };
    assert_eq!(next().await, event(1, by_itself));
    // A life between two looks is told of, too.
    lab.processes.start(&shop()).await.unwrap();
    lab.processes.kill(&shop()).await.unwrap();
    lab.processes.start(&shop()).await.unwrap();
    let killed = EventKind::Exited { status: Some("signal 9".to_owned()), asked: Some(Asked::Kill) };
    assert_eq!(next().await, event(2, EventKind::Started));
    assert_eq!(next().await, event(2, killed));
    assert_eq!(next().await, event(3, EventKind::Started));
}

#[tokio::test]
async fn who_looks_now_and_then_is_told_once() {
    let lab = Lab::new();
    let mut events = lab.processes.watch().unwrap();
    lab.try_start(&spec("exit 5")).await.unwrap();
    lab.processes.exited(&shop()).await.unwrap();
    let seen = events.look().unwrap();
    let ended = EventKind::Exited { status: Some("exit code 5".to_owned()), asked: None };
    assert_eq!(seen.iter().map(|event| &event.kind).collect::<Vec<_>>(), [&EventKind::Started, &ended]);
    assert_eq!(events.look().unwrap(), []);
    // Whoever comes later hears of nothing that was before.
    assert_eq!(lab.processes.watch().unwrap().look().unwrap(), []);
}
